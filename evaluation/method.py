"""What a comparison asks of a method: features of a task's examples, learned from what the task allows it to see."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor

from evaluation.paired_tasks import PairedTask
from tasks.task import Episode

Embed = Callable[[Tensor], Tensor]
"""Examples of one task [n, D] give features [n, N], each on its own."""


class Method:
    """A way to features. Its ``fit`` is pure: randomness comes from the tasks' own generators alone."""

    uses_labels: ClassVar[bool] = False
    """Whether ``fit`` looks at the support sets, and must be called anew where these change."""

    @property
    def reads(self) -> tuple[int | None, ...]:
        """The inner steps after which features are read out; None for a method that does not count steps."""
        return (None,)

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Embed]]:
        """For each of ``reads`` an embedding for each of ``tasks``, which have inputs of equal width.

        ``episodes``, one a task, have support sets of equal size. Only a method with ``uses_labels`` may look at them,
        and no method at their queries.
        """
        raise NotImplementedError
