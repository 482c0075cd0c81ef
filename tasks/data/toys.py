"""``toys``: many small data sets of two classes in the plane, the same shape turned and moved in each."""

import numpy as np

from tasks.data.raw import RawData

DATA_SETS = 1000
EXAMPLES = 40
"""Of each class."""

CLASS_NAMES = ("long", "round")


def toys() -> list[RawData]:
    """DATA_SETS data sets, drawn from one seed: float32 points [2 · EXAMPLES, 2].

    Beside a long cloud lies a round one. Each data set is turned by an angle from 0 to 2π and moved by up to 1 along
    each axis: where the classes are differs from one to the next, what tells them apart does not.
    """
    draw = np.random.default_rng(0)
    names = [f"toys/{place:04d}" for place in range(DATA_SETS)]
    return [RawData(name, _points(draw), np.arange(2 * EXAMPLES) // EXAMPLES, CLASS_NAMES) for name in names]


def _points(draw: np.random.Generator) -> np.ndarray:
    """The points of one data set, the long cloud first."""
    clouds = draw.normal(size=(2, EXAMPLES, 2)) * np.array([[[0.15, 0.6]], [[0.25, 0.25]]])
    clouds += np.array([[[-0.5, 0.0]], [[0.5, 0.0]]])
    angle, move = draw.uniform(0, 2 * np.pi), draw.uniform(-1, 1, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (clouds.reshape(-1, 2) @ turn.T + move).astype(np.float32)
