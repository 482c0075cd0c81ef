"""A printable rule: a learned mix of twelve named plasticity terms, some forty weights in all.

Notation: v is the lower activation (or input) centred over the batch, over one deviation for its layer, u the upper
pre-activation standardised over the batch, y the upper activation over its rms over the batch, s the same standardised,
w a weight of a unit-rms column, N the number of upper units, β a learned sharpness, ⟨·⟩ a mean over the batch. The
feedback e is u in the top layer, and below it e · sigmoid(z) of the layer above, sent down through its backward weights
and standardised. A term t enters as N(t) = t / sqrt(1 + mean of t² over its column), so that coefficients compare.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from update_rules.contract import Problem, Rule, State, StepViews
from update_rules.local.hebbian_batched import batched_weight_change
from update_rules.local.local_terms import (
    POWER,
    LocalRule,
    bounded_columns,
    skewness,
    spread,
    standardised,
    turn,
    unit_rms_columns,
    without,
)

TERMS = {
    "hebb": ("⟨v u⟩", "towards inputs that come with high responses, away from those of low ones"),
    "gated_hebb": ("⟨v y⟩", "towards inputs that come while the unit is on"),
    "cubic_hebb": ("⟨v u³⟩", "towards inputs of rare strong responses, as for independent components"),
    "bcm": ("⟨v y (y - 1)⟩", "towards inputs of strong responses, away from those of weak ones"),
    "compete": (
        "⟨v softmax(β u)⟩ · N",
        "towards inputs that the unit answers more than the others do: online k-means on a sphere",
    ),
    "feedback": ("⟨v e⟩", "towards inputs that the layers above ask for; in the last layer the same as hebb"),
    "decorrelate": ("-w · offdiag⟨u u⟩ / √N", "away from the weights of units that respond alike"),
    "inhibit": ("-w · offdiag⟨y y⟩ / √N", "away from the weights of units that are on together"),
    "sparsify": ("-w² sign(w)", "large weights shrink"),
    "grow_small": ("w exp(-w²)", "small weights grow"),
    "share_inputs": ("-w · mean over the row of w²", "inputs that many units weigh much lose weight"),
    "balance": ("-mean over the column of w", "the weights of a unit come to sum to 0"),
}
"""Name and formula of each term of the change that is added to w, and what it does to a unit where its coefficient is
above 0; below 0 it does the opposite."""

BIAS_TERMS = {
    "activity": ("-⟨x⟩", "a unit that is on much is lowered"),
    "skew": ("⟨u³⟩", "a unit with rare high responses is raised"),
    "decay": ("-b", "biases return to 0"),
    "lift": ("1", "every unit is raised"),
    "straighten": ("⟨s³⟩ - ⟨u³⟩", "to where the activation adds no skewness, so is nearly straight"),
}
"""The same for each term of the change that is added to b."""

START = {"compete": 1.0, "decorrelate": 1.0, "decay": 1.0, "straighten": 2.0}
"""The coefficients that do not start at 0."""

ELEMENTWISE_START = {
    "activity": (-0.145, 0.505),
    "skew": (-0.13, -0.13),
    "decay": (0.925, 0.325),
    "lift": (-0.7, 0.7),
    "straighten": (0.57, 0.37),
}
"""Where the coefficients of biases start with ``elementwise``, as constants and slopes.

