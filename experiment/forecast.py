"""What a run will take, from short trials before it starts: seconds, and memory at its peak.

Seconds and bytes of an outer step are close to linear in inner steps, in readouts and in tasks of equal shape, so that
trials of one to three inner steps of one and four tasks tell what the whole will take.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from common.expected import MB, REPEATS, duration, memory_of, take
from evaluation.protocol import TASKS_AT_ONCE, Use, read_points
from experiment.run_report import READS
from experiment.validation import SourceValidator, judged
from inner_loop.unroll import theta_of
from outer_loop.config.schema import Config
from outer_loop.estimators.contract import Estimator
from outer_loop.learning_signal import LearningSignal
from outer_loop.trainer import Trainer
from outer_loop.trajectories import Shape, Trajectories, Trajectory, problem_of
from tasks.source import TaskSource
from update_rules.contract import Rule

SIMULATED = 64
"""Outer steps whose base networks are drawn to see how tasks fall into groups of equal shape."""

TRIED = 3
"""At most so many shapes are tried; what the others take is interpolated by the examples times units they hold."""

SHORT = 25
"""In runs of fewer outer steps only the largest shape is tried, and once: more would take as long as the run."""

TOGETHER = 4
"""Tasks in the larger trials."""

KEPT_SHARE = 0.5
"""Graphs are kept where that takes at most this share of the memory there is."""

TRIALS = (range(1, 2), range(3, 4), range(2, 4))
"""Read points of the trials, one inner step or three: what starts, what each step and what each readout adds."""

Pair = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes, [2] each: of one inner step and readout, and what a further step or readout adds."""

    first: Pair
    step: Pair
    readout: Pair

    def of(self, steps: float, readouts: float) -> Pair:
        """[2]: seconds and bytes of ``steps`` inner steps with ``readouts`` readouts."""
        return np.maximum(0, self.first + (steps - 1) * self.step + (readouts - 1) * self.readout)


@dataclass(frozen=True)
class Forecast:
    """What to expect of a run."""

    outer_step_s: float
    outer_steps: int
    evaluations_s: float  # all evaluations on the way
    report_s: float
    peak_bytes: float
    available_bytes: float  # what this process may take, with what it holds already
    recompute: bool  # whether inner steps are to run again in the backward pass

    @property
    def total_s(self) -> float:
        """Seconds of the whole run."""
        return self.outer_step_s * self.outer_steps + self.evaluations_s + self.report_s

    def lines(self) -> list[str]:
        """The forecast in words."""
        graphs = "each inner step runs again in the backward pass" if self.recompute else "graphs are kept"
        return [
            f"expected: {self.outer_step_s:.2f} s an outer step, {duration(self.total_s)} in all ("
            f"{duration(self.outer_step_s * self.outer_steps)} for {self.outer_steps} outer steps, "
            f"{duration(self.evaluations_s)} for evaluations, {duration(self.report_s)} for the report)",
            f"expected: {self.peak_bytes / MB:,.0f} MB at the peak, "
            f"{self.available_bytes / MB:,.0f} MB available; {graphs}",
        ]


class Trials:
    """Short runs of a rule on made-up trajectories, and what they took. The run itself is left alone."""

    def __init__(self, config: Config, rule: Rule, trajectories: Trajectories) -> None:
        self.config, self.rule, self.trajectories = config, rule, trajectories
        self.device, self.repeats = trajectories.device, REPEATS if config.outer_steps >= SHORT else 1

    def outer_step(self, estimator: Estimator, shape: Shape, tasks: int) -> Cost:
        """An estimate from ``tasks`` tasks of one shape."""
        generator = torch.Generator().manual_seed(self.config.seed)
        theta, policy = theta_of(self.rule), self.trajectories.normalisation
        task = self.trajectories.source.draw(generator, shape.task)
        start = self.rule.init_state(problem_of(task, shape.network, policy), generator)
        state = {name: value.to(self.device) for name, value in start.items()}
        carried = estimator.start(self.rule, theta, state, generator)
        trajectory = Trajectory(task, shape, carried, 0, 1, generator, generator)

        def run(points: range) -> None:
            one = trajectory.unroll(points, self.device, self.rule.consumes, normalisation=policy)
            found = estimator.estimate(self.rule, theta, [one] * tasks, {})
            if estimator.needs_gradient and found.kept:
                LearningSignal(self.rule.name).check(0, found.direction)  # before anything is written

        return self._cost(run)

    def evaluation(
        self, source: TaskSource, inner: Use, tasks: int, shots: Sequence[int] = (), probes: Sequence[str] = ()
    ) -> Cost:
        """Use of the rule on ``tasks`` tasks without gradients, read out few-shot, at last by all ``probes``."""

        def run(points: range) -> None:
            how = {"tasks": tasks, "seed": self.config.seed}
            judged(self.rule, source, inner, points=points, shots=shots, probes=probes, **how)

        return self._cost(run)

    def _cost(self, run: Callable[[range], None]) -> Cost:
        return trial_cost(run, self.device, self.repeats)


def trial_cost(run: Callable[[range], None], device: torch.device, repeats: int = REPEATS) -> Cost:
    """What ``run`` of read points takes on ``device``, from TRIALS of it."""
    first, longer, read = (np.array(take(partial(run, points), device, repeats)) for points in TRIALS)
    return Cost(first, (longer - first) / (TRIALS[1][-1] - TRIALS[0][-1]), read - longer)


