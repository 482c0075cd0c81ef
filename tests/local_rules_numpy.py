"""The two local rules written a second time, in plain numpy, straight from the formulae.

Slow, explicit and independent of the library: one neuron, one example and one readout channel at a time, every term by
its name. A base network is a dict of ``w{l}``, ``v{l}`` [N_{l-1}, N_l] and ``b{l}`` [N_l], l = 1..L, and ``t``, the
inner steps done; ``x`` is [B, D]; ``theta`` maps the names of a rule's parameters to arrays.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Arrays = dict[str, np.ndarray]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": lambda z: np.where(z > 0, z, 0.0), "tanh": np.tanh}


def sigmoid(t: Array) -> Array:
    return 1 / (1 + np.exp(-t))


def relu(t: Array) -> Array:
    return np.where(t > 0, t, 0.0)


def standardised(t: Array) -> Array:
    """Mean 0 and variance 1 over the examples."""
    out = np.empty(t.shape)
    for n in range(t.shape[1]):
        mean = sum(t[:, n]) / len(t)
        variance = sum((value - mean) ** 2 for value in t[:, n]) / len(t)
        out[:, n] = (t[:, n] - mean) / np.sqrt(variance + 1e-6)
    return out


def levels(t: Array) -> Array:
    """Mean 0 over the examples, and over the deviation of the whole layer."""
    centred = np.stack([column - sum(column) / len(column) for column in t.T], axis=1)
    return centred / np.sqrt(np.sum(centred**2) / centred.size + 1e-6)


def shares(row: Array, sharpness: float) -> Array:
    """The softmax of one example's responses, as multiples of an equal share."""
    powers = np.array([np.exp(sharpness * value) for value in row])
    return len(row) * powers / sum(powers)


def mean_square(column: Array) -> float:
    return sum(value**2 for value in column) / len(column)


def unit_rms(w: Array) -> Array:
    return np.stack([column / np.sqrt(mean_square(column) + 1e-6) for column in w.T], axis=1)


def bounded(t: Array) -> Array:
    return np.stack([column / np.sqrt(1 + mean_square(column)) for column in t.T], axis=1)


def merged(w: Array, terms: Arrays, weights: dict[str, float]) -> Array:
    """The change of w: a weighted sum of bounded terms, without what would stretch a column of w, bounded again."""
    change = np.zeros(w.shape)
    for name, term in terms.items():
        change += weights[name] * bounded(term)
    for n in range(w.shape[1]):
        change[:, n] -= w[:, n] * np.mean(change[:, n] * w[:, n])
    return bounded(change)


def mean_product(a: Array, c: Array) -> Array:
    """⟨a c⟩ over the examples: [N_a, N_c] from [B, N_a] and [B, N_c]."""
    total = np.zeros((a.shape[1], c.shape[1]))
    for b in range(len(a)):
        total += np.outer(a[b], c[b])
    return total / len(a)


def layers_of(base: Arrays) -> int:
    return (len(base) - 1) // 3


def forward(base: Arrays, x: Array, activation: str) -> tuple[list[Array], list[Array]]:
    """Post- and pre-activations of every layer, the input first and as both."""
    xs, zs = [x], [x]
    for layer in range(1, layers_of(base) + 1):
        zs.append(standardised(xs[-1] @ base[f"w{layer}"]) + base[f"b{layer}"])
        xs.append(ACTIVATIONS[activation](zs[-1]))
    return xs, zs


