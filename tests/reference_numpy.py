"""The Metz rule and its meta-objective written a second time, in plain numpy, straight from the formulae.

Slow, explicit and independent of the library: loops over examples, units and channels, one readout at a time, original
array names. It accepts complex numbers, so that the imaginary part of f(p + i·1e-30) / 1e-30 is an exact derivative:
hence no abs, max or conjugation of complex values.

    python tests/reference_numpy.py    # writes tests/vectors/*.npz
"""

from pathlib import Path

import numpy as np

RULE = "MoreLocalWeightUpdateProcess/"
BASE = "LocalWeightUpdateWLearner/"


def relu(t):
    return np.where(np.real(t) > 0, t, 0)


def magnitude(t):
    return np.where(np.real(t) < 0, -t, t)


def sign(t):
    return np.sign(np.real(t))


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


def nth(name, i):
    return name + (f"_{i}" if i else "")


class Transcription:
    """One rule: ``theta`` maps original names (without prefix) to arrays; ``cfg`` holds the sizes."""

    def __init__(self, theta, cfg):
        self.theta, self.cfg = theta, cfg

    def linear(self, name, t):
        return t @ self.theta[f"{name}/w"] + self.theta[f"{name}/b"]

    def conv(self, name, t):
        """Along the middle axis of t [sheets, length, channels]."""
        kernel, bias = self.theta[f"{name}/w"], self.theta[f"{name}/b"]
        width, length = len(kernel), t.shape[1]
        out = np.zeros((t.shape[0], length, kernel.shape[2]), dtype=np.result_type(t, kernel))
        for position in range(length):
            for tap in range(width):
                source = position + tap - width // 2
                if 0 <= source < length:
                    out[:, position] += t[:, source] @ kernel[tap]
        return out + bias

    def norm(self, name, t):
        beta = self.theta[f"{name}/beta"].reshape(-1)
        out = np.empty(t.shape, dtype=np.result_type(t, beta))
        for c in range(t.shape[2]):
            mean = np.mean(t[:, :, c])
            variance = np.mean((t[:, :, c] - mean) ** 2)
            out[:, :, c] = (t[:, :, c] - mean) / np.sqrt(variance + 1e-3) + beta[c]
        return out

    def unit_conv(self, scope, t):
        """t is [unit, example, channel]; the convolutions run over units."""
        s = np.swapaxes(t, 0, 1)
        s = relu(self.norm(f"{scope}/batch_norm", self.conv(f"{scope}/conv_1d", s)))
        s = relu(self.norm(f"{scope}/batch_norm_1", self.conv(f"{scope}/conv_1d_1", s)))
        return t + np.swapaxes(s, 0, 1)

    def forward(self, base, x):
        xs, zs = [x], [x]
        for layer in range(1, self.layers + 1):
            a = xs[-1] @ base[f"w{layer}"]
            mean = np.mean(a, axis=0)
            variance = np.mean((a - mean) ** 2, axis=0)
            zs.append((a - mean) / np.sqrt(variance + 1e-6) + base[f"b{layer}"])
            xs.append(relu(zs[-1]))
        return xs, zs

    @property
    def layers(self):
        return int(self.cfg["n_layers"]) + 1

    def top_delta(self, x):
        scope = "compute_top_delta"
        t = x.T[:, :, None]  # [unit, example, 1]
        t = relu(self.norm(f"{scope}/batch_norm", self.conv(f"{scope}/conv_1d", t)))
        t = np.swapaxes(t, 0, 2)  # [channel, example, unit]
        for i in (1, 2):
            t = relu(self.norm(f"{scope}/{nth('batch_norm', i)}", self.conv(f"{scope}/{nth('conv_1d', i)}", t)))
        t = np.swapaxes(t, 0, 2)
        last = 3 + int(self.cfg["top_delta_layers"])
        for i in range(3, last):
            t = relu(self.norm(f"{scope}/{nth('batch_norm', i)}", self.conv(f"{scope}/{nth('conv_1d', i)}", t)))
        return np.swapaxes(self.conv(f"{scope}/{nth('conv_1d', last)}", t), 0, 1)  # [example, unit, delta]

    def neuron(self, layer, base, xs, zs, d):
        x, z = xs[layer], zs[layer]
        examples, units = x.shape
        u = np.linspace(0, 4 * np.pi, units)
        per_example = [
            [[x[b, n], z[b, n], np.sin(u[n]), np.cos(u[n]), *d[b, n]] for b in range(examples)] for n in range(units)
        ]
        per_example = self.norm("batch_norm", np.array(per_example))  # [unit, example, channel]
        stats = []
        for n in range(units):
            row = []
            if layer > 0:
                row += self.four(base[f"w{layer}"][:, n])
            if layer < self.layers:
                row += self.four(base[f"w{layer + 1}"][n, :])
            stats.append(row if len(row) == 8 else row + row)
        stats = np.array(stats)
        stats = stats / np.sqrt(np.mean(stats**2) + 1e-6)
        bias = base[f"b{layer}"] if layer > 0 else np.zeros(units)
        per_unit = np.concatenate([stats, bias[:, None]], axis=1)
        per_unit = np.repeat(per_unit[:, None, :], examples, axis=1)
        t = np.concatenate([per_unit, per_example], axis=2)
        for i in range(int(self.cfg["compute_h_layers"]) + 1):
            t = relu(self.norm(nth("batch_norm", i + 1), self.conv(nth("conv_1d", i), t)))
            t = self.unit_conv(nth("ConcatUnitConv", i), t)
        return np.swapaxes(t, 0, 1)  # [example, unit, channel]

    @staticmethod
    def four(v):
        mean = np.mean(v)
        return [
            np.mean(magnitude(v)),
            np.sqrt(np.mean(v**2) + 1e-6),
            mean,
            np.sqrt(np.mean((v - mean) ** 2) + 1e-8),
        ]

    def sweep(self, base, xs, zs):
        """{layer: h}, {layer: d}."""
        h, d = {}, {self.layers: self.top_delta(xs[-1])}
        for layer in range(self.layers, -1, -1):
            h[layer] = self.neuron(layer, base, xs, zs, d[layer])
            if layer > 0:
                e = d[layer] * sigmoid(zs[layer])[:, :, None] + self.linear("linear", h[layer])
                below = np.stack([e[:, :, c] @ base[f"v{layer}"].T for c in range(e.shape[2])], axis=2)
                d[layer - 1] = below / np.sqrt(1e-6 + np.mean(below**2, axis=2, keepdims=True))
        return h, d

    def readout(self, bottom_name, top_name, h_bottom, h_top):
        bottom = self.linear(f"{bottom_name}/linear", h_bottom)
        top = self.linear(f"{top_name}/linear", h_top)
        examples, channels = bottom.shape[0], bottom.shape[2]
        total = 0
        for b in range(examples):
            for c in range(channels):
                total = total + np.outer(bottom[b, :, c], top[b, :, c])
        return total / (channels * examples)

    def square(self, name, h, kind):
        if kind == "psd":
            u = self.readout(f"{name}_top", f"{name}_top", h, h)
        else:
            u = self.readout(f"{name}_bottom", f"{name}_top", h, h)
            u = (u + u.T) / np.sqrt(2)
            u[np.diag_indices(len(u))] = 0
        return u / np.sqrt(len(u))

    def terms(self, prefix, weights, x_low, h_low, x_up, h_up):
        examples = len(x_low)
        w = weights / np.sqrt(np.mean(weights**2, axis=0) + 1e-6)
        u = (x_up - x_up.mean(0)) / np.sqrt(np.mean((x_up - x_up.mean(0)) ** 2, axis=0) + 1e-6)
        v = (x_low - x_low.mean(0)) / np.sqrt(np.mean((x_low - x_low.mean(0)) ** 2, axis=0) + 1e-6)
        c = w @ (u.T @ u / examples / np.sqrt(w.shape[1]))
        f = np.sqrt(1 + w**2) - 1

        def r(name):
            return self.readout(f"{prefix}{name}_bottom", f"{prefix}{name}_top", h_low, h_up)

        return w, {
            "w_base": w,
            "large_decay": w**2 * sign(w),
            "decorr_x": c / np.sqrt(np.mean(c**2 + 1e-8)),
            "hebb": -(v.T @ u) / examples,
            "0_order": r("weight_readout_0"),
            "rbf": np.exp(-(w**2)) * r("weight_readout_rbf"),
            "1_order": w * r("weight_readout_1"),
            "lin_upper_symm": w @ self.square(f"{prefix}lin_upper_symm", h_up, "symm"),
            "lin_upper_psd": w @ self.square(f"{prefix}lin_upper_psd", h_up, "psd"),
            "lin_lower_symm": self.square(f"{prefix}lin_lower_symm", h_low, "symm") @ w,
            "sqr_upper_symm": (f @ self.square(f"{prefix}sqr_upper_symm", h_up, "symm")) * sign(w),
            "sqr_lower_symm": (self.square(f"{prefix}sqr_lower_symm", h_low, "symm") @ f) * sign(w),
        }

    def merge(self, prefix, w, terms):
        def n(t):
            return t / np.sqrt(1 + np.mean(t**2, axis=0))

        mix, bias = self.theta[f"{prefix}_weight_readout_coeffs/w"], self.theta[f"{prefix}_weight_readout_coeffs/b"]
        c = sum(mix[i, 0] * n(terms[name]) for i, name in enumerate(sorted(terms))) + bias[0]
        c = c / 12
        c = c - w * relu(np.mean(c * w))
        return n(c / np.sqrt(12)) - w / 7

    def bias_change(self, h):
        q = np.mean(self.linear("bias_readout", h)[:, :, 0], axis=0)
        q = q + relu(-np.mean(q))
        return q / np.sqrt(0.5 + np.mean(q**2))

    def changes(self, base, x):
        """The change by State key, and every intermediate by its original name."""
        xs, zs = self.forward(base, x)
        h, d = self.sweep(base, xs, zs)
        change, trace = {}, {"fwd/embedding": xs[-1]}
        for layer in range(self.layers + 1):
            trace |= {f"fwd/x{layer}": xs[layer], f"neuron/h{layer}": h[layer], f"neuron/d_in{layer}": d[layer]}
            if layer == 0:
                continue
            trace |= {f"fwd/z{layer}": zs[layer], f"neuron/d_out{layer}": d[layer - 1]}
            for prefix, key in (("forward", f"w{layer}"), ("backward", f"v{layer}")):
                if prefix == "backward" and self.cfg["identical_updates"]:
                    change[key] = change[f"w{layer}"]
                    continue
                w, terms = self.terms(prefix, base[key], xs[layer - 1], h[layer - 1], xs[layer], h[layer])
                change[key] = self.merge(prefix, w, terms)
                trace[f"change/{prefix}_w{layer}"] = change[key]
                trace |= {f"{prefix}_terms{layer}/{name}": term for name, term in terms.items()}
            change[f"b{layer}"] = trace[f"change/b{layer}"] = self.bias_change(h[layer])
        return change, trace

    def step(self, base, x, rate):
        change, _ = self.changes(base, x)
        return {key: value * (1 - rate) - rate * change[key] for key, value in base.items()}