class OuterStepCost:
    """What the estimates of ``simulated`` outer steps take, from trials of at most ``TRIED`` shapes of task."""

    def __init__(self, trials: Trials, estimator: Estimator, simulated: Sequence[Counter[Shape]]) -> None:
        self.simulated = simulated
        ordered = sorted(
            {_held(shape): shape for step in simulated for shape in step}.items(), key=lambda pair: pair[0]
        )
        places = np.linspace(len(ordered) - 1, 0, TRIED if trials.config.outer_steps >= SHORT else 1)
        tried = [ordered[int(place)] for place in sorted(set(places.round()))]
        self.held = [held for held, _ in tried]
        together = min(TOGETHER, max(max(step.values()) for step in simulated))
        self.more = max(1, together - 1)
        self.costs = [[trials.outer_step(estimator, shape, count) for count in (1, together)] for _, shape in tried]

    def of(self, shape: Shape, tasks: int, steps: float, readouts: float) -> Pair:
        """Seconds and bytes of ``tasks`` tasks of ``shape``."""
        found = []
        for one, several in self.costs:
            alone = one.of(steps, readouts)
            found.append(alone + (tasks - 1) * (several.of(steps, readouts) - alone) / self.more)
        held = _held(shape)
        return np.array([np.interp(held, self.held, column) for column in np.array(found).T])

    def groups(self, steps: float, readouts: float) -> Pair:
        """[G, 2]: seconds and bytes of every group of tasks in the simulated outer steps."""
        return np.array([self.of(shape, n, steps, readouts) for step in self.simulated for shape, n in step.items()])


def forecast_run(trainer: Trainer) -> Forecast:
    """What the rest of the run will take, from some seconds of trials; the estimator is set to keep graphs or not.

    Raises ValueError, with the numbers and what to change, where memory will not do.
    """
    config, settings, report = trainer.config, trainer.config.evaluation, trainer.config.report
    trajectories, estimator = trainer.parts.trajectories, trainer.parts.estimator
    validator = cast(SourceValidator, trainer.parts.validator)
    device = trajectories.device
    held, available = memory_of(device, trainer.ranks.sharing(device))
    trials = Trials(config, trainer.state.rule, trajectories)
    simulated = _simulate(trainer)
    lengths = range(config.inner.unroll[0], config.inner.unroll[1] + 1)
    readouts = [ceil(steps / config.inner.read_every) for steps in lengths]
    for recompute in (False, True) if config.inner.recompute == "auto" else (config.inner.recompute,):
        estimator.recompute = recompute
        compiled, estimator.compiled = estimator.compiled, False  # which would take minutes
        cost = OuterStepCost(trials, estimator, simulated)
        estimator.compiled = compiled
        peak = held + float(cost.groups(lengths[-1], readouts[-1])[:, 1].max())
        if peak <= KEPT_SHARE * available:
            break

    counts = [validator.tasks[kind] for kind, _ in validator.sources]
    together = min(TASKS_AT_ONCE, max(*counts, report.tasks))
    source = next(iter(validator.sources.values()))
    evaluation = trials.evaluation(source, validator.use, together, validator.shots, validator.probes)
    once = evaluation.of(settings.steps, len(read_points(settings.steps, settings.read_every)))[0]
    reported = trials.evaluation(source, validator.use, together) if report.sources else evaluation
    in_report = reported.of(config.report_steps, READS + 1)[0] + reported.readout[0]  # of raw inputs or of components
    seconds = cost.groups(float(np.mean(lengths)), float(np.mean(readouts)))[:, 0]
    forecast = Forecast(
        outer_step_s=float(seconds.sum()) / len(simulated),
        outer_steps=config.outer_steps - trainer.state.outer_step,
        evaluations_s=trainer.validations_left() * sum(counts) / together * once,
        report_s=2 * len(report.sources) * report.tasks / together * in_report,
        peak_bytes=max(peak, held + evaluation.of(1, 1)[1]),
        available_bytes=available,
        recompute=recompute,
    )
    if forecast.peak_bytes > available:
        spare = "" if recompute else "inner.recompute=true, "
        raise ValueError(
            f"the run would take {forecast.peak_bytes / MB:,.0f} MB at its peak, but there are {available / MB:,.0f} "
            f"MB; set {spare}a lower outer.tasks_per_step (now {config.outer.tasks_per_step}), tasks.batch (now "
            f"{config.tasks.batch}) or evaluation.tasks (now {max(counts)}), or a smaller network"
        )
    return forecast


def _simulate(trainer: Trainer) -> list[Counter[Shape]]:
    """The shapes of the tasks in some outer steps, with how many tasks have each."""
    config, trajectories = trainer.config, trainer.parts.trajectories
    generator = torch.Generator().manual_seed(config.seed)
    tasks = len(trainer.state.trajectories[0])
    simulated = []
    for _ in range(min(SIMULATED, config.outer_steps)):
        shapes: Counter[Shape] = Counter()
        for start in range(0, tasks, trajectories.team):
            shapes[trajectories.draw_shape(generator)] += min(trajectories.team, tasks - start)
        simulated.append(shapes)
    return simulated


def _held(shape: Shape) -> int:
    """Examples times units of a base network, or pairs of a whole set: what an inner step computes grows with it."""
    if shape.task.points:
        return shape.task.points**2
    return shape.batch * (sum(shape.network.sizes) if shape.network else shape.task.inputs)
