"""The outer loop: it is given its parts, takes outer steps, and saves, validates and follows a run on the way."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from outer_loop.config.schema import Config
from outer_loop.diverged import DivergedError, diverged
from outer_loop.estimators.contract import Estimate, Estimator
from outer_loop.learning_signal import LearningSignal
from outer_loop.run.checkpoint import Checkpoints
from outer_loop.run.interruption import Interruption, StoppedError
from outer_loop.run.metric_names import BEST, CHOSEN_BY, read_rows
from outer_loop.run.processes import ALONE, Ranks
from outer_loop.run.progress import OuterProgress
from outer_loop.run.tracking import Tracker
from outer_loop.running_averages import follow, met_by
from outer_loop.schedules import outer_learning_rate, read_weights
from outer_loop.training_state import TrainingState
from outer_loop.trajectories import Trajectories
from update_rules.contract import Rule
from update_rules.rule_file import BEST_FILE, LAST_FILE, save_rule


class Validation(NamedTuple):
    """What one validation finds."""

    metrics: dict[str, float]
    """Accuracies, with the keys of ``metrics.jsonl``."""
    mean: float
    """That over the validation sources by which the best rule is chosen."""
    pictures: dict[str, NDArray[np.uint8]]
    """What units look for before and after training, by caption, where there is something to show."""


class Validator(Protocol):
    """Judges a rule in training on data that it does not train on."""

    @property
    def fingerprint(self) -> str:
        """The same for the same data, whatever they are called."""
        ...

    def validate(self, rule: Rule) -> Validation:
        """The accuracies of ``rule``. Pure."""
        ...


@dataclass
class Parts:
    """What a Trainer is given. ``experiment.build`` makes them from a config; anybody may make others."""

    rule: Rule
    estimator: Estimator
    trajectories: Trajectories
    optimiser: torch.optim.Optimizer
    """Over the parameters of ``rule``."""
    validator: Validator
    header: Mapping[str, Any]
    """What a file of the rule says about where it comes from, besides what the run adds."""
    use: Mapping[str, Any] | None = None
    """What a file of the rule says that it is used with."""


class Trainer:
    """One meta-training run of ``parts`` in ``config.run_dir``. Each of the ``ranks`` has its share of the tasks.

    With the ``saved`` state of a checkpoint it continues from there: the numbers are those of a run that never stopped
    (same thread count, device and count of ranks). Raises ValueError, naming them, for settings that do not fit.
    """

    def __init__(
        self, config: Config, parts: Parts, ranks: Ranks = ALONE, saved: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.parts, self.ranks = config, parts, ranks
        self.run_dir = Path(config.run_dir)
        tasks, rule = config.outer.tasks_per_step, parts.rule
        if tasks < ranks.count:
            raise ValueError(
                f"got outer.tasks_per_step={tasks} for {ranks.count} processes, expected at least a task for each; set "
                "more tasks or start fewer processes"
            )
        self._signal = LearningSignal(rule.name, say=ranks.first)
        decay = config.outer.average
        self.state = TrainingState(
            rule=rule,
            optimiser=parts.optimiser,
            trajectories=[],
            generator=torch.Generator().manual_seed(config.seed),
            run_id=f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 2**24:06x}",  # no draw of the experiment
            average=AveragedModel(rule, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None,
        )
        if saved is None:
            own, turns = ranks.own(range(tasks)), config.outer.turns
            self.state.trajectories = parts.trajectories.start(rule, tasks, config.seed, own, turns)
            return
        self.state.load_state_dict(dict(saved), parts.trajectories, ranks)
        if self.state.outer_step > config.outer_steps:
            done = self.state.outer_step
            raise ValueError(f"got outer_steps={config.outer_steps}, but {done} are done; set more, or another run_dir")

    def run(self, tracker: Tracker, progress: OuterProgress, interruption: Interruption) -> None:
        """Outer steps, on every rank, until ``config.outer_steps`` or an interruption; a checkpoint is saved then.

        Raises DivergedError, after saving the last good state, when more than half of an outer step's tasks are lost.
        """
        config, state = self.config, self.state
        checkpoints = Checkpoints(self.run_dir / "checkpoints", config.keep) if self.ranks.first else None
        saved_at = None
        if state.outer_step == 0 and state.best_accuracy == -math.inf:
            metrics = self._judge(tracker, progress, interruption, checkpoints)
            if metrics is not None:
                tracker.log(0, metrics)
        while state.pending is not None or (state.outer_step < config.outer_steps and not interruption.agreed()):
            if state.pending is None:
                try:
                    self._timed_step(tracker)
                except DivergedError:
                    self._save(checkpoints)
                    raise
            step, metrics = state.outer_step, dict(state.pending or {})
            if config.evaluated_after(step):
                found = self._judge(tracker, progress, interruption, checkpoints)
                if found is None:
                    break  # what the step measured stays pending
                metrics |= found
            state.pending = None
            tracker.log(step, metrics)
            progress.update(step, metrics["meta_loss"], metrics["accuracy"])
            if step % config.checkpoint_every == 0 or step == config.outer_steps:
                self._save(checkpoints)
                saved_at = step
        if saved_at != state.outer_step:
            self._save(checkpoints)

    def _timed_step(self, tracker: Tracker) -> None:
        """One outer step, whose figures are pending, and what it took."""
        started = time.perf_counter()
        self.state.pending = metrics = self.step()
        seconds = time.perf_counter() - started
        steps = metrics["inner_steps"] * self.config.outer.tasks_per_step
        timing = {"timing/outer_step_s": seconds, "throughput/inner_steps_x_tasks_per_s": steps / seconds}
        timing["memory/rss_mb"] = psutil.Process().memory_info().rss / 2**20
        tracker.log(self.state.outer_step, timing, timing=True)

    def _save(self, checkpoints: Checkpoints | None) -> None:
        """A checkpoint of all ranks, by the first, the only one that has ``checkpoints``."""
        payload = self._payload()
        if checkpoints is not None:
            checkpoints.save(self.state.outer_step, payload)

    def step(self) -> dict[str, float]:
        """One outer step: θ is updated, trajectories go on, and what was measured is returned.

        Raises DivergedError where more than half of the tasks are lost; nothing of the run's state changes then.
        """
        config, state, parts = self.config, self.state, self.parts
        turn = state.outer_step % config.outer.turns
        streams = [state.generator, *(s for one in state.trajectories[turn] for s in (one.generator, one.team))]
        before = [stream.get_state() for stream in streams]
        running = [
            parts.trajectories.restart(state.rule, one, state.outer_step) if one.finished else one
            for one in state.trajectories[turn]
        ]
        steps = parts.trajectories.schedule.draw_unroll(state.generator)
        reads = sorted({*range(config.inner.read_every, steps + 1, config.inner.read_every), steps})
        weights = read_weights(config, state.outer_step, len(reads))
        device, policy = parts.trajectories.device, parts.trajectories.normalisation
        unrolls = [one.unroll(reads, device, state.rule.consumes, weights, policy) for one in running]
        theta = state.rule.theta_at(state.outer_step)
        estimate = parts.estimator.estimate(state.rule, theta, unrolls, state.memory)
        met = met_by(state.rule, unrolls, [i for i, left in enumerate(estimate.carried) if left is not None])
        values, own, kept = self._mean_over_ranks(estimate, met)
        dropped = config.outer.tasks_per_step - kept
        if dropped > kept:
            for stream, drawn in zip(streams, before, strict=True):
                stream.set_state(drawn)
            gradient = parts.estimator.needs_gradient
            raise DivergedError(diverged(config, state.outer_step, f"{dropped} of {dropped + kept}", gradient=gradient))
        if parts.estimator.needs_gradient:
            self._signal.check(state.outer_step, {name: own[name] for name in estimate.direction})
        follow(state.rule, {name: own[f"met/{name}"] for name in met})
        state.memory = {name: own[f"memory/{name}"].to(value.dtype) for name, value in estimate.memory.items()}
        norm, rate = self._descend({name: own[name] for name in estimate.direction})
        state.trajectories[turn] = [
            parts.trajectories.replace(state.rule, one, steps) if left is None else one.advanced(left, steps)
            for one, left in zip(running, estimate.carried, strict=True)
        ]
        state.outer_step += 1
        described = state.rule.describe()  # a rule of one's own may leave numbers in tensors
        state.clipped_total += norm > config.outer.clip
        state.dropped_total += dropped
        return {
            "meta_loss": float(values[0]),
            "accuracy": float(values[1]),
            "gradient_norm": norm,
            "clipped_share": state.clipped_total / state.outer_step,
            "dropped_tasks": dropped,
            "dropped_tasks_total": state.dropped_total,
            "learning_rate": rate,
            "inner_steps": steps,
            **{f"rule/{name}": one.item() if isinstance(one, Tensor) else one for name, one in described.items()},
        }

    def _mean_over_ranks(self, estimate: Estimate, met: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], int]:
        """Loss and accuracy [2], directions, memory and what was ``met``, means over all ranks, and the tasks kept."""
        own = {**estimate.direction, **{f"met/{name}": value for name, value in met.items()}}
        own |= {f"memory/{name}": value for name, value in estimate.memory.items()}
        figures = torch.tensor(
            [estimate.meta_loss, estimate.accuracy], dtype=torch.float64, device=self.parts.trajectories.device
        )
        flat = [figures, *(value.flatten().to(figures) for value in own.values())]
        values, kept = self.ranks.mean(torch.cat(flat), estimate.kept)
        means = values[2:].split([value.numel() for value in own.values()])
        shaped = {name: mean.view_as(own[name]) for name, mean in zip(own, means, strict=True)}
        return values[:2], shaped, kept

    def _descend(self, direction: Mapping[str, Tensor]) -> tuple[float, float]:
        """Clip the direction and descend along it, unless θ is chosen: its norm before clipping, and the rate used."""
        state = self.state
        for name, value in direction.items():
            parameter = state.rule.get_parameter(name)
            parameter.grad = value.to(parameter.dtype)
        norm = float(torch.nn.utils.clip_grad_norm_(state.rule.parameters(), self.config.outer.clip))
        rate = outer_learning_rate(self.config, state.outer_step + 1)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.optimiser.step()
        with torch.no_grad():
            for name, value in (self.parts.estimator.chosen(state.rule, state.memory) or {}).items():
                state.rule.get_parameter(name).copy_(value)
        if state.average is not None:
            state.average.update_parameters(state.rule)
        return norm, rate

    def validations_left(self) -> int:
        """How many validations are yet to come, that at the start among them."""
        done = self.state.outer_step + (self.state.best_accuracy > -math.inf or self.state.outer_step > 0)
        return sum(map(self.config.evaluated_after, range(done, self.config.outer_steps + 1)))

    def _judge(
        self, tracker: Tracker, progress: OuterProgress, interruption: Interruption, checkpoints: Checkpoints | None
    ) -> dict[str, float] | None:
        """What a validation finds now, shown, for ``metrics.jsonl``; None where it was broken off."""
        try:
            with interruption.at_once():
                found = self.ranks.from_first(lambda: self.parts.validator.validate(self.state.judged))
        except StoppedError:
            return None
        metrics = self._follow(found, tracker, checkpoints)
        progress.validated(self.state.outer_step, metrics)
        return metrics

    def _follow(self, found: Validation, tracker: Tracker, checkpoints: Checkpoints | None) -> dict[str, float]:
        """What validation ``found``, for ``metrics.jsonl``; the rule is saved, and as the best if it is."""
        state = self.state
        if rows := read_rows(found.metrics):
            columns = ("kind", "source", "labels", "probe", "accuracy")
            tracker.log_table(state.outer_step, "meta_validation/table", columns, rows)
        if found.pictures:
            tracker.log_images(state.outer_step, "meta_validation/receptive_fields", found.pictures)
        better = found.mean > state.best_accuracy
        state.best_accuracy = max(found.mean, state.best_accuracy)
        payload = self._payload() if better else {}
        if checkpoints is not None:
            header = {**self.parts.header, "outer_steps": state.outer_step, "valid_accuracy": found.mean}
            for name in (LAST_FILE, BEST_FILE)[: 1 + better]:
                save_rule(self.run_dir / name, state.judged, header, self.parts.use)
            if better:
                checkpoints.save_best(payload)
                tracker.log_artifact(self.run_dir / BEST_FILE, "rule")
        return found.metrics | {CHOSEN_BY: found.mean, BEST: state.best_accuracy}

    def _payload(self) -> dict[str, Any]:
        """A checkpoint: the whole state, and what it takes to check that a resumed run is the same experiment."""
        return {
            "state": self.state.state_dict(self.ranks),
            "config": self.config.model_dump(mode="json"),
            "rule": self.state.rule.config,
            "data": self.parts.trajectories.source.fingerprint,
            "validation": self.parts.validator.fingerprint,
            "lineage": self.parts.header.get("lineage", ""),
        }