def targets(labels, ways):
    one_hot = np.eye(ways)[labels]
    centred = one_hot - one_hot.mean()
    return centred / np.sqrt(np.mean(np.sum(centred**2, axis=1)))


def meta_objective(train, labels_train, test, labels_test, ways, penalty=0.1):
    """The parts of the meta-objective by their original names, and the ridge weights."""
    y_train, y_test = targets(labels_train, ways), targets(labels_test, ways)
    a = np.concatenate([train, np.ones((len(train), 1))], axis=1)
    diagonal = np.diag([penalty] * train.shape[1] + [0.0])
    weights = np.linalg.solve(a.T @ a + diagonal, a.T @ y_train)
    predicted = np.concatenate([test, np.ones((len(test), 1))], axis=1) @ weights
    fitted = a @ weights
    scaled = predicted / np.sqrt(np.sum(predicted**2, axis=1, keepdims=True))
    mse_test = np.sum((scaled - y_test) ** 2) / len(test)
    component = penalty * np.sum(weights[:-1] ** 2) / len(train)
    parts = {
        "loss": mse_test + component,
        "stat/total_loss": mse_test + component,
        "stat/mse_test": mse_test,
        "stat/mse_train": np.sum((fitted - y_train) ** 2) / len(train),
        "stat/ridge_component": component,
        "stat/accuracy_test": np.mean(np.argmax(predicted.real, axis=1) == labels_test),
        "stat/accuracy_train": np.mean(np.argmax(fitted.real, axis=1) == labels_train),
    }
    return parts, weights


