"""The end of a run: its best rule judged on the report's sources, written as a page and as rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from evaluation.baselines.settings import BaselineSettings
from evaluation.comparison import TasksDone, compare
from evaluation.lineup import Evaluated, about
from evaluation.methods import CHEAP, CLASSIFIED, Company, make_baselines
from evaluation.paired_tasks import PairedTask
from evaluation.probes import OWN
from evaluation.protocol import read_points
from evaluation.results import Results, environment, summarise, task_accuracies
from evaluation.rules import RuleMethod, pictures_of
from evaluation.statistics import Mean, mean_over_tasks
from experiment.build import trusted, use_of_config
from experiment.report.report import read_metrics, write_report
from experiment.task_sources import evaluation_tasks, load_datasets
from experiment.validation import probe_of
from outer_loop.config.file import made_by
from outer_loop.config.schema import Config
from tasks.source import TaskSource
from tasks.views import views_of
from update_rules.rule_file import BEST_FILE, read_rule

READS = 5
"""Points at which the accuracy against inner steps is measured, besides the start."""


class RunReport(NamedTuple):
    """The report's page, the results, and accuracies by source, method and inner step."""

    page: Path
    results: Results
    inner_curves: dict[str, dict[str, dict[int, Mean]]]


def report_sources(config: Config) -> dict[str, TaskSource]:
    """The tasks of ``config.report.sources`` by name. Raises ValueError or OSError: call it before training."""
    loaded = load_datasets(config, config.report.sources)
    return {name: evaluation_tasks(config, datasets) for name, datasets in loaded.items()}


def _company(config: Config) -> tuple[str, ...]:
    """The names of what the rule is compared with."""
    return CLASSIFIED if probe_of(use_of_config(config, 1)) == OWN else CHEAP


def networks_in_report(config: Config) -> int:
    """How many networks and other features ``report_on_run`` judges: one for each task and method."""
    return (1 + len(_company(config))) * config.report.tasks * len(config.report.sources)


def report_on_run(config: Config, sources: Mapping[str, TaskSource], progress: TasksDone) -> RunReport:
    """Evaluate ``rule.safetensors`` of the run on ``sources`` and write the report: its page, and the results.

    ``progress`` is called with how many of ``networks_in_report`` were done since. Raises ValueError or OSError
    where the run's files cannot be read.
    """
    run_dir, settings = Path(config.run_dir), config.report
    path, use = run_dir / BEST_FILE, use_of_config(config, config.report_steps)
    rule, header = read_rule(path, trusted(config))
    rule = rule.to(config.device)
    points = tuple(read_points(config.report_steps, max(1, config.report_steps // READS)))
    methods = {
        "rule": RuleMethod(rule, use, points),
        **make_baselines(_company(config), Company(use, BaselineSettings(), rule, points)),
    }
    per_task, pictures = [], {}
    curves: dict[str, dict[str, dict[int, Mean]]] = {}
    for name, source in sources.items():
        measured = compare(
            methods,
            source,
            shots=[source.shots],
            readouts=[probe_of(use)],
            tasks=settings.tasks,
            seed=config.seed,
            progress=lambda done, method, name=name: progress(done, f"{name}, {method}"),  # type: ignore[misc]
        )
        final = {one.method: one for one in measured}  # the last of each method: after its last inner step
        per_task += task_accuracies(final.values(), name, source, seed=config.seed, size=config.tasks.size[0])
        curves[name] = {}
        for one in measured:
            if one.steps is not None:
                curves[name].setdefault(one.method, {})[one.steps] = mean_over_tasks(one.accuracies)
        shown = pictures_of(rule, use, PairedTask(source, config.seed, 0))
        if shown is not None:
            pictures[name] = (shown[0].numpy(), shown[1].numpy())
    meta = {
        **about([Evaluated("rule", str(path), rule, header, use)], use),
        "split_seed": config.seed,
        "queries": config.tasks.queries,
        "size": config.tasks.size[0],
        "permute": config.tasks.permute,
        "redraw": "identity",
        "inductive": not config.tasks.transductive,
        "unlabelled_shots": config.tasks.unlabelled_shots,
        "distractors": config.tasks.distractors,
        "swapped": list(config.tasks.swapped),
        "fixed_classes": config.tasks.labeller.make().same_classes,
        "sweep": None,
        "seeds": [config.seed],
        "encoder": [],
        "baseline_settings": {},
        "command": (made_by(run_dir / "config.yaml") or [""])[-1],
        **environment(torch.device(config.device)),
    }
    results = summarise(per_task, meta)
    page = write_report(
        run_dir / "report",
        title=f"{rule.name}: {run_dir.name}",
        sees_labels=any(view.labels for view in views_of(rule.consumes)),
        metrics=read_metrics(run_dir / "metrics.jsonl"),
        results=results,
        inner_curves=curves,
        receptive_fields=pictures,
        config=(run_dir / "config.yaml").read_text(encoding="utf-8"),
    )
    return RunReport(page, results, curves)