class NeuronLocal:
    """The rule neuron_local; the rows of its readouts lie name by name, and channel by channel within a name."""

    UP = ("order_0", "rbf", "order_1", "linear_upper_a", "linear_upper_b", "psd", "square_upper_a", "square_upper_b")
    LOW = ("order_0", "rbf", "order_1", "linear_lower_a", "linear_lower_b", "square_lower_a", "square_lower_b")
    TERMS = ("decorrelate", "order_0", "order_1", "hebb", "large_decay", "linear_lower", "linear_upper_psd",
             "linear_upper", "rbf", "square_lower", "square_upper")  # fmt: skip

    def __init__(self, theta: Arrays, error_channels: int, readout_channels: int) -> None:
        self.theta, self.readout_channels = theta, readout_channels
        channels = range(readout_channels)
        labels = [("up", name, c) for name in self.UP for c in channels]
        labels += [("bias", "", 0)]
        labels += [("error", "", c) for c in range(error_channels)]
        labels += [("low", name, c) for name in self.LOW for c in channels]
        self.row = {label: i for i, label in enumerate(labels)}
        self.errors = range(error_channels)

    @staticmethod
    def context(base: Arrays, layer: int) -> list[float]:
        """What the neurons of a layer share: inner time, relative depth from -1 to 1, whether it is the top layer."""
        top = layers_of(base)
        return [float(np.log(1 + base["t"])) / 3.5 - 1, -1 + 2 * layer / top, 1.0 if layer == top else 0.0]

    def rate(self, base: Arrays, layer: int) -> float:
        slopes = zip(self.context(base, layer), self.theta["rate_slopes"], strict=True)
        return float(np.exp(10 * (self.theta["log_rate"] + sum(value * slope for value, slope in slopes))))

    def mixing(self, base: Arrays, layer: int) -> dict[str, float]:
        weights = {}
        for k, name in enumerate(self.TERMS):
            slopes = zip(self.context(base, layer), self.theta["mixing_slopes"][:, k], strict=True)
            weights[name] = 10 * float(self.theta["mixing"][k] + sum(value * slope for value, slope in slopes))
        return weights

    def hidden(self, network: str, seen: Array, unit: Array) -> Array:
        """The states [B, H] of one neuron that saw ``seen`` [B, F] and knows ``unit`` [12] of itself."""
        example, own, mix, pooled, offset = (
            self.theta[f"{network}.{name}"] for name in ("example", "unit", "mix", "pooled", "offset")
        )
        first = [relu(example @ s + own @ unit) for s in seen]
        average = sum(first) / len(first)
        return np.stack([relu(mix @ f + pooled @ average + offset) for f in first])

    def rivalry(self, z: Array) -> tuple[Array, Array]:
        """How far each unit leads its layer in each example, and its share of the layer's response."""
        sharpness = float(np.exp(self.theta["log_sharpness"]))
        share = np.stack([shares(row, sharpness) for row in z])
        mean = [np.log(np.mean(np.exp(sharpness * row))) / sharpness for row in z]
        return np.stack([row - average for row, average in zip(z, mean, strict=True)]), share

    def knows(self, base: Arrays, xs: list[Array], layer: int, n: int) -> Array:
        """What neuron n of a layer knows of itself, apart from the examples."""
        column = base[f"w{layer}"][:, n] if layer > 0 else np.zeros(1)
        row = base[f"w{layer + 1}"][n] if layer < layers_of(base) else None
        bias = base[f"b{layer}"][n] if layer > 0 else 0.0
        x = xs[layer][:, n]
        outgoing = [0.0, 0.0, 0.0]
        if row is not None:
            outgoing = [np.mean(np.abs(row)), np.sqrt(np.mean(row**2) + 1e-6), np.mean(row)]
        mean = np.mean(x)
        deviation = np.sqrt(np.mean((x - mean) ** 2) + 1e-6)
        own = [np.mean(np.abs(column)), np.mean(column), *outgoing, mean, deviation, bias, 1.0]
        return np.array([*own, *self.context(base, layer)])

    def readouts(self, seen: Array, unit: Array) -> Array:
        """Everything one neuron gives, [B, rows]."""
        theta = self.theta
        states = self.hidden("neuron", seen, unit)
        read = zip(states, seen, strict=True)
        return np.stack([theta["from_hidden"] @ h + theta["from_inputs"] @ s + theta["offset"] for h, s in read])

    def top_error(self, seen: Array, unit: Array) -> Array:
        """The error channels [B, C] that one output neuron makes for itself."""
        return np.stack([self.theta["top_error"] @ h for h in self.hidden("top", seen, unit)])

    def of(self, given: Array, side: str, name: str, channel: int) -> Array:
        """One readout channel of a layer, [B, N]."""
        return given[:, :, self.row[side, name, channel]]

    def product(self, low: Array, low_name: tuple[str, str], up: Array, up_name: tuple[str, str]) -> Array:
        """Mean over channels and examples of a ⊗ c, for readout a = (side, name) of one layer and c of another."""
        total = np.zeros((low.shape[1], up.shape[1]))
        for c in range(self.readout_channels):
            total += mean_product(self.of(low, *low_name, c), self.of(up, *up_name, c))
        return total / self.readout_channels

    def square(self, given: Array, side: str, name: str) -> Array:
        """A matrix between the units of one layer: symmetric, without diagonal, over sqrt(N)."""
        u = self.product(given, (side, f"{name}_a"), given, (side, f"{name}_b"))
        n = len(u)
        out = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if i != j:
                    out[i, j] = (u[i, j] + u[j, i]) / np.sqrt(2) / np.sqrt(n)
        return out

    def terms(self, w: Array, v: Array, u: Array, low: Array, up: Array) -> Arrays:
        """The terms of the change of w; v, u standardised activations and low, up readouts, below and above."""
        n_up = w.shape[1]
        f = np.sqrt(1 + w**2) - 1

        def r(name: str) -> Array:
            return self.product(low, ("low", name), up, ("up", name))

        return {
            "large_decay": -(w**2) * np.sign(w),
            "decorrelate": -w @ mean_product(u, u) / np.sqrt(n_up),
            "hebb": mean_product(v, u),
            "order_0": r("order_0"),
            "rbf": np.exp(-(w**2)) * r("rbf"),
            "order_1": w * r("order_1"),
            "linear_upper": w @ self.square(up, "up", "linear_upper"),
            "linear_upper_psd": w @ (self.product(up, ("up", "psd"), up, ("up", "psd")) / np.sqrt(n_up)),
            "linear_lower": self.square(low, "low", "linear_lower") @ w,
            "square_upper": (f @ self.square(up, "up", "square_upper")) * np.sign(w),
            "square_lower": (self.square(low, "low", "square_lower") @ f) * np.sign(w),
        }

    def step(self, base: Arrays, x: Array, activation: str) -> Arrays:
        top = layers_of(base)
        xs, zs = forward(base, x, activation)
        standard = [standardised(t) for t in xs]
        level = [levels(t) for t in xs]
        zs[0] = standard[0]
        given: dict[int, Array] = {}
        new: Arrays = {"t": base["t"] + 1}
        error = np.zeros(())
        for layer in range(top, -1, -1):
            neurons = range(xs[layer].shape[1])
            unit = [self.knows(base, xs, layer, n) for n in neurons]
            lead, share = self.rivalry(zs[layer]) if layer > 0 else np.zeros((2, *xs[0].shape))
            sides = (level[layer], zs[layer], lead, share / 4)
            own = [np.stack([side[:, n] for side in sides], axis=1) for n in neurons]
            if layer == top:
                error = np.stack([self.top_error(own[n], unit[n]) for n in neurons], axis=1)  # [B, N, C]
            for b in range(len(x)):
                for n in neurons:
                    error[b, n] = error[b, n] / np.sqrt(np.mean(error[b, n] ** 2) + 1e-6)
            seen = [np.concatenate([own[n], error[:, n]], axis=1) for n in neurons]
            given[layer] = np.stack([self.readouts(seen[n], unit[n]) for n in neurons], axis=1)  # [B, N, rows]
            if layer > 0:
                skew_before = np.mean((zs[layer] - base[f"b{layer}"]) ** 3, axis=0)
                push = np.mean(self.of(given[layer], "bias", "", 0), axis=0)
                push += 10 * self.theta["straighten"] * (np.mean(standard[layer] ** 3, axis=0) - skew_before)
                rate = self.rate(base, layer)
                new[f"b{layer}"] = (1 - rate) * base[f"b{layer}"] + rate * 3 * np.tanh(push)
                below = np.zeros((*xs[layer - 1].shape, len(self.errors)))
                for c in self.errors:
                    e = error[:, :, c] * sigmoid(zs[layer]) + self.of(given[layer], "error", "", c)
                    below[:, :, c] = e @ base[f"v{layer}"].T
                error = below
        for layer in range(1, top + 1):
            w, v = base[f"w{layer}"], base[f"v{layer}"]
            terms = self.terms(w, standard[layer - 1], standard[layer], given[layer - 1], given[layer])
            change = self.rate(base, layer) * merged(w, terms, self.mixing(base, layer))
            new[f"w{layer}"] = unit_rms(w + change)
            new[f"v{layer}"] = unit_rms(v + change)
        return new