def base_names(layers):
    names = {}
    for layer in range(1, layers + 1):
        names[f"w{layer}"] = f"{BASE}{nth('LinearBatchNorm', layer - 1)}/linear/w"
        names[f"v{layer}"] = f"{BASE}{nth('LinearBatchNorm', layer - 1 + layers)}/linear/w"
        names[f"b{layer}"] = f"{BASE}{nth('LinearBatchNorm', layer - 1)}/b"
    return names


def load_inputs(arrays):
    """The transcription, the starting base weights, the batches and the learning rate stored in ``arrays``."""
    cfg = {name[4:]: arrays[name].item() for name in arrays if name.startswith("cfg/")}
    prefix = f"theta/{RULE}"
    theta = {name[len(prefix) :]: arrays[name].astype(np.float64) for name in arrays if name.startswith(prefix)}
    rule = Transcription(theta, cfg)
    base = {key: arrays[f"base0/{name}"].astype(np.float64) for key, name in base_names(rule.layers).items()}
    base = {key: value.reshape(-1) if key[0] == "b" else value for key, value in base.items()}
    order = arrays[f"base0/{BASE}shuffle_ind"]
    batches = [batch.reshape(len(batch), -1)[:, order].astype(np.float64) for batch in arrays["batches/images"]]
    return rule, base, batches, cfg["learning_rate"]


