"""What an evaluation of rules will take, from short trials before it starts."""

from collections.abc import Sequence

from common.expected import Taken
from evaluation.lineup import Evaluated
from evaluation.protocol import TASKS_AT_ONCE, device_of
from experiment.forecast import trial_cost
from experiment.validation import judged
from tasks.source import TaskSource


def forecast_evaluation(rules: Sequence[Evaluated], source: TaskSource, tasks: int, times: int) -> Taken:
    """What the inner steps of ``rules`` take on ``tasks`` tasks of ``source``, each so many ``times``."""
    together = min(TASKS_AT_ONCE, tasks)
    seconds, peak = 0.0, 0.0
    for one in rules:

        def run(points: range, one: Evaluated = one) -> None:
            judged(one.rule, source, one.use, points=points, tasks=together, seed=0)

        cost = trial_cost(run, device_of(one.rule)).of(one.use.steps, 1)
        seconds, peak = seconds + times * float(cost[0]) * tasks / together, max(peak, float(cost[1]))
    return Taken(seconds, peak)
