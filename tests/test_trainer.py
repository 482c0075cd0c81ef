"""The Trainer and its run: what it leaves behind, that it resumes to the bit, and how it stops."""

import math
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from runs import (
    REPORT,
    Arguments,
    assert_same_run,
    command,
    kill_after,
    last_state,
    lines,
    theta,
    trainer_of,
    wait_for_lines,
)

from experiment.build import build_trainer
from experiment.run_report import report_sources
from inner_loop.networks.mlp import MLPs
from outer_loop.config.file import load_config, made_by
from outer_loop.config.schema import Config
from outer_loop.diverged import DivergedError
from outer_loop.estimators.contract import Estimate, Memory, TruncatedUnroll
from outer_loop.estimators.truncated_backprop import TruncatedBackprop
from outer_loop.run.checkpoint import load_checkpoint, save_checkpoint
from outer_loop.run.interruption import Interruption
from outer_loop.run.lock import run_lock
from outer_loop.run.processes import ALONE
from outer_loop.schedules import outer_learning_rate
from outer_loop.trainer import Parts, Trainer, Validation
from outer_loop.trajectories import Trajectories
from outer_loop.truncation import TruncationSchedule
from tasks.dataset import Dataset
from tasks.source import TaskSource
from unsupervised_update_rules.commands import meta_train
from update_rules.contract import Rule, Theta
from update_rules.local.hebbian import Hebbian
from update_rules.local.neuron_local import NeuronLocal
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule, read_header


