"""Holds the JAX versions to the stored reference vectors and to this program, before they are timed."""

import re
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import Array
from torch import Tensor

from benchmarks import jax_metz
from benchmarks.gradient_error import flat
from benchmarks.jax_mlp import forward
from benchmarks.jax_objective import objective
from benchmarks.jax_workloads import Arrays, array, compiled
from benchmarks.original.check import inputs_of, load_arrays
from benchmarks.original.compare import (
    ROUNDED_GRADIENT,
    ROUNDED_ONE_MINUS_COSINE,
    ROUNDED_STATE,
    compare,
    one_minus_cosine,
    relative_norm,
)
from benchmarks.original.names import (
    ArrayFile,
    named_rule_tensors,
    network_from_arrays,
    rule_from_arrays,
    shuffled_images,
    state_names,
)
from benchmarks.workloads import Setting, ours
from update_rules.metz.metz import Metz

VECTORS = Path(__file__).parents[1] / "tests" / "vectors"


def check_vectors(folder: Path = VECTORS) -> None:
    """Compare the metz rule and the meta-objective with the arrays stored in ``folder``, in both precisions.

    The limits are those of ``scripts/check_reference.py``. Raises ValueError where one is exceeded, OSError or
    ValueError for a file that cannot be read.
    """
    for name, compute in (
        ("tiny.npz", _update_steps),
        ("tiny_metaobj.npz", _meta_objectives),
        ("tiny_metagrad.npz", _meta_gradient),
    ):
        stored = load_arrays(folder / name)
        inputs = stored if compute is _meta_objectives else inputs_of(stored)
        with jax.enable_x64(True):
            strict = compute(stored, inputs, torch.float64)
        with jax.enable_x64(False):
            rounded = compute(stored, inputs, torch.float32)
        for group in compare(stored, inputs, (strict, rounded)):
            for error, limit, passed, worst in zip(group.errors, group.limits, group.passed, group.worst, strict=True):
                if not passed:
                    raise ValueError(
                        f"the JAX version is not timed: it differs from {stored.path} by {error:.1e} in {worst}, "
                        f"expected at most {limit:.1e}"
                    )


def check_workload(setting: Setting) -> None:
    """Compare what is timed, in float32, with what this program computes from the same data.

    Raises ValueError if they differ by more than rounding can explain. A meta-gradient is judged as a whole by relative
    norm and direction: a relu input within rounding of zero may fall on the other side, which moves that of B1 by 2 %.
    A State is judged by its change since the start.
    """
    found, expected = flat(compiled(setting)()), flat(ours(setting, recompute=True))
    if setting.workload.apply:
        start = flat(list(setting.unrolls[0].carried.values()))
        errors = {"relative norm": (relative_norm(found - start, expected - start), ROUNDED_STATE)}
    else:
        errors = {
            "relative norm": (relative_norm(found, expected), ROUNDED_GRADIENT),
            "1 - cosine": (one_minus_cosine(found, expected), ROUNDED_ONE_MINUS_COSINE),
        }
    for kind, (error, limit) in errors.items():
        if not error <= limit:
            raise ValueError(
                f"the JAX version is not timed: its result differs from this program's by {error:.1e} ({kind}), "
                f"expected at most {limit:.1e}"
            )


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """``arrays`` in torch."""
    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}


def _start(inputs: ArrayFile, rate: float, dtype: torch.dtype) -> tuple[Metz, Arrays, tuple[int, ...], Arrays]:
    """The rule of ``inputs``, its θ in JAX, the sizes of the base network and its first State in JAX."""
    rule = rule_from_arrays(inputs, rate, dtype)
    network, state = network_from_arrays(inputs, dtype)
    theta = {name: array(value) for name, value in rule.named_parameters()}
    return rule, theta, network.sizes, {key: array(value) for key, value in state.items()}


def _images(images: np.ndarray, inputs: ArrayFile, dtype: torch.dtype) -> Array:
    return array(shuffled_images(images, inputs, dtype))