def update_outputs(arrays, steps):
    """Every output of an update-step file: intermediates of the first step, the base network after ``steps``."""
    rule, base, batches, rate = load_inputs(arrays)
    _, outputs = rule.changes(base, batches[0])
    for step in range(1, max(steps) + 1):
        base = rule.step(base, batches[(step - 1) % len(batches)], rate)
        if step in steps:
            outputs |= {f"base{step}/{name}": base[key] for key, name in base_names(rule.layers).items()}
    return outputs


def meta_outputs(arrays, meta, wanted=None):
    """Every output of a meta-gradient file; ``wanted`` limits the gradients to some of the names."""
    rule, start, batches, _ = load_inputs(arrays)
    rate, steps, layers = float(meta["cfg/learning_rate"]), int(meta["cfg/steps"]), rule.layers
    order = arrays[f"base0/{BASE}shuffle_ind"]
    images = np.concatenate([meta["meta/images_train"], meta["meta/images_test"]])
    rows = images.reshape(len(images), -1)[:, order].astype(np.float64)
    train, test = meta["meta/labels_train"], meta["meta/labels_test"]
    ways = int(max(train.max(), test.max())) + 1

    def run(theta, base):
        moved = Transcription(theta, rule.cfg)
        for step in range(steps):
            base = moved.step(base, batches[step % len(batches)], rate)
        features = moved.forward(base, rows)[0][-1]
        parts, _ = meta_objective(features[: len(train)], train, features[len(train) :], test, ways)
        return parts, features, base

    parts, features, final = run(rule.theta, start)
    names = base_names(layers)
    outputs = {f"meta/{name}": value for name, value in parts.items()}
    outputs |= {"meta/features_train": features[: len(train)], "meta/features_test": features[len(train) :]}
    outputs |= {f"final/{name}": final[key] for key, name in names.items()}

    def derivative(values, perturbed):
        gradient = np.zeros(values.shape)
        for index in np.ndindex(values.shape):
            moved = values.astype(complex)
            moved[index] += 1e-30j
            gradient[index] = perturbed(moved)["loss"].imag / 1e-30
        return gradient

    for name, values in rule.theta.items():
        full = f"grad_theta/{RULE}{name}"
        if "moving" not in name and (wanted is None or full in wanted):
            outputs[full] = derivative(values, lambda moved, name=name: run(rule.theta | {name: moved}, start)[0])
    for key, name in names.items():
        full = f"grad_base0/{name}"
        if wanted is None or full in wanted:
            outputs[full] = derivative(start[key], lambda moved, key=key: run(rule.theta, start | {key: moved})[0])
    return outputs


