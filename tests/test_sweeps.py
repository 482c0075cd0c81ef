"""Sweeps: what they vary, and how lines are drawn from their results."""

import pytest

from evaluation.protocol import Use
from evaluation.results import summarise
from evaluation.sweeps import SWEEPS, vary
from experiment.report.sweep_plot import line_figure, sweep_lines
from inner_loop.networks.conv4 import Conv4s
from inner_loop.networks.mlp import MLPs

USE = Use(MLPs(((10, 7),), outputs=4), steps=20, batch=8)


def network(name: str, value: str) -> MLPs:
    """The base networks at the only ``value`` of the sweep ``name``."""
    (one,) = vary(name, [value], USE, 14, True)
    assert isinstance(one.inner.network, MLPs)
    assert (one.inner.steps, one.inner.batch, one.size, one.permute) == (20, 8, 14, True)
    return one.inner.network


def record(method: str, accuracies: list[float], setting: dict[str, object], shots: int = 5) -> dict[str, object]:
    return {
        "method": method,
        "source": "d",
        "seed": 0,
        "ways": 3,
        "shots": shots,
        "queries": 2,
        "size": 8,
        "permute": True,
        "data": ["f"],
        "drawn": f"drawn {shots} {'' if 'steps' in setting else setting}",
        "readout": "ridge",
        "setting": setting,
        "diverged": 0,
        "accuracies": accuracies,
    }


@pytest.mark.parametrize("name", list(SWEEPS))
def test_the_usual_range_of_every_sweep_can_be_read(name: str) -> None:
    found = vary(name, [], USE, 14, True)
    assert len(found) == (1 if name == "steps" else len(SWEEPS[name][2].split()))
    assert all(one.setting == {} if name == "steps" else list(one.setting) == [name] for one in found)


def test_each_sweep_varies_what_it_says() -> None:
    assert [network("width", value).hidden for value in ("0.5", "2")] == [((5, 4),), ((20, 14),)]
    assert [network("depth", value).hidden for value in ("1", "3")] == [((),), ((10, 10),)]
    assert network("activation", "step") == MLPs(((10, 7),), 4, ("step",))
    assert [one.permute for one in vary("permute", ["on", "off"], USE, 14, True)] == [True, False]
    assert vary("steps", ["0.5", "5"], USE, 14, True)[0].points == (0, 10, 100)
    assert vary("batch", ["16"], USE, 14, True)[0].inner.batch == 16
    assert vary("size", ["8"], USE, 14, True)[0].size == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", "0"), ("width", "x"), ("depth", "0"), ("activation", "sin"), ("permute", "yes"), ("batch", "1.5")],
)
def test_wrong_values_are_one_clear_line(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"got values {value} for a sweep of {name}, expected"):
        vary(name, [value], USE, 14, True)
    with pytest.raises(ValueError, match="got no hidden units for a sweep of depth"):
        vary("depth", ["2"], Use(MLPs(((),))), 14, True)


@pytest.mark.parametrize("name", ["width", "depth", "activation"])
def test_other_networks_than_dense_ones_are_not_varied(name: str) -> None:
    with pytest.raises(ValueError, match=f"got a network of convolutional layers for a sweep of {name}, exp"):
        vary(name, [], Use(Conv4s()), 14, True)


def test_lines_hold_the_means_at_every_setting_and_constants_are_dashed() -> None:
    per_task = [record("rule", [0.1 * k, 0.3 * k], {"steps": k}) for k in (1, 2)]
    per_task += [record("raw", [0.4, 0.6], {}), record("rule", [0.9, 0.9], {"steps": 1}, shots=9)]
    results = summarise(per_task, {})  # type: ignore[arg-type]
    name, lines = sweep_lines(results)
    assert name == "steps"
    assert {key: round(mean.value, 9) for key, mean in lines["d"]["rule"].items()} == {1: 0.2, 2: 0.4}
    assert lines["d"]["raw"][None].value == 0.5
    axis = line_figure(*sweep_lines(results)).axes[0]
    assert axis.lines[-1].get_linestyle() == "--"
    by_name = {"d": {"rule": {"relu": lines["d"]["raw"][None], "tanh": lines["d"]["raw"][None]}}}
    ticks = line_figure("activation", by_name).axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["relu", "tanh"]
    with pytest.raises(ValueError, match="got results that vary nothing"):
        sweep_lines(summarise([record("raw", [0.4, 0.6], {})], {}))  # type: ignore[list-item]