def test_a_run_leaves_its_files_and_a_theta_that_moved(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    run = tmp_path / "run"
    logged = lines(run)
    assert [line["outer_step"] for line in logged] == [1, 2, 3, 4, 5, 6]
    rates = [5e-4, 1e-3, *(1e-4 + 9e-4 * (1 + math.cos(math.pi * step / 4)) / 2 for step in (1, 2, 3, 4))]
    assert [line["learning_rate"] for line in logged] == pytest.approx(rates)
    assert {line["inner_steps"] for line in logged} == {2, 3}
    for line in logged:
        readouts = 4 * 3 * 3 * (line["inner_steps"] - 1)  # tasks, ways and queries; after 2 steps, and after 3
        assert line["accuracy"] * readouts == pytest.approx(round(line["accuracy"] * readouts), abs=1e-4)
        assert 0 < line["meta_loss"] < 4  # the squared distance of two vectors of norm 1, and a small penalty
        assert line["gradient_norm"] > 0
        assert line["dropped_tasks"] == line["dropped_tasks_total"] == 0
    clipped = [line["gradient_norm"] > 0.1 for line in logged]
    assert [line["clipped_share"] for line in logged] == [sum(clipped[:n]) / n for n in range(1, 7)]
    judged = [line["valid/digits/accuracy@4"] for line in logged if "valid/digits/accuracy@4" in line]
    assert [("valid/digits/accuracy@4" in line) for line in logged] == [False, False, True, False, False, True]
    assert logged[-1]["best_valid_accuracy"] == max(judged)
    assert "rule/rate" in logged[0]
    header = read_header(run / "rule.safetensors")
    assert header.rule == "neuron_local"
    assert header.use == {
        "network": {"name": "mlp", "options": {"hidden": [[6]], "outputs": 4, "activations": ["relu"]}},
        "steps": 4,
        "batch": 16,
        "normalisation": "unlabelled",
        "readout": {"name": "ridge", "options": {}},
    }
    assert float(header.provenance["valid_accuracy"]) == max(judged)
    assert header.provenance["sources"] == '["digits"]'
    start_of_it = NeuronLocal(**load_rule(run / "rule.safetensors").config).state_dict()
    assert any(not torch.equal(value, start_of_it[name]) for name, value in theta(run).items())
    last = read_header(run / "rule_last.safetensors").provenance
    assert (last["outer_steps"], float(last["valid_accuracy"])) == ("6", judged[-1])
    for name, value in load_rule(run / "rule_last.safetensors").state_dict().items():
        assert torch.equal(value, theta(run)[name]), name  # whichever was best
    for name in ("config.yaml", "timing.jsonl", "checkpoints/last.pt", "checkpoints/best.pt"):
        assert (run / name).stat().st_size > 0


def test_equal_seeds_give_equal_runs_and_others_do_not(tiny_config: Arguments, tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        assert meta_train.main(tiny_config(name, f"seed={seed}")) == 0
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert lines(tmp_path / "one")[0]["meta_loss"] != lines(tmp_path / "three")[0]["meta_loss"]


@pytest.mark.parametrize(
    "stop", [pytest.param(1, marks=pytest.mark.thorough), 4, pytest.param(5, marks=pytest.mark.thorough)]
)
def test_killed_and_resumed_equals_never_stopped(stop: int, tiny_config: Arguments, tmp_path: Path) -> None:
    """SIGKILL after ``stop`` outer steps (or a little later), before or after a checkpoint, then --resume."""
    steps = "outer_steps=8"
    kill_after(tmp_path / "killed", stop, command("meta_train", tiny_config("killed", steps)), 8)
    assert meta_train.main([*tiny_config("killed", steps), "--resume"]) == 0
    assert meta_train.main(tiny_config("whole", steps)) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize(("name", "code"), [pytest.param("SIGTERM", 143, marks=pytest.mark.thorough), ("SIGINT", 130)])
def test_signals_save_first(name: str, code: int, tiny_config: Arguments, tmp_path: Path) -> None:
    settings = ("outer_steps=2000", "checkpoint_every=5000", "evaluation.every=5000")
    process = command("meta_train", tiny_config("run", *settings))
    wait_for_lines(tmp_path / "run", 2, process)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "--resume" in out
    assert "Traceback" not in err
    saved = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert saved["state"]["outer_step"] == len(lines(tmp_path / "run"))


def test_a_second_interrupt_does_not_wait() -> None:
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_config_of_a_run_says_the_commands_that_made_it(tiny_config: Arguments, tmp_path: Path) -> None:
    assert (
        meta_train.main(tiny_config("run", "rule.options={hidden: 4,\n error_channels: 2, readout_channels: 1}")) == 0
    )
    assert meta_train.main([*tiny_config("run"), "--resume"]) == 0
    assert meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"]) == 0
    assert meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"]) == 0
    first, second, third = made_by(tmp_path / "run" / "config.yaml")
    assert "error_channels: 2" in first
    assert second == f"python scripts/meta_train.py {' '.join(tiny_config('run'))}"
    assert third.endswith("outer_steps=7")
    assert load_config(tmp_path / "run" / "config.yaml").outer_steps == 7


def test_two_processes_cannot_train_in_one_folder(tiny_config: Arguments, tmp_path: Path) -> None:
    with (
        run_lock(tmp_path / "run"),
        pytest.raises(ValueError, match="another process trains there now") as caught,
    ):
        meta_train.main(tiny_config("run", "outer_steps=1"))
    assert "\n" not in str(caught.value)
    assert meta_train.main(tiny_config("run", "outer_steps=1")) == 0


def test_more_outer_steps_can_be_added(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    assert meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"]) == 0
    assert len(lines(tmp_path / "run")) == 8
    with pytest.raises(ValueError, match="got outer_steps=7, but 8 are done"):
        meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"])


def test_a_run_that_diverges_says_what_to_do(tiny_config: Arguments, tmp_path: Path) -> None:
    wild = ("outer.learning_rate=1e6", "outer.warmup=0", "outer.clip=1e9", "outer_steps=30", "seed=0")
    with pytest.raises(ValueError, match=r"resume with a lower outer.learning_rate"):
        meta_train.main(tiny_config("run", *wild))
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["state"]["outer_step"] < 30


def test_a_run_can_go_on_with_a_lower_rate(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    lower = ("outer_steps=7", "outer.learning_rate=5e-4", "outer.clip=0.05")
    assert meta_train.main([*tiny_config("run", *lower), "--resume"]) == 0
    assert len(lines(tmp_path / "run")) == 7


def test_turns_and_averages_resume_exactly(tiny_config: Arguments, tmp_path: Path) -> None:
    settings = ("outer.turns=3", "outer.average=0.9", "outer.final_learning_rate=1e-3")  # a rate that never falls
    assert meta_train.main(tiny_config("parts", *settings, "outer_steps=2", "evaluation.every=6")) == 0
    assert meta_train.main([*tiny_config("parts", *settings, "evaluation.every=6"), "--resume"]) == 0
    assert meta_train.main(tiny_config("whole", *settings, "evaluation.every=6")) == 0
    assert lines(tmp_path / "parts")[2:5] == lines(tmp_path / "whole")[2:5]
    first, second = (last_state(tmp_path / run) for run in ("parts", "whole"))
    for name, value in first["average"].items():
        assert torch.equal(value, second["average"][name]), name


def test_turns_take_their_own_tasks_in_turn(tiny_config: Arguments) -> None:
    run = trainer_of(tiny_config("run", "outer.turns=3", "inner.length=[50,60]"))
    every = [one for turn in run.state.trajectories for one in turn]
    orders = {tuple(one.task.permutation.tolist()) for one in every}
    streams = {bytes(one.generator.get_state().tolist()) for one in every}
    assert len(orders) == len(streams) == len(every) == 12
    for step in range(6):
        before = [[one.position for one in turn] for turn in run.state.trajectories]
        run.step()
        now = [[one.position for one in turn] for turn in run.state.trajectories]
        assert [turn for turn in range(3) if now[turn] != before[turn]] == [step % 3]


def test_the_kept_rule_is_the_moving_average_of_theta(tiny_config: Arguments, tmp_path: Path) -> None:
    """By its definition, from the θ of every outer step; it begins at that of the first."""
    settings = ("outer_steps=3", "outer.average=0.75")
    assert meta_train.main(tiny_config("whole", *settings)) == 0
    expected: dict[str, torch.Tensor] = {}
    run = trainer_of(tiny_config("steps", *settings))
    for _ in range(3):
        run.step()
        now = {name: value.detach().clone() for name, value in run.state.rule.state_dict().items()}
        expected = {name: 0.75 * expected[name] + 0.25 * now[name] for name in now} if expected else now
    kept = last_state(tmp_path / "whole")["average"]
    for name, value in expected.items():
        torch.testing.assert_close(kept[f"module.{name}"], value)
    assert not torch.equal(kept["module.mixing"], now["mixing"])


def test_a_run_can_start_from_a_rule_file(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    path, *overrides = tiny_config("next", f"rule.pretrained={tmp_path}/run/rule.safetensors")[1:]
    begun, best = (
        build_trainer(load_config(path, overrides)).state.rule,
        load_rule(tmp_path / "run" / "rule.safetensors"),
    )
    assert begun.config == best.config
    assert all(torch.equal(value, best.state_dict()[name]) for name, value in begun.state_dict().items())
    assert meta_train.main(["--config", path, *overrides]) == 0
    files = [tmp_path / run / "rule.safetensors" for run in ("run", "next")]
    assert [read_header(file).provenance.get("started_from") for file in files] == [None, str(files[0])]
    files[0].rename(tmp_path / "moved.safetensors")  # θ is in the checkpoint from the first on
    assert meta_train.main(["--config", path, *overrides, "outer_steps=7", "--resume"]) == 0
    (tmp_path / "moved.safetensors").rename(files[0])
    with pytest.raises(ValueError, match=r"with rule neuron_local .*, expected hebbian"):
        build_trainer(load_config(path, [*overrides, "rule.name=hebbian", "rule.options={}"]))


def test_only_the_parameters_that_are_named_are_learned(tiny_config: Arguments, tmp_path: Path) -> None:
    settings = ("rule.name=hebbian", "rule.options={}", "rule.learn=[bias, bias_slope]")
    assert meta_train.main(tiny_config("part", *settings)) == 0
    assert meta_train.main([*tiny_config("part", *settings, "outer_steps=8"), "--resume"]) == 0
    rule = load_checkpoint(tmp_path / "part" / "checkpoints" / "last.pt")["state"]["theta"]
    start = make_rule("hebbian").state_dict()
    assert {name for name in start if not torch.equal(rule[name], start[name])} == {"bias", "bias_slope"}
    with pytest.raises(ValueError, match=r"got 'biases' in rule.learn, expected .*did you mean bias\?"):
        meta_train.main(tiny_config("wrong", *settings[:2], "rule.learn=[biases]"))


def test_a_checkpoint_without_its_parts_is_one_line(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    saved = load_checkpoint(path)
    for broken in ({}, {**saved, "state": 3}, {**saved, "state": {**saved["state"], "trajectories": [[{}]]}}):
        save_checkpoint(path, broken)
        with pytest.raises(ValueError, match="holds no whole run state"):
            meta_train.main([*tiny_config("run"), "--resume"])


def test_a_run_goes_on_from_a_checkpoint_that_is_older_than_a_setting(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    saved = load_checkpoint(path)
    del saved["config"]["rule"]["learn"]
    save_checkpoint(path, saved)
    with pytest.raises(ValueError, match=r"rule.learn was \[\], got \['mixing'\]"):
        meta_train.main([*tiny_config("run", "outer_steps=7", "rule.learn=[mixing]"), "--resume"])
    assert meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"]) == 0


def test_another_experiment_cannot_take_over_a_run(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    with pytest.raises(ValueError, match="already holds a run"):
        meta_train.main(tiny_config("run"))
    with pytest.raises(ValueError, match=r"outer.readout.options.penalty was None, got 0.2"):
        meta_train.main([*tiny_config("run", "outer.readout.options.penalty=0.2"), "--resume"])


def poisoned(run_dir: Path, tasks: int) -> None:
    """Puts a NaN into the state of some tasks in flight of a checkpoint."""
    path = run_dir / "checkpoints" / "last.pt"
    saved = load_checkpoint(path)
    for one in saved["state"]["trajectories"][0][:tasks]:
        one["carried"]["w1"][0, 0] = torch.nan
        one["length"] = 10**6
    save_checkpoint(path, saved)


def test_a_lost_task_is_restarted_and_counted(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    poisoned(tmp_path / "run", 2)
    assert meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"]) == 0
    assert [line["dropped_tasks"] for line in lines(tmp_path / "run")[6:]] == [2, 0]
    assert lines(tmp_path / "run")[7]["dropped_tasks_total"] == 2


def test_too_many_lost_tasks_stop_the_run_with_a_usable_checkpoint(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    before = theta(tmp_path / "run")
    poisoned(tmp_path / "run", 3)
    with pytest.raises(ValueError, match="3 of 4 tasks became non-finite"):
        meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"])
    saved = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert saved["state"]["outer_step"] == 6
    for name, value in before.items():
        assert torch.equal(saved["state"]["theta"][name], value)
    folder = tmp_path / "run" / "checkpoints"  # as the error says
    (folder / "last.pt").unlink()
    shutil.copy(folder / "step_00000004.pt", folder / "last.pt")
    lower = ("outer_steps=8", "outer.learning_rate=5e-4", "outer.final_learning_rate=1e-4")
    assert meta_train.main([*tiny_config("run", *lower), "--resume"]) == 0
    assert len(lines(tmp_path / "run")) == 8


def test_the_outer_learning_rate_rises_and_falls() -> None:
    config = Config.model_validate(
        {"outer_steps": 30, "outer": {"learning_rate": 0.1, "warmup": 10, "final_learning_rate": 0.02}}
    )
    rates = [outer_learning_rate(config, step) for step in (1, 5, 10, 20, 30, 31)]
    assert rates == pytest.approx([0.01, 0.05, 0.1, 0.06, 0.02, 0.02])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("outer.learning_rat=1", "did you mean outer.learning_rate"),
        ("tasks.sources=[nothing]", "unknown source 'nothing'"),
        ("tasks.ways=11", "10 classes, expected at least ways=11"),
        ("report.sources=[nothing]", "unknown source 'nothing'"),
        pytest.param(
            "device=cuda",
            "no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA"),
        ),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(
    bad: str, message: str, tiny_config: Arguments, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        meta_train.main(tiny_config("run", bad))
    assert not (tmp_path / "run").exists()


def test_a_bad_setting_is_one_line_and_exit_code_2(tiny_config: Arguments) -> None:
    process = command("meta_train", tiny_config("run", "outer.clip=none"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_rule_is_judged_by_true_labels_whatever_it_was_trained_with(tiny_config: Arguments) -> None:
    trainer = trainer_of(tiny_config("run", "tasks.labeller=shuffled", REPORT))
    assert trainer.parts.trajectories.source.labeller.settings == "shuffled"
    judging = [*trainer.parts.validator.sources.values(), *report_sources(trainer.config).values()]
    assert len(judging) == 3  # the training's own, the validation's and the report's
    assert {source.labeller.settings for source in judging} == {"true"}


class Counting(TruncatedBackprop):
    """Remembers the loss of every outer step, and loses the tasks whose places are in ``lose``."""

    lose: tuple[int, ...] = ()

    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        for place in self.lose:
            unrolls[place].carried["w1"][0, 0] = torch.nan
        found = super().estimate(rule, theta, unrolls, memory)
        self.seen = list(unrolls), dict(theta), found
        before = memory.get("losses", torch.zeros(0))
        found.memory = {"losses": torch.cat([before, torch.tensor([found.meta_loss])])}
        return found


class Ones:
    """A validation that finds nothing out."""

    def validate(self, rule: Rule) -> Validation:
        return Validation({}, 1.0, [])


def by_hand(tasks: int = 3) -> tuple[Trainer, Counting]:
    """A Trainer of parts of one's own, on random numbers, with no file anywhere."""
    x = torch.rand(60, 6, generator=torch.Generator().manual_seed(1))
    data = Dataset("numbers", x, torch.arange(60) % 4, None, tuple("abcd"))
    source = TaskSource((data,), ways=3, shots=2, queries=2, permute=True)
    rule, estimator = Hebbian(), Counting()
    trajectories = Trajectories(
        source,
        networks=MLPs(((5,),), 4, ("tanh",)),
        logits=False,
        batch=(8, 8),
        schedule=TruncationSchedule((2, 2), (6, 6)),
        team=1,
        device=torch.device("cpu"),
        estimator=estimator,
    )
    outer = {"tasks_per_step": tasks, "learning_rate": 0.5, "final_learning_rate": 0.5, "warmup": 0, "clip": 0.01}
    config = Config.model_validate(
        {"seed": 5, "inner": {"read_every": 1, "unroll": [2, 2], "length": [6, 6]}, "outer": outer}
    )
    optimiser = torch.optim.SGD(rule.parameters(), lr=1.0)
    return Trainer(config, Parts(rule, estimator, trajectories, optimiser, Ones(), {})), estimator


def snapshot(run: Trainer) -> list[torch.Tensor]:
    """All tensors of a run's state, copied."""
    found: list[torch.Tensor] = []

    def collect(value: object) -> None:
        if isinstance(value, torch.Tensor):
            found.append(value.clone())
        elif isinstance(value, dict | list | tuple):
            for one in value.values() if isinstance(value, dict) else value:
                collect(one)

    collect(run.state.state_dict(ALONE))
    return found


def test_a_step_descends_along_the_clipped_direction_and_carries_its_trajectories_on() -> None:
    run, estimator = by_hand()
    before = {name: value.detach().clone() for name, value in run.state.rule.named_parameters()}
    measured = run.step()
    unrolls, theta, found = estimator.seen
    assert all(theta[name] is value for name, value in run.state.rule.named_parameters())
    assert [one.read_points for one in unrolls] == [(1, 2)] * 3
    norm = float(torch.cat([value.flatten() for value in found.direction.values()]).norm())
    assert norm > 0.01, "clipping is under test"
    assert measured["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    for name, value in run.state.rule.named_parameters():
        torch.testing.assert_close(value.detach(), before[name] - 0.5 * 0.01 / norm * found.direction[name])
    assert (measured["learning_rate"], measured["inner_steps"], measured["clipped_share"]) == (0.5, 2, 1)
    assert (measured["meta_loss"], measured["accuracy"]) == (found.meta_loss, found.accuracy)
    assert {f"rule/{name}" for name in run.state.rule.describe()} < measured.keys()
    (turn,) = run.state.trajectories
    assert [one.position for one in turn] == [2] * 3
    for one, carried in zip(turn, found.carried, strict=True):
        assert one.carried is carried
    assert run.state.outer_step == 1


def test_steps_hand_the_memory_on_and_restart_what_is_finished() -> None:
    run, _ = by_hand()
    losses, lengths = [], [one.length for one in run.state.trajectories[0]]
    assert lengths == [2, 4, 6]  # staggered
    for step in range(4):
        tasks = [one.task for one in run.state.trajectories[0]]
        finished = [one.finished for one in run.state.trajectories[0]]
        losses.append(run.step()["meta_loss"])
        assert [one.task is task for one, task in zip(run.state.trajectories[0], tasks, strict=True)] == [
            not over for over in finished
        ], step
    assert run.state.memory["losses"].tolist() == pytest.approx(losses)


def test_a_step_that_loses_a_task_goes_on_without_it_and_one_that_loses_most_changes_nothing() -> None:
    run, estimator = by_hand()
    estimator.lose = (0, 1)
    with pytest.raises(DivergedError, match=r"outer step 1: .* the rule diverges as it starts: change rule.options"):
        run.step()
    run, estimator = by_hand()
    estimator.lose = (1,)
    assert run.step()["dropped_tasks"] == 1
    _, _, found = estimator.seen
    assert [carried is None for carried in found.carried] == [False, True, False]
    assert run.state.trajectories[0][1].position == 0, "a fresh task"
    assert run.state.dropped_total == 1
    healthy = snapshot(run)
    starts = [{k: v.clone() for k, v in one.carried.items()} for one in run.state.trajectories[0]]
    estimator.lose = (0, 1)
    with pytest.raises(DivergedError, match="outer step 2: 2 of 3 tasks became non-finite"):
        run.step()
    for one, start in zip(run.state.trajectories[0], starts, strict=True):
        one.carried.update(start)  # the test itself spoiled them
    assert all(map(torch.equal, snapshot(run), healthy))
    estimator.lose = ()
    again, other = by_hand()
    other.lose = (1,)
    again.step()
    other.lose = ()
    assert run.step() == again.step(), "what was drawn for the lost step is drawn again"
