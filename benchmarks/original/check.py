"""Compares this program with stored arrays of the original rule, in both precisions.

A file is recognised by its arrays: update steps (``base<t>/…``, ``fwd/…``, ``change/…``), the meta-objective
(``<case>/features_train``) or the meta-gradient (``grad_theta/…``). A file without rule weights takes its inputs from
its sibling: ``X_f64.npz`` and ``X_metagrad….npz`` from ``X.npz`` in the same folder.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.original.compare import GroupResult, compare, uncompared
from benchmarks.original.names import (
    ArrayFile,
    named_rule_tensors,
    network_from_arrays,
    rule_from_arrays,
    shuffled_images,
    state_names,
)
from outer_loop.readouts.metz_objective import MetaObjective, metz_objective
from update_rules.contract import Problem
from update_rules.local.local_terms import unit_rms_columns


class FileResult(NamedTuple):
    """How one file compares."""

    path: Path
    kind: str
    groups: list[GroupResult]
    uncompared: list[str]  # stored arrays that look like outputs and that nothing was compared with

    @property
    def passed(self) -> bool:
        """Whether every group passed in both precisions."""
        return all(all(group.passed) for group in self.groups)


def load_arrays(path: Path) -> ArrayFile:
    """All arrays of the .npz file at ``path``. Raises OSError, and ValueError for what is no archive of numbers."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no zip archive, or only a part of one")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable .npz archive of numbers: {error}") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{path}: got array {name} of type {array.dtype}, expected numbers")
    return ArrayFile(path, arrays)


def check_file(path: Path) -> FileResult:
    """Compare all that the file at ``path`` stores. Raises OSError or ValueError for one that cannot be checked."""
    stored = load_arrays(path)
    kinds = {
        "meta-gradient": (r"grad_theta/", meta_gradient),
        "meta-objective": (r".*/features_train$", meta_objectives),
        "update steps": (r"(base[1-9]\d*|fwd|change)/", update_steps),
    }
    kind = next((kind for kind, (name, _) in kinds.items() if any(re.match(name, one) for one in stored)), None)
    if kind is None:
        raise ValueError(
            f"{path} holds no reference arrays: expected base<t>/… (update steps), <case>/features_train "
            "(meta-objective) or grad_theta/… (meta-gradient)"
        )
    inputs, compute = stored if kind == "meta-objective" else inputs_of(stored), kinds[kind][1]
    try:
        computed = compute(stored, inputs, torch.float64), compute(stored, inputs, torch.float32)
    except (IndexError, RuntimeError) as error:
        raise ValueError(f"the arrays of {path} do not fit together: {error}") from error
    groups = compare(stored, inputs, computed)
    return FileResult(path, kind, groups, uncompared(stored, computed[0]))


def figures(result: FileResult) -> str:
    """``result`` as lines of text: a heading, then one row a group with errors, limits and verdicts."""
    lines = [f"{result.path}: {result.kind}"]
    lines.append(f"  {'group':<18}{'arrays':>6}   {'float64':>8}{'limit':>9}        {'float32':>8}{'limit':>9}")
    for group in result.groups:
        row = f"  {group.group:<18}{group.arrays:>6}"
        for error, limit, passed in zip(group.errors, group.limits, group.passed, strict=True):
            row += f"   {error:8.1e}{limit:9.1e} {'pass' if passed else 'FAIL'}"
        failed = {name for name, passed in zip(group.worst, group.passed, strict=True) if not passed}
        lines.append(row + "".join(f"  worst: {name}" for name in sorted(failed)))
    if result.uncompared:
        lines.append(f"  not compared: {', '.join(result.uncompared)}")
    return "\n".join(lines)


def inputs_of(stored: ArrayFile) -> ArrayFile:
    """The file that holds the inputs of ``stored``: itself, or its sibling ``X.npz``. Raises as ``load_arrays``."""
    if any(name.startswith("theta/") for name in stored):
        return stored
    path = stored.path
    sibling = path.with_name(re.sub(r"(_metagrad.*|_f64)$", "", path.stem) + path.suffix)
    if sibling == path or not sibling.exists():
        raise ValueError(f"{path} holds outputs only, and the file with their inputs is missing: expected {sibling}")
    return load_arrays(sibling)


