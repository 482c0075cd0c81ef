"""The outer loop: from a config to a trained rule, with evaluation, checkpoints and tracking on the way."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from common.provenance import commit
from experiment.configured import first_network, network_choice, objective, rule_use
from experiment.starting_rule import averaged, learn_only, starting_rule
from experiment.task_sources import load_datasets, training_tasks
from experiment.validation import HeldOut
from inner_loop.inner_settings import SETTINGS, InnerSettings
from inner_loop.networks.description import describe_network
from inner_loop.unroll import theta_of
from outer_loop.config.same_experiment import check_same_experiment
from outer_loop.config.schema import Config
from outer_loop.estimators.truncated_backprop import OuterEstimator, TruncatedBackprop
from outer_loop.run.checkpoint import Checkpoints
from outer_loop.run.interruption import Interruption
from outer_loop.run.processes import ALONE, Ranks
from outer_loop.run.progress import Progress
from outer_loop.run.tracking import Tracker
from outer_loop.running_averages import follow, met_by
from outer_loop.schedules import outer_learning_rate, read_weights
from outer_loop.training_state import TrainingState
from outer_loop.trajectories import Slot, Trajectories
from outer_loop.truncation import TruncationSchedule
from update_rules.contract import Rule
from update_rules.registry import make_rule
from update_rules.rule_file import save_rule


class DivergedError(ValueError):
    """More than half of the tasks of an outer step became non-finite."""


def new_run_id() -> str:
    """A name for a tracking run. Not a draw of the experiment, so it comes from the system."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 2**24:06x}"