def random_inputs(cfg, pixels, rng):
    """Rule weights, base network and batches of random numbers, under their original names."""
    h, top, delta = cfg["compute_h_size"], cfg["top_delta_size"], cfg["delta_dim"]
    channels, outputs = cfg["num_grad_channels"], cfg["output_size"]
    arrays = {f"cfg/{name}": np.array(value) for name, value in cfg.items()}

    def draw(name, *shape):
        scale = 0.3 if len(shape) == 1 or shape[0] == 1 else np.prod(shape[:-1]) ** -0.5
        arrays[f"theta/{RULE}{name}"] = (scale * rng.standard_normal(shape)).astype(np.float32)

    def affine(name, *shape):
        draw(f"{name}/w", *shape)
        draw(f"{name}/b", shape[-1])

    def norm(name, size):
        draw(f"{name}/beta", 1, 1, size)

    scope = "compute_top_delta/"
    last = 3 + cfg["top_delta_layers"]
    shapes = [(5, 1, top), (3, outputs, outputs), (3, outputs, outputs)] + [(3, top, top)] * (last - 3)
    for i, shape in enumerate(shapes):
        affine(scope + nth("conv_1d", i), *shape)
        norm(scope + nth("batch_norm", i), shape[-1])
    affine(scope + nth("conv_1d", last), 3, top, delta)
    norm("batch_norm", 4 + delta)
    for i in range(cfg["compute_h_layers"] + 1):
        affine(nth("conv_1d", i), 3, h if i else 13 + delta, h)
        norm(nth("batch_norm", i + 1), h)
        for j in range(2):
            affine(f"{nth('ConcatUnitConv', i)}/{nth('conv_1d', j)}", 3, h, h)
            norm(f"{nth('ConcatUnitConv', i)}/{nth('batch_norm', j)}", h)
    affine("linear", h, delta)
    affine("bias_readout", h, 1)
    for prefix in ("forward",) if cfg["identical_updates"] else ("forward", "backward"):
        for name in ("weight_readout_0", "weight_readout_rbf", "weight_readout_1", "lin_upper_symm", "lin_upper_psd",
                     "lin_lower_symm", "sqr_upper_symm", "sqr_lower_symm"):  # fmt: skip
            for side in ("top",) if name == "lin_upper_psd" else ("top", "bottom"):
                affine(f"{prefix}{name}_{side}/linear", h, channels)
        affine(f"{prefix}_weight_readout_coeffs", 12, 1)

    sizes = [pixels] + [cfg["inner_size"]] * cfg["n_layers"] + [outputs]
    for key, name in base_names(len(sizes) - 1).items():
        layer = int(key[1:])
        shape = (1, sizes[layer]) if key[0] == "b" else (sizes[layer - 1], sizes[layer])
        arrays[f"base0/{name}"] = ((0.1 if key[0] == "b" else 0.01) * rng.standard_normal(shape)).astype(np.float32)
    arrays[f"base0/{BASE}shuffle_ind"] = rng.permutation(pixels)
    arrays["batches/images"] = rng.random((cfg["n_batches"], cfg["batch_size"], 2, pixels // 2, 1), dtype=np.float32)
    return arrays


def tiny_config(identical_updates):
    return {
        "inner_size": 5, "output_size": 3, "n_layers": 1, "identical_updates": identical_updates,
        "top_delta_size": 2, "top_delta_layers": 1, "compute_h_size": 3, "compute_h_layers": 1, "delta_dim": 2,
        "num_grad_channels": 2, "batch_size": 4, "learning_rate": 0.01, "n_batches": 2,
    }  # fmt: skip


def random_readout(pixels, rng):
    """The inputs of a meta-gradient file: readout images and labels of three ways."""
    labels = np.repeat(np.arange(3), 3)
    shape = (len(labels), 2, pixels // 2, 1)
    return {
        "cfg/learning_rate": np.array(0.02),
        "cfg/steps": np.array(2),
        "meta/images_train": rng.random(shape, dtype=np.float32),
        "meta/labels_train": labels,
        "meta/images_test": rng.random(shape, dtype=np.float32),
        "meta/labels_test": labels[::-1].copy(),
    }


def objective_case(features, per_class, rng):
    """One meta-objective case with its gradient by complex steps."""
    labels = np.repeat(np.arange(3), per_class)
    train = rng.standard_normal((len(labels), features)).astype(np.float32)
    test = rng.standard_normal((len(labels), features)).astype(np.float32)

    def loss(a, b):
        return meta_objective(a, labels, b, labels, 3)[0]["loss"]

    case = {"features_train": train, "features_test": test, "labels_train": labels, "labels_test": labels}
    parts, case["ridge_weights"] = meta_objective(train.astype(np.float64), labels, test.astype(np.float64), labels, 3)
    a, b = train.astype(complex), test.astype(complex)
    for name, moved in (("grad_features_train", a), ("grad_features_test", b)):
        case[name] = np.zeros(moved.shape)
        for index in np.ndindex(moved.shape):
            moved[index] += 1e-30j
            case[name][index] = loss(a, b).imag / 1e-30
            moved[index] -= 1e-30j
    return case | parts


def main():
    folder = Path(__file__).parent / "vectors"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)  # both sides of every condition in the rule occur
    inputs = random_inputs(tiny_config(1), 6, rng)
    np.savez_compressed(folder / "tiny.npz", **inputs, **update_outputs(inputs, (3,)))
    readout = random_readout(6, rng)
    np.savez_compressed(folder / "tiny_metagrad.npz", **readout, **meta_outputs(inputs, readout))
    cases = {"case1": objective_case(4, 3, rng), "case2": objective_case(8, 2, rng)}
    arrays = {f"{case}/{name}": value for case, values in cases.items() for name, value in values.items()}
    np.savez_compressed(folder / "tiny_metaobj.npz", **arrays)


if __name__ == "__main__":
    main()