def _update_steps(stored: ArrayFile, inputs: ArrayFile, dtype: torch.dtype) -> dict[str, Tensor]:
    """Activations and changes of the first inner step, and the States after as many as ``stored`` goes to."""
    rule, theta, sizes, state = _start(inputs, inputs.number("cfg/learning_rate"), dtype)
    batches = [_images(images, inputs, dtype) for images in inputs["batches/images"]]

    @jax.jit
    def both(state: Arrays, x: Array) -> tuple[Arrays, Arrays, list[Array], list[Array]]:
        own = theta, rule.config, sizes, state, x
        return jax_metz.step(*own), jax_metz.changes(*own), *forward(state, len(sizes) - 1, x)

    _, change, xs, zs = both(state, batches[0])
    computed = {f"fwd/x{layer}": x for layer, x in enumerate(xs)} | {f"fwd/z{layer}": z for layer, z in enumerate(zs)}
    for layer in range(1, len(sizes)):
        for key, name in (("w", "forward_w"), ("v", "backward_w"), ("b", "b")):
            computed[f"change/{name}{layer}"] = change[f"{key}{layer}"]
    counts = {int(match[1]) for name in stored if (match := re.match(r"base(\d+)/", name))}
    for count in range(1, max(counts) + 1):
        state = both(state, batches[(count - 1) % len(batches)])[0]
        computed |= {f"base{count}/{name}": state[key] for key, name in state_names(len(sizes) - 1).items()}
    return _tensors(computed)


def _meta_objectives(stored: ArrayFile, inputs: ArrayFile, dtype: torch.dtype) -> dict[str, Tensor]:
    """The meta-objective of every stored case and its gradient in the features."""
    computed: Arrays = {}
    for case in (name.removesuffix("features_train") for name in stored if name.endswith("/features_train")):
        features = [array(torch.from_numpy(stored[f"{case}features_{part}"]).to(dtype)) for part in ("train", "test")]
        loss, gradients = jax.value_and_grad(lambda pair, case=case: _objective(stored, case, *pair))(features)
        computed |= {f"{case}loss": loss, f"{case}grad_features_train": gradients[0]}
        computed[f"{case}grad_features_test"] = gradients[1]
    return _tensors(computed)


def _meta_gradient(stored: ArrayFile, inputs: ArrayFile, dtype: torch.dtype) -> dict[str, Tensor]:
    """The meta-objective after the stored number of inner steps, and its gradient in θ and the first State."""
    rule, theta, sizes, start = _start(inputs, stored.number("cfg/learning_rate"), dtype)
    images = inputs["batches/images"]
    order = [index % len(images) for index in range(stored.count("cfg/steps"))]
    batches = jnp.stack([_images(images[index], inputs, dtype) for index in order])
    shots = len(stored["meta/images_train"])
    labelled = _images(np.concatenate([stored["meta/images_train"], stored["meta/images_test"]]), inputs, dtype)

    def loss(theta: Arrays, state: Arrays) -> tuple[Array, Arrays]:
        def one(state: Arrays, x: Array) -> tuple[Arrays, None]:
            return jax_metz.step(theta, rule.config, sizes, state, x), None

        last = jax.lax.scan(one, state, batches)[0]
        features = forward(last, len(sizes) - 1, labelled)[0][-1]
        return _objective(stored, "meta/", features[:shots], features[shots:]), last

    (value, last), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(theta, start)
    by_name = named_rule_tensors(rule, _tensors(gradients[0]))
    computed = {"meta/loss": value}
    for key, name in state_names(len(sizes) - 1).items():
        computed |= {f"grad_base0/{name}": gradients[1][key], f"final/{name}": last[key]}
    return _tensors(computed) | {f"grad_theta/{name}": gradient for name, gradient in by_name.items()}


def _objective(arrays: ArrayFile, prefix: str, support: Array, query: Array) -> Array:
    """The meta-objective of features with the labels stored under ``prefix``."""
    labels = [arrays[f"{prefix}labels_{part}"] for part in ("train", "test")]
    ways = int(np.concatenate(labels).max()) + 1
    return objective(support, jnp.array(labels[0]), query, jnp.array(labels[1]), ways)
