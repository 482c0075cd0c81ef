"""First-layer receptive fields: what a rule does to the weights from the pixels, as pictures."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.evaluation import InnerTraining, train_task
from evaluation.paired_tasks import PairedTask
from update_rules.contract import Rule

Fields = tuple[NDArray[np.float32], NDArray[np.float32]]
"""First-layer weights [N, H, W] before and after training."""


def receptive_fields(rule: Rule, task: PairedTask, inner: InnerTraining) -> Fields | None:
    """The first layer's weights before and after ``inner.steps`` inner steps, [N_1, H, W] each; None if not images.

    The task's input permutation is undone, so that pixels lie where they are seen. Colours are averaged.
    """
    shape = task.task.dataset.image_shape
    if shape is None:
        return None
    place = torch.argsort(task.task.permutation)
    states = train_task(rule, task, inner, [0, inner.steps])
    before, after = (state["w1"][place].T.reshape(-1, *shape).numpy() for state in states)
    return (before, after) if len(shape) == 2 else (before.mean(-1), after.mean(-1))


def montage(fields: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One grey picture, uint8 [H, W], of ``fields`` [N, H, W], each scaled to its own largest weight; 0 is mid-grey."""
    count, height, width = fields.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), 255, np.uint8)
    for index, field in enumerate(fields):
        row, column = divmod(index, columns)
        scaled = field / max(float(np.abs(field).max()), 1e-12)
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + height, left : left + width] = np.round(127.5 * (1 + scaled)).astype(np.uint8)
    return canvas