In the first layer biases rest where detectors of rare patterns respond to these alone: near -1 for a relu or silu, near
-2 for tanh. Decay is as large as what pulls down: a unit far below 0, in the dip of a silu, does not come back.
"""


class Hebbian(LocalRule):
    """A learned mix of named plasticity terms. Equivariant to units, inputs and examples; any network of dense layers.

    Each coefficient, and the logarithm of the rate and of the sharpness, is a constant plus a slope times the relative
    depth of the layer, from -1 (first) to 1 (last). A layer alone has what a first one has, but the coefficients of
    biases of a last one. ``rate`` is the starting value of the learned inner rate, which follows a learned power of
    1 + t, the inner steps done: at first (1 + t)^POWER. All coefficients start at 0 but those of START. ``compete`` and
    ``decorrelate`` are online k-means on a sphere whose units keep apart; ``straighten`` and ``decay`` bring every bias
    to where the activation is nearly straight: a relu to near 1, tanh to 0. Where units compete no bias does that, so
    start ``straighten`` at 0 there. What biases learn under one kind of activation ruins the other: ``elementwise``
    adds coefficients for networks whose units do not compete, which start as ELEMENTWISE_START has them.
    """

    name = "hebbian"
    theta_per_task = True
    compiled_batch = True

    def __init__(self, rate: float = 0.1, straighten: float = START["straighten"], elementwise: bool = False) -> None:
        super().__init__()
        if not 0 < rate < 1:
            raise ValueError(f"got rate {rate} for the hebbian rule, expected a number between 0 and 1")
        self.constant = nn.Parameter(torch.tensor([START.get(name, 0.0) for name in TERMS]))
        self.slope = nn.Parameter(torch.zeros(len(TERMS)))
        start = START | {"straighten": straighten}
        self.bias = nn.Parameter(torch.tensor([start.get(name, 0.0) for name in BIAS_TERMS]))
        self.bias_slope = nn.Parameter(torch.zeros(len(BIAS_TERMS)))
        self.bias_names = {"": ("bias", "bias_slope")}  # of networks of each kind, those whose units compete first
        if elementwise:
            elementwise_names = ("elementwise_bias", "elementwise_slope")
            self.bias_names = {" where units compete": self.bias_names[""], " where units do not": elementwise_names}
            constants, slopes = zip(*(ELEMENTWISE_START[name] for name in BIAS_TERMS), strict=True)
            self.elementwise_bias = nn.Parameter(torch.tensor(constants))
            self.elementwise_slope = nn.Parameter(torch.tensor(slopes))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(4.0)))
        self.sharpness_slope = nn.Parameter(torch.zeros(()))
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate)))
        self.rate_slope = nn.Parameter(torch.zeros(()))
        self.power = nn.Parameter(torch.tensor(POWER))
        # Here, so that a study of what the rule needs can take them away.
        self.bounded, self.unit_columns = bounded_columns, unit_rms_columns

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """One inner step on ``views["unlabelled"]`` [B, D]."""
        return self._sweep(problem, state, views["unlabelled"], self._change)

    def batched_step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The same for T tasks at once, each maybe with a θ of its own, by ``batched_weight_change``."""
        change = partial(batched_weight_change, bounded=self.bounded is bounded_columns)
        return self._sweep(problem, state, views["unlabelled"], change)

    def _sweep(self, problem: Problem, state: State, x: Tensor, change_of: Callable[..., Tensor]) -> State:
        """The State after one inner step on ``x`` [..., B, D], whose weights change as ``change_of`` says."""
        depth = len(problem.network.sizes) - 1
        activations = problem.network.forward(state, x)
        levels = [spread(x).levels for x in activations.x[:-1]]
        standard = [standardised(z) for z in activations.z]
        lead = state["t"].shape  # of tasks, each of which has a θ, shared or its own
        log_rate = self.log_rate.expand(lead) + self.power.expand(lead) * torch.log1p(state["t"])
        rate_slope, log_sharpness, sharpness_slope = (
            value.expand(lead) for value in (self.rate_slope, self.log_sharpness, self.sharpness_slope)
        )
        constant, slope = (value.expand(*lead, -1) for value in (self.constant, self.slope))
        new: State = {"t": state["t"] + 1}
        kinds = list(self.bias_names.values())
        names = kinds[0 if problem.network.competes else -1]
        bias, bias_slope = (getattr(self, name).expand(*lead, -1) for name in names)
        error = standard[-1]
        for layer in range(depth, 0, -1):
            w, v = state[f"w{layer}"], state[f"v{layer}"]
            # A layer alone sees the inputs, as a first one does, and is read as a last one is, whose biases cut little.
            z, z_bias = relative_depth(layer, depth, alone=-1.0), relative_depth(layer, depth, alone=1.0)
            rate = (log_rate + z * rate_slope).exp()[..., None]
            sharpness = (log_sharpness + z * sharpness_slope).exp()
            seen = (levels[layer - 1], standard[layer], activations.x[layer], error)
            change = change_of(w, *seen, sharpness, constant + z * slope)
            change = rate[..., None] * self.bounded(turn(w, change))
            new[f"w{layer}"] = self.unit_columns(w + change)
            new[f"v{layer}"] = self.unit_columns(v + change)
            terms_of_bias = bias_terms(state[f"b{layer}"], standard[layer], activations.x[layer])
            moved = torch.einsum("...k,...kn->...n", bias + z_bias * bias_slope, terms_of_bias)
            new[f"b{layer}"] = state[f"b{layer}"] + rate * moved
            if layer > 1:
                error = standardised((error * torch.sigmoid(activations.z[layer])) @ v.mT)
        return new

    def _change(
        self, w: Tensor, v: Tensor, u: Tensor, x: Tensor, error: Tensor, sharpness: Tensor, weights: Tensor
    ) -> Tensor:
        """The sum of ``weight_terms`` of one task, bounded, with their ``weights`` [12]."""
        terms = weight_terms(w, v, u, x, error, sharpness)
        return torch.tensordot(weights, self.bounded(torch.stack(terms)), dims=1)

    def equation(self) -> str:
        """The rule as text: every term with its coefficient, largest first; t inner steps, z relative depth."""
        numbers = self.describe()
        rate, beta = (f"{numbers[name]:.4f} exp({numbers[f'{name}_slope']:+.3f} z)" for name in ("rate", "sharpness"))
        rate += f" (1 + t)^{numbers['power']:+.3f}"
        lines = [f"Δw = {rate} · N(turn(sum of)), t = inner steps, z = relative depth from -1 to 1, β = {beta}"]
        lines += _sum(TERMS, "N[{}]", numbers, "constant", "slope")
        for where, names in self.bias_names.items():
            lines.append(f"Δb{where} = {rate} · (sum of)")
            lines += _sum(BIAS_TERMS, "({})", numbers, *names)
        return "\n".join(lines)

    def sizes(self) -> list[tuple[str, float, float, str]]:
        """Each term's name, coefficient in the first and in the last layer, and meaning; by size, weights first."""
        kinds = [("", TERMS, ("constant", "slope"))]
        kinds += [(where, BIAS_TERMS, names) for where, names in self.bias_names.items()]
        rows, numbers = [], self.describe()
        for where, terms, (constant, slope) in kinds:
            found = []
            for name, (_, says) in terms.items():
                middle, change = numbers[f"{constant}/{name}"], numbers[f"{slope}/{name}"]
                found.append((name + where, middle - change, middle + change, says))
            rows += sorted(found, key=lambda row: -abs(row[1]) - abs(row[2]))
        return rows

    def parts(self) -> Iterator[tuple[str, Rule]]:
        """Every term, that the rate follows inner time, that terms are bounded and that columns have unit rms."""
        zeros: dict[str, list[tuple[str, Any]]] = {
            f"term {term}": [("constant", i), ("slope", i)] for i, term in enumerate(TERMS)
        }
        biases = [name for names in self.bias_names.values() for name in names]
        zeros |= {f"bias term {term}": [(n, i) for n in biases] for i, term in enumerate(BIAS_TERMS)}
        zeros["inner time"] = [("power", ())]
        yield from without(self, zeros)
        for name, normalisation in (("bounds", "bounded"), ("unit columns", "unit_columns")):
            less = deepcopy(self)
            setattr(less, normalisation, torch.clone)
            yield name, less

    @torch.no_grad()
    def describe(self) -> dict[str, float]:
        """The learned rate and every coefficient."""
        scalars = {"rate": float(self.log_rate.exp()), "rate_slope": float(self.rate_slope), "power": float(self.power)}
        scalars |= {"sharpness": float(self.log_sharpness.exp()), "sharpness_slope": float(self.sharpness_slope)}
        kinds = [(TERMS, ("constant", "slope")), *((BIAS_TERMS, names) for names in self.bias_names.values())]
        for terms, names in kinds:
            for name in names:
                values = self.get_parameter(name).tolist()
                scalars |= {f"{name}/{term}": value for term, value in zip(terms, values, strict=True)}
        return scalars


