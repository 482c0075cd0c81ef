"""How a run judges its rule on the way: when, by what, and that far data have no say."""

import json
from pathlib import Path

import pytest
import torch
from runs import Arguments, theta, trainer_of

from evaluation.probes import PROBES
from experiment.task_sources import evaluation_tasks, load_datasets
from outer_loop.config.file import load_config
from outer_loop.config.probes import Probe
from outer_loop.run.checkpoint import load_checkpoint, save_checkpoint
from outer_loop.run.metric_names import AccuracyName, ReadName, accuracy_name, read_name
from unsupervised_update_rules.commands import meta_train
from update_rules.rule_file import load_rule, read_header

BY_TWO = ("evaluation.shots=[1,3]", "evaluation.probes=[ridge,prototype]")


def every_line(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


SOURCES = ("digits", "a/b@c", "csv:my labels.csv", "folder:fold/10 labels", "csv:/d/accuracy@b.csv", "x/10 labels/y")


@pytest.mark.parametrize(
    "name",
    [one for source in SOURCES for one in (AccuracyName("far", source, 5), ReadName("valid", source, 10, "ridge"))],
)
def test_names_are_read_as_they_are_written(name: AccuracyName | ReadName) -> None:
    assert [accuracy_name(str(name)), read_name(str(name))].count(name) == 1
    assert [accuracy_name(str(name)), read_name(str(name))].count(None) == 1


def test_a_config_knows_the_probes_that_there_are() -> None:
    assert set(Probe.__args__) == set(PROBES)


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 99, 400])
def test_a_run_is_judged_at_its_start_its_end_and_at_most_four_times_between(
    steps: int, tiny_config: Arguments
) -> None:
    _, path, *overrides = tiny_config("run", f"outer_steps={steps}", "evaluation.every=null")
    config = load_config(path, overrides)
    when = [step for step in range(steps + 1) if config.evaluated_after(step)]
    assert (when[0], when[-1]) == (0, steps)
    assert len(when) <= 6


@pytest.mark.parametrize(("steps", "times"), [(99, 2), (480, 3), (959, 5), (960, 6), (9000, 6)])
def test_evaluations_between_take_at_most_a_fifth_of_the_work(steps: int, times: int, tiny_config: Arguments) -> None:
    """Of 4 tasks over 300 inner steps, beside 4 over 2.5 with gradients: one evaluation weighs as 40 outer steps."""
    _, path, *overrides = tiny_config("run", f"outer_steps={steps}", "evaluation.every=null", "evaluation.steps=300")
    config = load_config(path, overrides)
    assert sum(map(config.evaluated_after, range(steps + 1))) == times


def test_what_is_usual_of_evaluation(tiny_config: Arguments) -> None:
    usual = ["evaluation.tasks=null", "evaluation.shots=null", "evaluation.probes=[ridge,logistic,prototype]"]
    _, path, *overrides = tiny_config("run", *usual, "tasks.shots=[1,12]")
    config = load_config(path, overrides)
    assert config.evaluation_shots == (1, 10)
    assert [config.evaluation.tasks_of(sources) for sources in (1, 3, 7)] == [60, 20, 9]
    few = load_config(path, [*overrides, "tasks.shots=3"])
    assert few.evaluation_shots == (1, 3)
    loaded = load_datasets(config, ["digits"])["digits"]
    assert evaluation_tasks(config, loaded).ways == config.tasks.ways[1]
    assert evaluation_tasks(load_config(path, [*overrides, "evaluation.ways=4"]), loaded).ways == 4


def test_the_mean_over_labels_and_probes_chooses_and_far_data_have_no_say(
    tiny_config: Arguments, tmp_path: Path
) -> None:
    # A readout that scores queries, but does not judge.
    settings = (*BY_TWO, "evaluation.training=[]", "outer.readout=marginal_ridge")
    assert meta_train.main(tiny_config("near", *settings)) == 0
    assert meta_train.main(tiny_config("far", *settings, "evaluation.far=[mnist5k]")) == 0
    near, far = (every_line(tmp_path / run) for run in ("near", "far"))
    judged = [line for line in far if "valid_accuracy" in line]
    assert [line["outer_step"] for line in judged] == [0, 3, 6]
    for line in judged:
        reads = {name: value for key, value in line.items() if (name := read_name(key)) is not None}
        assert len(reads) == 8
        mine = [value for name, value in reads.items() if name.kind == "valid"]
        assert line["valid_accuracy"] == pytest.approx(sum(mine) / 4)
        ridge = [reads[ReadName("valid", "digits", shots, "ridge")] for shots in (1, 3)]
        assert line["valid/digits/accuracy@4"] == pytest.approx(sum(ridge) / 2)
        assert "far/mnist5k/accuracy@4" in line
    best = max(line["valid_accuracy"] for line in judged)
    assert judged[-1]["best_valid_accuracy"] == best
    assert float(read_header(tmp_path / "far" / "rule.safetensors").provenance["valid_accuracy"]) == best
    assert near == [{key: value for key, value in line.items() if not key.startswith("far/")} for line in far]
    kept = [load_rule(tmp_path / run / "rule.safetensors").state_dict() for run in ("near", "far")]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_the_start_is_judged_before_anything_is_learned(tiny_config: Arguments, tmp_path: Path) -> None:
    """Where training makes it worse, the start is what is kept."""
    worse = (
        "outer.optimiser={name: Adam, options: {maximize: true}}",
        "outer.learning_rate=0.03",
        "evaluation.tasks=10",
    )
    start = trainer_of(tiny_config("start", *worse)).state.rule.state_dict()
    assert meta_train.main(tiny_config("run", *worse)) == 0
    run = tmp_path / "run"
    first, *others = (line for line in every_line(run) if "valid_accuracy" in line)
    assert first["outer_step"] == 0
    assert "meta_loss" not in first
    assert first["valid_accuracy"] >= max(line["valid_accuracy"] for line in others)
    header, kept = read_header(run / "rule.safetensors"), load_rule(run / "rule.safetensors").state_dict()
    assert header.provenance["outer_steps"] == "0"
    assert all(torch.equal(kept[name], start[name]) for name in start)
    assert any(not torch.equal(theta(run)[name], start[name]) for name in start)


def test_queries_stay_out_of_unlabelled_batches_whatever_number_of_labels_is_judged(
    tiny_config: Arguments, tmp_path: Path
) -> None:
    assert meta_train.main(tiny_config("run", "tasks.transductive=false", *BY_TWO)) == 0
    assert len(every_line(tmp_path / "run")) == 7


def test_an_older_run_does_not_go_on_by_another_measure(tiny_config: Arguments, tmp_path: Path) -> None:
    """Before there were probes the rule was chosen by ridge regression on the labels of the training."""
    assert meta_train.main(tiny_config("run")) == 0
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    saved = load_checkpoint(path)
    del saved["config"]["evaluation"]["probes"], saved["config"]["evaluation"]["shots"]
    save_checkpoint(path, saved)
    for other in ("evaluation.shots=null", "evaluation.probes=[prototype]"):
        with pytest.raises(ValueError, match=r"cannot resume with other settings: evaluation\."):
            meta_train.main([*tiny_config("run", "outer_steps=7", other), "--resume"])
    assert meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"]) == 0