def update_steps(stored: ArrayFile, inputs: ArrayFile, dtype: torch.dtype) -> dict[str, Tensor]:
    """Every quantity of the first inner step, and the States after as many steps as ``stored`` goes to."""
    rule = rule_from_arrays(inputs, inputs.number("cfg/learning_rate"), dtype)
    network, start = network_from_arrays(inputs, dtype)
    problem = Problem.of(network)
    batches = [shuffled_images(images, inputs, dtype) for images in inputs["batches/images"]]
    computed: dict[str, Tensor] = {}
    with torch.no_grad():
        activations = network.forward(start, batches[0])
        neurons = rule.neuron_states(start, activations)
        x, h, error = activations.x, neurons.h, neurons.error
        rows = torch.from_numpy(inputs.get("neuron/rows", np.arange(len(batches[0]))))
        computed["fwd/embedding"] = x[-1]
        for layer in range(network.depth + 1):
            computed[f"fwd/x{layer}"] = x[layer]
            computed[f"neuron/h{layer}"] = h[layer][rows]
            computed[f"neuron/d_in{layer}"] = error[layer][rows]
        changes = rule.changes(start, activations, neurons)
        for layer in range(1, network.depth + 1):
            computed[f"fwd/z{layer}"] = activations.z[layer]
            computed[f"neuron/d_out{layer}"] = error[layer - 1][rows]
            computed[f"change/forward_w{layer}"] = changes[f"w{layer}"]
            computed[f"change/backward_w{layer}"] = changes[f"v{layer}"]
            computed[f"change/b{layer}"] = changes[f"b{layer}"]
            for direction, key, module in (
                ("forward", f"w{layer}", rule.forward_change),
                ("backward", f"v{layer}", rule.backward_change),
            ):
                if module is not None:
                    w = unit_rms_columns(start[key])
                    terms = module.terms(w, x[layer - 1], h[layer - 1], x[layer], h[layer])
                    computed |= {f"{direction}_terms{layer}/{name}": term for name, term in terms.items()}

        state = start
        counts = {int(match[1]) for name in stored if (match := re.match(r"(?:base|fwd/embedding_after)(\d+)", name))}
        for step in range(1, max(counts, default=0) + 1):
            state = rule.step(problem, state, {"unlabelled": batches[(step - 1) % len(batches)]}, "train")
            if step in counts:
                computed |= {f"base{step}/{name}": state[key] for key, name in state_names(network.depth).items()}
                computed[f"fwd/embedding_after{step}"] = rule.features(problem, state, batches[0])
    return computed


def meta_objectives(stored: ArrayFile, inputs: ArrayFile, dtype: torch.dtype) -> dict[str, Tensor]:
    """The meta-objective of every stored case, and its gradient in the features of support and query."""
    computed: dict[str, Tensor] = {}
    for name in inputs:
        if not name.endswith("/features_train"):
            continue
        case = name.removesuffix("features_train")
        support = torch.from_numpy(inputs[case + "features_train"]).to(dtype).requires_grad_()
        query = torch.from_numpy(inputs[case + "features_test"]).to(dtype).requires_grad_()
        objective = objective_of(inputs, case, support, query)
        gradients = torch.autograd.grad(objective.loss, (support, query))
        computed |= named_objective(case, objective)
        computed[case + "ridge_weights"] = objective.weights
        computed[case + "grad_features_train"], computed[case + "grad_features_test"] = gradients
    return computed


def meta_gradient(stored: ArrayFile, inputs: ArrayFile, dtype: torch.dtype) -> dict[str, Tensor]:
    """The meta-objective after the stored number of inner steps, and its gradient in θ and the first State."""
    rule = rule_from_arrays(inputs, stored.number("cfg/learning_rate"), dtype)
    network, start = network_from_arrays(inputs, dtype)
    problem, batches = Problem.of(network), inputs["batches/images"]
    state = start = {key: value.requires_grad_() for key, value in start.items()}
    for step in range(stored.count("cfg/steps")):
        batch = shuffled_images(batches[step % len(batches)], inputs, dtype)
        state = rule.step(problem, state, {"unlabelled": batch}, "train")
    images = np.concatenate([stored["meta/images_train"], stored["meta/images_test"]])
    features = rule.features(problem, state, shuffled_images(images, inputs, dtype))
    support, query = features.split([len(stored["meta/images_train"]), len(stored["meta/images_test"])])
    objective = objective_of(stored, "meta/", support, query)

    parameters = dict(rule.named_parameters())
    gradients = torch.autograd.grad(objective.loss, (*parameters.values(), *start.values()), materialize_grads=True)
    theta = dict(zip(parameters, gradients, strict=False))
    base = dict(zip(start, gradients[len(parameters) :], strict=True))
    names = state_names(network.depth)
    return (
        named_objective("meta/", objective)
        | {"meta/features_train": support.detach(), "meta/features_test": query.detach()}
        | {f"grad_theta/{name}": gradient for name, gradient in named_rule_tensors(rule, theta).items()}
        | {f"grad_base0/{name}": base[key] for key, name in names.items()}
        | {f"final/{name}": state[key].detach() for key, name in names.items()}
    )


def objective_of(arrays: ArrayFile, prefix: str, support: Tensor, query: Tensor) -> MetaObjective:
    """The meta-objective of features [B, F] with the labels of ``prefix``. Raises ValueError for unfit labels."""
    labels = []
    for part, features in (("train", support), ("test", query)):
        y = arrays.shaped(f"{prefix}labels_{part}", (len(features),))
        if not ((y >= 0) & (y < len(y)) & (y == np.floor(y))).all():
            raise ValueError(f"{arrays.path}: got labels {prefix}labels_{part} outside of 0 to {len(y) - 1}")
        labels.append(torch.from_numpy(y.astype(np.int64)))
    ways = int(torch.cat(labels).max()) + 1
    return metz_objective(support, labels[0], query, labels[1], ways)


def named_objective(prefix: str, objective: MetaObjective) -> dict[str, Tensor]:
    """The scalars of ``objective`` under the names they are stored by."""
    scalars = {
        "loss": objective.loss,
        "stat/total_loss": objective.loss,
        "stat/mse_test": objective.mse_query,
        "stat/mse_train": objective.mse_support,
        "stat/ridge_component": objective.ridge_component,
        "stat/accuracy_test": objective.accuracy_query,
        "stat/accuracy_train": objective.accuracy_support,
    }
    return {prefix + name: value.detach() for name, value in scalars.items()}
