import numpy as np
import pytest
import torch

from inner_loop.networks.activations import ACTIVATIONS, WINNERS, winners
from inner_loop.networks.mlp import MLP, MLPs

STATE = {
    "w1": torch.tensor([[1.0, -1.0], [0.5, 2.0]]),
    "b1": torch.tensor([0.1, -0.2]),
    "v1": torch.zeros(2, 2),
}


def test_a_layer_equals_the_formula_worked_out_in_numpy() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    linear = x.numpy().astype(np.float64) @ STATE["w1"].numpy()
    z = (linear - linear.mean(0)) / np.sqrt(linear.var(0) + 1e-6) + STATE["b1"].numpy()
    activations = MLP((2, 2)).forward(STATE, x)
    np.testing.assert_allclose(activations.z[1], z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(activations.x[1], np.maximum(z, 0), rtol=1e-5, atol=1e-6)


def test_frozen_statistics_give_the_batch_result_one_example_at_a_time() -> None:
    x = torch.rand(8, 2, generator=torch.Generator().manual_seed(0))
    network = MLP((2, 2), "tanh")
    batch = network.forward(STATE, x)
    together, frozen = batch.x[-1], batch.statistics()
    for i in range(8):
        torch.testing.assert_close(network.forward(STATE, x[i : i + 1], frozen).x[-1][0], together[i])


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_at_known_points(name: str) -> None:
    expected = {
        "relu": (0.0, 2.0),
        "leaky_relu": (-0.01, 2.0),
        "elu": (np.expm1(-1), 2.0),
        "gelu": (-0.1586553, 1.9544997),
        "silu": (-1 / (1 + np.e), 2 / (1 + np.exp(-2))),
        "tanh": (np.tanh(-1), np.tanh(2)),
        "softplus": (np.log1p(np.exp(-1)), np.log1p(np.exp(2))),
        "step": (0.0, 1.0),
        "winners": (0.0, 1.0),
    }[name]
    np.testing.assert_allclose(ACTIVATIONS[name](torch.tensor([-1.0, 2.0])), expected, rtol=1e-5)


def test_the_last_layer_alone_may_be_linear() -> None:
    draw = torch.Generator().manual_seed(0)
    network, all_compete = MLP((5, 40, 30, 3), "winners_linear"), MLP((5, 40, 30, 3), "winners")
    state = {name: torch.randn(shape, generator=draw) for name, shape in network.shapes.items()}
    x = torch.rand(8, 5, generator=draw)
    found, expected = network.forward(state, x), all_compete.forward(state, x)
    assert torch.equal(found.x[-1], found.z[-1])
    assert all(torch.equal(*pair) for pair in zip(found.z, expected.z, strict=True))
    assert all(torch.equal(*pair) for pair in zip(found.x[:-1], expected.x[:-1], strict=True))
    assert network.encoder() == all_compete.encoder()
    assert MLP((5, 3), "winners_linear").encoder() == MLP((5, 3), "winners_linear")


def test_winners_share_one_by_how_far_they_lead_the_first_loser() -> None:
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    leads = winners(order.float() - 7)
    expected = (order - (39 - WINNERS)).clamp(min=0)
    assert int((leads > 0).sum()) == WINNERS
    torch.testing.assert_close(leads, expected / expected.sum(), rtol=1e-5, atol=0)
    torch.testing.assert_close(winners(order.float() + 3), leads)  # what all units share tells nothing
    tied = winners(torch.zeros(2, 40))
    assert torch.equal(tied, torch.zeros(2, 40))


@pytest.mark.parametrize(
    ("sizes", "activation", "message"), [((3,), "relu", "sizes"), ((3, 0), "relu", "sizes"), ((3, 2), "rleu", "rleu")]
)
def test_impossible_networks_are_refused(sizes: tuple[int, ...], activation: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(sizes, activation)


def test_a_family_draws_from_all_its_choices_and_its_first_is_fixed() -> None:
    family, draw = MLPs(hidden=((6,), (), (5, 4)), outputs=3, activations=("relu", "step")), torch.Generator()
    draw.manual_seed(0)
    every = {MLP((9, *hidden, 3), activation) for hidden in family.hidden for activation in family.activations}
    assert {family.draw(9, 0, draw) for _ in range(100)} == every
    assert family.first(9, 0) == MLP((9, 6, 3), "relu")
    assert family.first(9, 5) == MLP((9, 6, 5), "relu")
    assert family.draw(9, 5, draw).sizes[-1] == 5
    assert (family.single, family.differentiable, family.competes) == (False, False, False)
    first = MLPs(**family.first_options())
    assert (first.single, first.differentiable) == (True, True)
    assert first.draw(9, 0, draw) == first.first(9, 0) == family.first(9, 0)
    assert MLPs(activations=("winners_linear", "relu")).competes
