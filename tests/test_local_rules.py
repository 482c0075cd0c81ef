"""The local rules and their network against the transcription in numpy, terms together and alone, and the start."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from local_rules_numpy import Arrays, forward, unit_rms
from local_rules_numpy import Hebbian as HebbianNumpy
from local_rules_numpy import NeuronLocal as NeuronLocalNumpy

from inner_loop.networks.mlp import MLP
from update_rules.contract import Problem, Rule
from update_rules.local.hebbian import BIAS_TERMS, ELEMENTWISE_START, Hebbian
from update_rules.local.hebbian import TERMS as HEBBIAN_TERMS
from update_rules.local.neuron_change import TERMS
from update_rules.local.neuron_local import NeuronLocal
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule

SIZES = [(5, 3), (5, 4, 3), (6, 5, 3, 4)]
EXAMPLES = 7
WIDE = (5, 2 * EXAMPLES + 1, 4)
"""A layer of more than twice as many units as there are examples, for which ``hebbian`` multiplies in another order."""


def neuron_local(seed: int = 0) -> NeuronLocal:
    """The rule in float64 at a random θ, in which no offset is zero and every term has weight."""
    rule = NeuronLocal(hidden=6, error_channels=3, readout_channels=2, rate=0.2, seed=seed).double()
    draw = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for name, parameter in rule.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            scale = {"mixing": 0.05, "log_rate": 0.02, "mixing_slopes": 0.05, "rate_slopes": 0.02}
            parameter.add_(scale.get(name, 0.4) * noise)
        rule.mixing.add_(0.03 * torch.sign(rule.mixing))
    return rule


def hebbian(seed: int = 0) -> Hebbian:
    """The rule in float64 at a random θ with every coefficient away from zero."""
    rule = Hebbian(rate=0.2).double()
    draw = torch.Generator().manual_seed(seed + 200)
    with torch.no_grad():
        for name, parameter in rule.named_parameters():
            if name == "power":
                continue  # stays at its start, so that the rate is not lost in a power of the steps done
            noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            parameter.add_(0.4 * noise + 0.2 * torch.sign(noise))
    return rule


def transcribed(rule: Rule) -> NeuronLocalNumpy | HebbianNumpy:
    theta = {name: parameter.detach().numpy().copy() for name, parameter in rule.named_parameters()}
    if isinstance(rule, NeuronLocal):
        return NeuronLocalNumpy(theta, rule.error_channels, rule.readout_channels)
    return HebbianNumpy(theta)


def start(sizes: tuple[int, ...], seed: int = 0) -> Arrays:
    """Plain normal weights and large biases: the columns are not yet of unit rms, so that the norm of w counts."""
    rng = np.random.default_rng(seed)
    base = {"t": np.asarray(3.0)}
    for layer, (low, up) in enumerate(pairwise(sizes), start=1):
        base[f"w{layer}"], base[f"v{layer}"] = rng.standard_normal((2, low, up))
        base[f"b{layer}"] = 0.5 * rng.standard_normal(up)
    return base


def assert_two_steps_agree(rule: Rule, sizes: tuple[int, ...], activation: str) -> tuple[Arrays, Arrays]:
    """Run both from the same start on two batches; the base network before and after the first step."""
    first = expected = start(sizes)
    state = {name: torch.from_numpy(value) for name, value in first.items()}
    reference, problem = transcribed(rule), Problem.of(MLP(sizes, activation))
    history = []
    for x in np.random.default_rng(1).random((2, EXAMPLES, sizes[0])):
        with torch.no_grad():
            state = rule.step(problem, state, {"unlabelled": torch.from_numpy(x)}, "train")
        expected = reference.step(expected, x, activation)
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(state[name].numpy(), value, rtol=0, atol=1e-10, err_msg=name)
        history.append(expected)
    return first, history[0]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", SIZES)
def test_every_layer_equals_the_transcription_also_one_example_at_a_time(
    sizes: tuple[int, ...], activation: str
) -> None:
    base, network = start(sizes), MLP(sizes, activation)
    x = np.random.default_rng(1).random((EXAMPLES, sizes[0]))
    xs, zs = forward(base, x, activation)
    state = {name: torch.from_numpy(value) for name, value in base.items()}
    rows = torch.from_numpy(x)
    together = network.forward(state, rows)
    alone = [network.forward(state, rows[b : b + 1], together.statistics()) for b in range(EXAMPLES)]
    for layer in range(len(sizes)):
        for found in (together.x[layer], torch.cat([one.x[layer] for one in alone])):
            np.testing.assert_allclose(found, xs[layer], rtol=0, atol=1e-10)
        for found in (together.z[layer], torch.cat([one.z[layer] for one in alone])):
            np.testing.assert_allclose(found, zs[layer], rtol=0, atol=1e-10)
    assert together.mean[0].numel() == together.var[0].numel() == 0
    for layer in range(1, len(sizes)):
        linear = xs[layer - 1] @ base[f"w{layer}"]
        np.testing.assert_allclose(together.mean[layer], linear.mean(0), rtol=0, atol=1e-10)
        np.testing.assert_allclose(together.var[layer], linear.var(0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_two_steps_of_neuron_local_equal_the_transcription(sizes: tuple[int, ...], activation: str, seed: int) -> None:
    assert_two_steps_agree(neuron_local(seed), sizes, activation)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", [*SIZES, WIDE])
@pytest.mark.parametrize("seed", [0, 1])
def test_two_steps_of_hebbian_equal_the_transcription(sizes: tuple[int, ...], activation: str, seed: int) -> None:
    assert_two_steps_agree(hebbian(seed), sizes, activation)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("term", NeuronLocalNumpy.TERMS)
def test_each_term_of_neuron_local_alone_equals_the_transcription(term: str, activation: str) -> None:
    rule = neuron_local()
    with torch.no_grad():
        rule.mixing.mul_(torch.tensor([float(name == term) for name in TERMS]))
    before, after = assert_two_steps_agree(rule, (5, 4, 3), activation)
    for layer in (1, 2):  # the term alone does something
        assert np.abs(after[f"v{layer}"] - unit_rms(before[f"v{layer}"])).max() > 1e-3


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("term", HebbianNumpy.TERMS)
def test_each_term_of_hebbian_alone_equals_the_transcription(term: str, activation: str) -> None:
    rule = hebbian()
    with torch.no_grad():
        for coefficients in (rule.constant, rule.slope):
            coefficients.mul_(torch.tensor([float(name == term) for name in HEBBIAN_TERMS]))
    before, after = assert_two_steps_agree(rule, (6, 5, 3, 4), activation)
    for layer in (1, 2, 3):
        assert np.abs(after[f"v{layer}"] - unit_rms(before[f"v{layer}"])).max() > 1e-3


@pytest.mark.parametrize("term", HebbianNumpy.BIAS_TERMS)
def test_each_bias_term_of_hebbian_alone_equals_the_transcription(term: str) -> None:
    rule = hebbian()
    with torch.no_grad():
        for coefficients in (rule.bias, rule.bias_slope):
            coefficients.mul_(torch.tensor([float(name == term) for name in BIAS_TERMS]))
    before, after = assert_two_steps_agree(rule, (5, 4, 3), "tanh")
    for layer in (1, 2):
        assert np.abs(after[f"b{layer}"] - before[f"b{layer}"]).max() > 1e-3


def test_described_numbers_are_those_that_act() -> None:
    rule = hebbian()
    reference = transcribed(rule)
    scalars = ("rate", "rate_slope", "power", "sharpness", "sharpness_slope")
    expected = {name: getattr(reference, name) for name in scalars}
    for kind in ("constant", "slope", "bias", "bias_slope"):
        expected |= {f"{kind}/{name}": value for name, value in getattr(reference, kind).items()}
    assert rule.describe() == pytest.approx(expected, rel=1e-12)


def test_described_numbers_of_neuron_local_are_those_that_act() -> None:
    """At every time and layer, from the described constants and slopes."""
    rule = neuron_local()
    reference, described = transcribed(rule), rule.describe()
    for time in (0.0, 7.0):
        base = start((5, 4, 3)) | {"t": np.asarray(time)}
        for layer in (1, 2):
            context = dict(zip(("time", "depth", "top"), reference.context(base, layer), strict=True))
            slopes = sum(value * described[f"rate_slope/{name}"] for name, value in context.items())
            assert described["rate"] * math.exp(slopes) == pytest.approx(reference.rate(base, layer), rel=1e-12)
            for term, weight in reference.mixing(base, layer).items():
                slopes = sum(value * described[f"mixing_{name}/{term}"] for name, value in context.items())
                assert described[f"mixing/{term}"] + slopes == pytest.approx(weight, rel=1e-12)


def test_the_equation_prints_every_coefficient_with_its_formula() -> None:
    rule = Hebbian(rate=0.05)
    with torch.no_grad():
        rule.constant[:] = torch.tensor([-3.0, 2.5, 2, 1.5, -12, 11, 10, 9, 8, 7, 6, 5])
        rule.slope[:] = torch.arange(12) / 10
        rule.bias[:] = torch.tensor([0.25, -0.5, 0.125, 0.75, 0.625])
        rule.bias_slope[:] = torch.arange(5) / 10
        rule.power.fill_(-0.25)
        rule.rate_slope.fill_(0.5)
        rule.sharpness_slope.fill_(-0.125)
    assert rule.equation().splitlines() == [
        "Δw = 0.0500 exp(+0.500 z) (1 + t)^-0.250 · N(turn(sum of)), t = inner steps, z = relative depth from -1 to 1, "
        "β = 4.0000 exp(-0.125 z)",
        "  (-12.000 +0.400 z) N[⟨v softmax(β u)⟩ · N]   compete",
        "  (+11.000 +0.500 z) N[⟨v e⟩]   feedback",
        "  (+10.000 +0.600 z) N[-w · offdiag⟨u u⟩ / √N]   decorrelate",
        "  (+9.000 +0.700 z) N[-w · offdiag⟨y y⟩ / √N]   inhibit",
        "  (+8.000 +0.800 z) N[-w² sign(w)]   sparsify",
        "  (+7.000 +0.900 z) N[w exp(-w²)]   grow_small",
        "  (+6.000 +1.000 z) N[-w · mean over the row of w²]   share_inputs",
        "  (+5.000 +1.100 z) N[-mean over the column of w]   balance",
        "  (-3.000 +0.000 z) N[⟨v u⟩]   hebb",
        "  (+2.500 +0.100 z) N[⟨v y⟩]   gated_hebb",
        "  (+2.000 +0.200 z) N[⟨v u³⟩]   cubic_hebb",
        "  (+1.500 +0.300 z) N[⟨v y (y - 1)⟩]   bcm",
        "Δb = 0.0500 exp(+0.500 z) (1 + t)^-0.250 · (sum of)",
        "  (+0.750 +0.300 z) (1)   lift",
        "  (+0.625 +0.400 z) (⟨s³⟩ - ⟨u³⟩)   straighten",
        "  (-0.500 +0.100 z) (⟨u³⟩)   skew",
        "  (+0.250 +0.000 z) (-⟨x⟩)   activity",
        "  (+0.125 +0.200 z) (-b)   decay",
    ]


def test_every_term_of_the_hebbian_rule_is_said_in_words() -> None:
    rule = Hebbian()
    with torch.no_grad():
        rule.slope[list(HEBBIAN_TERMS).index("feedback")] = 3.0
    sizes = rule.sizes()
    assert [name for name, *_ in sizes[:3]] == ["feedback", "compete", "decorrelate"]
    assert sizes[0][1:3] == (-3.0, 3.0)
    assert {name for name, *_ in sizes} == HEBBIAN_TERMS.keys() | BIAS_TERMS.keys()
    both = {name: first for name, first, *_ in Hebbian(straighten=0.5, elementwise=True).sizes()}
    assert both["straighten where units compete"] == 0.5
    assert both["straighten where units do not"] == pytest.approx(ELEMENTWISE_START["straighten"][0] - 0.37)
    assert all(says for *_, says in sizes)


def test_the_hebbian_rule_prints_as_an_equation() -> None:
    lines = Hebbian().equation().splitlines()
    assert len(lines) == 1 + 12 + 1 + 5
    assert lines[1] == "  (+1.000 +0.000 z) N[⟨v softmax(β u)⟩ · N]   compete"
    assert lines[13:15] == [
        "Δb = 0.1000 exp(+0.000 z) (1 + t)^-0.300 · (sum of)",
        "  (+2.000 +0.000 z) (⟨s³⟩ - ⟨u³⟩)   straighten",
    ]


@pytest.mark.parametrize("activation", ["relu", "tanh", "winners", "winners_linear"])
def test_hebbian_moves_biases_by_the_coefficients_for_the_networks_activation(activation: str) -> None:
    """With coefficients of their own for elementwise activations, the rule is the one that has these or those alone."""
    both, problem = Hebbian(straighten=0.0, elementwise=True), Problem.of(MLP((9, 40, 3), activation))
    alone = Hebbian(straighten=0.0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in both.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        theta = dict(both.named_parameters())
        kind = "" if activation.startswith("winners") else "elementwise_"
        for name, parameter in alone.named_parameters():
            own = {"bias": "bias", "bias_slope": "slope"}.get(name) if kind else None
            parameter.copy_(theta[name if own is None else kind + own])
    state, x = both.init_state(problem, generator), torch.randn(50, 9, generator=generator)
    views = {"unlabelled": x}
    for name, value in both.step(problem, state, views, "train").items():
        assert torch.equal(value, alone.step(problem, state, views, "train")[name]), name
    assert f"units {'do not' if kind else 'compete'} = " in both.equation()
    assert len(both.describe()) == len(alone.describe()) + 2 * len(BIAS_TERMS)


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "tanh"])
@pytest.mark.parametrize(
    "rule",
    [Hebbian(rate=0.2, straighten=0.0, elementwise=True), load_rule("hebbian_winners")],
    ids=["fresh", "shipped"],
)
def test_biases_leave_units_alive_where_inputs_are_dense_and_skewed(rule: Rule, activation: str) -> None:
    """There a gelu or silu can be pushed down to the dip below 0, and on to where it answers nothing."""
    problem, generator = Problem.of(MLP((30, 64, 8), activation)), torch.Generator().manual_seed(0)
    state = rule.init_state(problem, generator)
    mixing = torch.randn(6, 30, generator=generator).abs()
    with torch.no_grad():
        for _ in range(100):
            x = torch.randn(64, 6, generator=generator).exp() @ mixing
            state = rule.step(problem, state, {"unlabelled": x}, "train")
        answers = problem.network.forward(state, x).x[1]
    assert float((answers.var(0) < 1e-3).float().mean()) < 0.1


@pytest.mark.parametrize("rule", [NeuronLocal(), Hebbian()], ids=["neuron_local", "hebbian"])
def test_states_start_normal_with_columns_of_unit_rms(rule: Rule) -> None:
    state = rule.init_state(Problem.of(MLP((300, 200, 400))), torch.Generator().manual_seed(0))
    assert sorted(state) == ["b1", "b2", "t", "v1", "v2", "w1", "w2"]
    assert float(state["t"]) == 0
    for layer in (1, 2):
        w, v, b = state[f"w{layer}"], state[f"v{layer}"], state[f"b{layer}"]
        for weights in (w, v):
            torch.testing.assert_close((weights * weights).mean(0), torch.ones(weights.shape[1]))
            assert float(weights.mean()) == pytest.approx(0, abs=0.02)
            assert float((weights**4).mean()) == pytest.approx(3, rel=0.05)
        assert abs(float((w * v).mean())) < 0.02
        assert float(b.mean()) == pytest.approx(0, abs=0.02)
        assert float(b.std()) == pytest.approx(0.1, rel=0.15)
        assert float((b**4).mean() / (b**2).mean() ** 2) == pytest.approx(3, rel=0.3)


def test_neuron_local_starts_competitive_and_normal_by_fan_in() -> None:
    rule = NeuronLocal(hidden=200, error_channels=8, readout_channels=3)
    described = {name: value for name, value in rule.describe().items() if value}
    assert described.pop("rate_slope/time") == pytest.approx(-0.3 * 3.5)
    mixing = {f"mixing/{k}": value for k, value in TERMS.items() if value}
    assert described == pytest.approx({"rate": 0.1, "sharpness": 4, "straighten": 0.7} | mixing)
    assert TERMS["order_0"] == TERMS["decorrelate"] == 1
    theta = {name: parameter.detach() for name, parameter in rule.named_parameters()}
    from_hidden, from_inputs, offset = (theta.pop(name) for name in ("from_hidden", "from_inputs", "offset"))
    for name, value in theta.items():
        if name.endswith("offset"):
            assert not value.any(), name
        elif value.dim() == 2 and not name.endswith("slopes"):
            assert float(value.std()) == pytest.approx(value.shape[1] ** -0.5, rel=0.1), name
    assert from_hidden.shape == (8 * 3 + 1 + 8 + 7 * 3, 200)
    assert from_inputs.shape == (8 * 3 + 1 + 8 + 7 * 3, 4 + 8)
    # order_0 has rows 0 to 2 for the weights below, of which one reads the share, and 33 to 35 for those above, which
    # read the levels; row 24 is the bias.
    bias_row, sees = 24, {0: (3, 4.0 * 3), 33: (0, 1.0), 34: (0, 1.0), 35: (0, 1.0)}
    assert not offset.any()
    for row, (column, weight) in sees.items():
        assert from_inputs[row, column] == weight
        from_inputs[row, column] = 0
    still = [0, 1, 2, bias_row, 33, 34, 35]
    for weights in (from_hidden, from_inputs):
        others = [row for row in range(len(weights)) if row not in still]
        assert float(weights[others].std()) == pytest.approx(weights.shape[1] ** -0.5, rel=0.1)
        assert not weights[still].any()


def test_theta_of_neuron_local_comes_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = NeuronLocal(seed=3)
    torch.manual_seed(2)
    again, other = make_rule(first.name, **first.config), NeuronLocal(seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.top_error, other.top_error)


def test_hebbian_starts_as_competition_against_decorrelation() -> None:
    described = Hebbian().describe()
    starts = {"constant/compete": 1.0, "constant/decorrelate": 1.0, "bias/decay": 1.0, "bias/straighten": 2.0}
    assert described.pop("rate") == pytest.approx(0.1)
    assert described.pop("power") == pytest.approx(-0.3)
    assert described.pop("sharpness") == pytest.approx(4)
    assert described == {name: starts.get(name, 0.0) for name in described}
    assert len(described) == 2 * 12 + 2 * 5 + 2


@pytest.mark.parametrize(("option", "least"), [("hidden", 1), ("error_channels", 2), ("readout_channels", 1)])
def test_neuron_local_needs_channels_of_each_kind(option: str, least: int) -> None:
    message = f"got {option} {least - 1} for the neuron_local rule, expected {least} or more"
    with pytest.raises(ValueError, match=message):
        NeuronLocal(**{option: least - 1})


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_rates_outside_0_to_1_are_refused(rate: float) -> None:
    for kind in (NeuronLocal, Hebbian):
        with pytest.raises(ValueError, match="expected a number between 0 and 1"):
            kind(rate=rate)
