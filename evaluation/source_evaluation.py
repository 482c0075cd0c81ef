"""What a run's report asks of an evaluation: a rule and its cheapest company on one source, with accuracy by step."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.adaptation import Adaptation
from evaluation.baselines.settings import BaselineSettings
from evaluation.comparison import Measured, Progress, compare
from evaluation.evaluation import InnerTraining, read_points
from evaluation.learners import compare_learners, make_learners
from evaluation.methods import METHODS, make_methods
from evaluation.statistics import Mean, mean_over_tasks
from tasks.task import TaskSource
from update_rules.contract import Rule


@dataclass(frozen=True)
class SourceEvaluation:
    """Few-shot accuracies on one source, of the same tasks in the same order everywhere."""

    measured: list[Measured]
    """By method, and within a method by inner step."""

    @property
    def final(self) -> dict[str, Measured]:
        """What was measured after the last inner step, by method."""
        return {found.method: found for found in self.measured}

    @property
    def accuracies(self) -> dict[str, list[float]]:
        """Of each task after the last inner step, by method."""
        return {method: found.accuracies for method, found in self.final.items()}

    @property
    def diverged(self) -> dict[str, int]:
        """How many tasks ended with features that are not finite, by method."""
        return {method: found.diverged for method, found in self.final.items()}

    def curves(self) -> dict[str, dict[int, Mean]]:
        """Mean accuracy with its interval by inner step, for the methods that take inner steps."""
        curves: dict[str, dict[int, Mean]] = {}
        for found in self.measured:
            if found.steps is not None:
                curves.setdefault(found.method, {})[found.steps] = mean_over_tasks(found.accuracies)
        return curves


def evaluate_source(
    rule: Rule,
    source: TaskSource,
    inner: InnerTraining | Adaptation,
    *,
    tasks: int,
    seed: int,
    read_every: int | None = None,
    progress: Progress | None = None,
) -> SourceEvaluation:
    """Few-shot accuracy of every method in METHODS on the same ``tasks`` tasks of ``source``, task by task.

    A rule that learned a start is compared with the learners of ``make_learners`` instead. With ``read_every`` the
    rules are also read at that interval, else before the first and after the last inner step. ``progress`` hears of
    each task once a method.
    """
    points = read_points(inner.steps, read_every or max(1, inner.steps))
    if isinstance(inner, Adaptation):
        learners = make_learners(rule, inner, points, {})
        return SourceEvaluation(
            compare_learners(learners, source, shots=source.shots, tasks=tasks, seed=seed, progress=progress)
        )
    methods = make_methods(METHODS, inner, BaselineSettings(), rule, points)
    return SourceEvaluation(compare(methods, source, shots=[source.shots], tasks=tasks, seed=seed, progress=progress))


def evaluate(
    rule: Rule,
    sources: Mapping[str, TaskSource],
    inner: InnerTraining | Adaptation,
    *,
    tasks: int,
    seed: int,
    read_every: int | None = None,
    progress: Progress | None = None,
) -> dict[str, SourceEvaluation]:
    """``evaluate_source`` on each of ``sources``, by name."""
    return {
        name: evaluate_source(rule, source, inner, tasks=tasks, seed=seed, read_every=read_every, progress=progress)
        for name, source in sources.items()
    }