class Hebbian:
    """The rule hebbian."""

    TERMS = ("hebb", "gated_hebb", "cubic_hebb", "bcm", "compete", "feedback", "decorrelate", "inhibit", "sparsify",
             "grow_small", "share_inputs", "balance")  # fmt: skip
    BIAS_TERMS = ("activity", "skew", "decay", "lift", "straighten")

    def __init__(self, theta: Arrays) -> None:
        self.constant = dict(zip(self.TERMS, theta["constant"], strict=True))
        self.slope = dict(zip(self.TERMS, theta["slope"], strict=True))
        self.bias = dict(zip(self.BIAS_TERMS, theta["bias"], strict=True))
        self.bias_slope = dict(zip(self.BIAS_TERMS, theta["bias_slope"], strict=True))
        self.rate = float(np.exp(theta["log_rate"]))
        self.power = float(theta["power"])
        self.rate_slope = float(theta["rate_slope"])
        self.sharpness = float(np.exp(theta["log_sharpness"]))
        self.sharpness_slope = float(theta["sharpness_slope"])

    def terms(self, w: Array, v: Array, u: Array, x: Array, e: Array, sharpness: float) -> Arrays:
        """The terms of the change of w; v centred activations below, u standardised pre-activations, x and e."""
        n_low, n_up = w.shape
        y = np.stack([column / np.sqrt(mean_square(column) + 1e-6) for column in x.T], axis=1)
        share = np.stack([shares(row, sharpness) for row in u])

        def against(t: Array) -> Array:
            """What each unit shares with every other: -w · offdiag⟨t t⟩ / sqrt(N)."""
            out = np.zeros(w.shape)
            for i in range(n_up):
                for j in range(n_up):
                    if i != j:
                        out[:, j] -= w[:, i] * np.mean(t[:, i] * t[:, j]) / np.sqrt(n_up)
            return out

        return {
            "hebb": mean_product(v, u),
            "gated_hebb": mean_product(v, y),
            "cubic_hebb": mean_product(v, u**3),
            "bcm": mean_product(v, y * (y - 1)),
            "compete": mean_product(v, share),
            "feedback": mean_product(v, e),
            "decorrelate": against(u),
            "inhibit": against(y),
            "sparsify": -(w**2) * np.sign(w),
            "grow_small": w * np.exp(-(w**2)),
            "share_inputs": np.stack([-w[i] * mean_square(w[i]) for i in range(n_low)]),
            "balance": np.stack([np.full(n_low, -np.mean(w[:, j])) for j in range(n_up)], axis=1),
        }

    def step(self, base: Arrays, x: Array, activation: str) -> Arrays:
        top = layers_of(base)
        xs, zs = forward(base, x, activation)
        standard = [standardised(z) for z in zs]
        error = {top: standard[top]}
        for layer in range(top, 1, -1):
            error[layer - 1] = standardised((error[layer] * sigmoid(zs[layer])) @ base[f"v{layer}"].T)
        new: Arrays = {"t": base["t"] + 1}
        for layer in range(1, top + 1):
            w, v, b = base[f"w{layer}"], base[f"v{layer}"], base[f"b{layer}"]
            position = float(np.linspace(-1, 1, top)[layer - 1])  # of one layer: -1, but 1 for its biases
            bias_position = float(np.linspace(1, -1, top)[top - layer])
            rate = self.rate * float(1 + base["t"]) ** self.power * np.exp(position * self.rate_slope)
            sharpness = self.sharpness * np.exp(position * self.sharpness_slope)
            weights = {name: self.constant[name] + self.slope[name] * position for name in self.TERMS}
            u = standard[layer]
            terms = self.terms(w, levels(xs[layer - 1]), u, xs[layer], error[layer], sharpness)
            change = merged(w, terms, weights)
            new[f"w{layer}"] = unit_rms(w + rate * change)
            new[f"v{layer}"] = unit_rms(v + rate * change)
            push = {
                "activity": -np.mean(xs[layer], axis=0),
                "skew": np.mean(u**3, axis=0),
                "decay": -b,
                "lift": np.ones(len(b)),
                "straighten": np.mean(standardised(xs[layer]) ** 3, axis=0) - np.mean(u**3, axis=0),
            }
            weights = {name: self.bias[name] + self.bias_slope[name] * bias_position for name in push}
            new[f"b{layer}"] = b + rate * sum(weights[name] * push[name] for name in push)
        return new
