"""Scores on fixed one-shot runs, such as Omniglot's official ones: the error of any classifier or embedding."""

from collections.abc import Callable, Sequence

from torch import Tensor, cdist

from evaluation.probes import Classify
from evaluation.statistics import Mean, mean_over_tasks
from tasks.task import Episode


def one_shot_error(runs: Sequence[Episode], classify: Classify) -> Mean:
    """The mean error of ``classify`` in percent, with a 95 % interval over ``runs``, which have equally many trials.

    Raises ValueError for answers of another shape than the queries' classes.
    """
    errors = []
    for place, run in enumerate(runs, start=1):
        predicted = classify(run.support_x, run.support_y, run.query_x)
        if predicted.shape != run.query_y.shape:
            raise ValueError(
                f"run {place}: got predictions {list(predicted.shape)}, expected one class for each of "
                f"{len(run.query_y)} queries"
            )
        errors.append(100 * float((predicted != run.query_y).double().mean()))
    return mean_over_tasks(errors)


def nearest_neighbour(embed: Callable[[Tensor], Tensor] = lambda x: x) -> Classify:
    """Gives a query the class of the support example whose embedding [n, E] is nearest; by default that of inputs."""

    def classify(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return support_y[cdist(embed(query_x), embed(support_x)).argmin(1)]

    return classify