def _sum(
    terms: Mapping[str, tuple[str, str]], frame: str, numbers: Mapping[str, float], constant: str, slope: str
) -> list[str]:
    """A line for each of ``terms`` with its coefficient, the largest first."""
    order = sorted(terms, key=lambda name: -abs(numbers[f"{constant}/{name}"]))
    return [
        f"  ({numbers[f'{constant}/{name}']:+.3f} {numbers[f'{slope}/{name}']:+.3f} z) "
        f"{frame.format(terms[name][0])}   {name}"
        for name in order
    ]


def relative_depth(layer: int, depth: int, alone: float) -> float:
    """Where ``layer``, 1 to ``depth``, is: from -1 (first) to 1 (last); ``alone`` where there is only one."""
    return alone if depth == 1 else 2 * (layer - 1) / (depth - 1) - 1


def weight_terms(w: Tensor, v: Tensor, u: Tensor, x: Tensor, error: Tensor, sharpness: Tensor) -> list[Tensor]:
    """The terms [N_low, N_up] of the change of ``w``, in the order of TERMS.

    ``v`` [B, N_low] centred lower activations, and of the upper layer standardised pre-activations ``u``, activations
    ``x`` and ``error``, all [B, N_up].
    """
    b, n_up = u.shape
    y = unit_rms_columns(x)
    outer = v.mT / b
    square = w * w
    decorrelate, inhibit = by_others(w, u, y)
    return [
        outer @ u,
        outer @ y,
        outer @ (u * u * u),
        outer @ (y * (y - 1)),
        outer @ torch.softmax(sharpness * u, 1) * n_up,
        outer @ error,
        -decorrelate,
        -inhibit,
        -square * torch.sign(w),
        w * torch.exp(-square),
        -w * square.mean(1, keepdim=True),
        -w.mean(0).expand_as(w),
    ]


def by_others(w: Tensor, *answers: Tensor) -> list[Tensor]:
    """Of each u [B, N] of ``answers`` w · offdiag⟨u u⟩ / √N ([N_low, N]): others' weights ``w`` [N_low, N] by ⟨u u⟩."""
    b, n = answers[0].shape
    scale = b * math.sqrt(n)
    if n > 2 * b:  # the matrix of all pairs of units costs more than a way through the examples
        return [((w @ u.mT) @ u - w * (u * u).sum(0)) / scale for u in answers]
    off_diagonal = (1 - torch.eye(n, dtype=w.dtype, device=w.device)) / scale
    return [w @ ((u.mT @ u) * off_diagonal) for u in answers]


def bias_terms(b: Tensor, u: Tensor, x: Tensor) -> Tensor:
    """The terms [..., 5, N] of the change of ``b`` [..., N], in the order of BIAS_TERMS; ``u``, ``x`` [..., B, N]."""
    skew = skewness(u)
    return torch.stack([-x.mean(-2), skew, -b, torch.ones_like(b), skewness(standardised(x)) - skew], -2)