class Trainer:
    """One meta-training run in ``config.run_dir``.

    With the payload of a ``checkpoint`` it continues from there: the numbers are then those of a run that never stopped
    (same thread count, device and count of ``ranks``). Each of the ranks has its share of the tasks; the first writes.
    Raises ValueError for data or settings that do not fit, naming them.
    """

    def __init__(self, config: Config, checkpoint: Mapping[str, Any] | None = None, ranks: Ranks = ALONE) -> None:
        self.config, self.ranks = config, ranks
        self.commit = commit()
        self.device = ranks.device(config.device)
        tasks = config.outer.tasks_per_step
        if tasks < ranks.count:
            raise ValueError(
                f"got outer.tasks_per_step={tasks} for {ranks.count} processes, expected at least a task for each; set "
                "more tasks or start fewer processes"
            )
        self.run_dir = Path(config.run_dir)
        loaded = load_datasets(
            config, (*config.tasks.sources, *(config.evaluation.training or ()), *config.evaluation.sources)
        )
        self.source = training_tasks(config, loaded)
        schedule = TruncationSchedule(config.inner.unroll, config.inner.length, config.inner.curriculum)
        self.trajectories = Trajectories(
            self.source, network_choice(config), config.tasks.batch, schedule, config.outer.team, self.device
        )
        self.estimator = self.make_estimator(config.inner.recompute is not False, compiled=config.inner.compile)
        self.network = first_network(config, self.source.datasets[0].inputs)
        self.held_out = HeldOut(config, loaded, self.network.sizes[0])
        rule = learn_only(self._rule(checkpoint), config.rule.learn).to(self.device)
        self.state = TrainingState(
            rule=rule,
            optimiser=torch.optim.Adam(rule.parameters(), lr=config.outer.learning_rate, betas=config.outer.betas),
            slots=[],
            generator=torch.Generator().manual_seed(config.seed),
            run_id=new_run_id(),
            average=averaged(rule, config.outer.average),
        )
        if checkpoint is None:
            own = ranks.own(range(tasks))
            self.state.slots = self.trajectories.start(rule, tasks, config.seed, own, config.outer.turns)
        else:
            try:
                check_same_experiment(checkpoint, config, self.source.fingerprint)
                self.state.load_state_dict(checkpoint["state"], self.trajectories, ranks)
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                raise ValueError(
                    f"the checkpoint holds no whole run state ({type(error).__name__}: {error}); take an earlier one"
                ) from None
            if self.state.outer_step > config.outer_steps:
                raise ValueError(
                    f"got outer_steps={config.outer_steps}, but {self.state.outer_step} are done; set more, or another "
                    "run_dir"
                )

    def _rule(self, checkpoint: Mapping[str, Any] | None) -> Rule:
        """The rule before θ is taken over from the ``checkpoint``, or the one that a new run starts with."""
        if checkpoint is None:
            return starting_rule(self.config, self.network)
        try:
            return make_rule(self.config.rule.name, **checkpoint["rule"])
        except (KeyError, TypeError):
            raise ValueError("the checkpoint holds no whole run state (no rule); take an earlier one") from None

    def make_estimator(self, recompute: bool, *, compiled: bool = False) -> OuterEstimator:
        """The config's outer estimator, with each inner step run again in the backward pass or its graph kept."""
        return TruncatedBackprop(objective(self.config).without_averages("batch"), recompute, compiled)

    def run(self, tracker: Tracker, progress: Progress, interruption: Interruption) -> None:
        """Outer steps until ``config.outer_steps`` or an interruption; a checkpoint is saved in either case.

        To be called on every rank; what the others are given as tracker and progress should say nothing.
        Raises DivergedError, after saving the last good state, when more than half of an outer step's tasks are lost.
        """
        config, state = self.config, self.state
        checkpoints = Checkpoints(self.run_dir / "checkpoints", config.keep) if self.ranks.first else None
        saved_at = None
        while state.outer_step < config.outer_steps and not interruption.agreed():
            started = time.perf_counter()
            try:
                metrics = self._outer_step()
            except DivergedError:
                self._save(checkpoints)
                raise
            seconds = time.perf_counter() - started
            step, last = state.outer_step, state.outer_step == config.outer_steps
            if self._evaluated(step):
                metrics |= self._evaluate(tracker, checkpoints)
            tracker.log(step, metrics)
            tracker.log_timing(step, self._timing(seconds, metrics))
            progress.update(step, metrics["meta_loss"], metrics["accuracy"])
            if step % config.checkpoint_every == 0 or last:
                self._save(checkpoints)
                saved_at = step
        if saved_at != state.outer_step:
            self._save(checkpoints)

    def _save(self, checkpoints: Checkpoints | None) -> None:
        """A checkpoint of all ranks, by the first, the only one that has ``checkpoints``."""
        payload = self._payload()
        if checkpoints is not None:
            checkpoints.save(self.state.outer_step, payload)

    def _outer_step(self) -> dict[str, float]:
        """One update of θ. Nothing of the run's state changes when it raises DivergedError."""
        config, state = self.config, self.state
        turn = state.outer_step % config.outer.turns
        streams = [state.generator, *(s for slot in state.slots[turn] for s in (slot.generator, slot.team))]
        before = [stream.get_state() for stream in streams]
        slots = [
            self.trajectories.restart(state.rule, slot, state.outer_step) if slot.finished else slot
            for slot in state.slots[turn]
        ]
        steps = self.trajectories.schedule.draw_piece(state.generator)
        reads = sorted({*range(config.inner.read_every, steps + 1, config.inner.read_every), steps})
        weights = read_weights(config, state.outer_step, len(reads))
        pieces = [slot.piece(reads, self.device, state.rule.consumes, weights) for slot in slots]
        theta = theta_of(state.rule)
        if state.outer_step < config.outer.first_order and "second_order" in theta:
            theta["second_order"] = theta["second_order"][:0]
        estimate = self.estimator.estimate(state.rule, theta, pieces)
        met = met_by(state.rule, [pieces[index] for index, left in enumerate(estimate.states) if left is not None])
        own = [*estimate.update.values(), *met.values()]
        values = torch.cat(
            [
                torch.tensor([estimate.meta_loss, estimate.accuracy], dtype=torch.float64, device=self.device),
                *(value.flatten().double() for value in own),
            ]
        )
        values, kept = self.ranks.mean(values, estimate.kept)
        dropped = config.outer.tasks_per_step - kept
        if dropped > kept:
            for stream, drawn in zip(streams, before, strict=True):
                stream.set_state(drawn)
            raise DivergedError(
                f"outer step {state.outer_step + 1}: {dropped} of {dropped + kept} tasks became non-finite, "
                f"at most half may; in {self.run_dir / 'checkpoints'} delete last.pt, copy an earlier step file to "
                f"that name, and resume with a lower outer.learning_rate (now {config.outer.learning_rate}) or "
                f"outer.clip (now {config.outer.clip})"
            )
        means = [
            mean.view_as(value) for mean, value in zip(values[2:].split([v.numel() for v in own]), own, strict=True)
        ]
        update, averages = means[: len(estimate.update)], means[len(estimate.update) :]
        follow(state.rule, dict(zip(met, averages, strict=True)))
        norm, rate = self._descend(dict(zip(estimate.update, update, strict=True)))
        state.slots[turn] = [
            self._carry(slot, carried, steps) for slot, carried in zip(slots, estimate.states, strict=True)
        ]
        state.outer_step += 1
        clipped = norm > config.outer.clip
        state.clipped_total += clipped
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
            **{f"rule/{name}": value for name, value in state.rule.describe().items()},
        }

    def _carry(self, slot: Slot, carried: dict[str, torch.Tensor] | None, steps: int) -> Slot:
        """The slot with its new state, or with a fresh task where the old one was dropped."""
        if carried is None:
            return self.trajectories.replace(self.state.rule, slot, steps)
        return slot.advanced(carried, steps)

    def _descend(self, update: Mapping[str, Tensor]) -> tuple[float, float]:
        """Clip the update and let Adam descend along it: the update's norm before clipping, and the rate used."""
        state = self.state
        for name, value in update.items():
            parameter = state.rule.get_parameter(name)
            parameter.grad = value.to(parameter.dtype)
        norm = float(torch.nn.utils.clip_grad_norm_(state.rule.parameters(), self.config.outer.clip))
        rate = outer_learning_rate(self.config, state.outer_step + 1)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.optimiser.step()
        if state.average is not None:
            state.average.update_parameters(state.rule)
        return norm, rate

    def _evaluated(self, outer_step: int) -> bool:
        """Whether the rule is evaluated after ``outer_step``."""
        return outer_step % self.config.evaluation.every == 0 or outer_step == self.config.outer_steps

    def evaluations_left(self) -> int:
        """How many evaluations are yet to come."""
        return sum(map(self._evaluated, range(self.state.outer_step + 1, self.config.outer_steps + 1)))

    def _evaluate(self, tracker: Tracker, checkpoints: Checkpoints | None) -> dict[str, float]:
        """Readout accuracy by inner step on every source, measured by the first rank; the best rule so far is saved."""
        state = self.state
        watched = self.ranks.from_first(lambda: self.held_out.watch(state.judged))
        if watched.fields:
            tracker.log_images(state.outer_step, "receptive_fields", watched.fields)
        if watched.mean > state.best_accuracy:
            state.best_accuracy = watched.mean
            payload = self._payload()
            if checkpoints is not None:
                path = self.run_dir / "rule.safetensors"
                save_rule(path, state.judged, self._rule_header(), self._suits())
                checkpoints.save_best(payload)
                tracker.log_artifact(path, "rule")
        return watched.metrics | {"best_heldout_accuracy": state.best_accuracy}

    def _rule_header(self) -> dict[str, Any]:
        """What a rule file says about where the rule comes from."""
        return {
            "sources": list(self.config.tasks.sources),
            "outer_steps": self.state.outer_step,
            "seed": self.config.seed,
            "heldout_accuracy": self.state.best_accuracy,
            "commit": self.commit,
            "network": json.dumps(describe_network(self.network)),
            "objective": self.config.outer.objective,
            "batch_norm": self.config.network.batch_norm,
        } | ({"started_from": self.config.rule.start} if self.config.rule.start else {})

    def _suits(self) -> dict[str, Any] | None:
        """What a rule file says that its rule is used with: the inner training of the run's report."""
        use = rule_use(self.config, self.config.report.steps, self.source.datasets[0].inputs)
        return {name: getattr(use, name) for name in SETTINGS} if isinstance(use, InnerSettings) else None

    def _payload(self) -> dict[str, Any]:
        """A checkpoint: the whole state, and what it takes to check that a resumed run is the same experiment."""
        return {
            "state": self.state.state_dict(self.ranks),
            "config": self.config.model_dump(mode="json"),
            "rule": self.state.rule.config,
            "data": self.source.fingerprint,
        }

    def _timing(self, seconds: float, metrics: Mapping[str, float]) -> dict[str, float]:
        """Facts that differ between equal runs."""
        inner = metrics["inner_steps"] * self.config.outer.tasks_per_step
        return {
            "timing/outer_step_s": seconds,
            "throughput/inner_steps_x_tasks_per_s": inner / seconds,
            "memory/rss_mb": psutil.Process().memory_info().rss / 2**20,
        }
