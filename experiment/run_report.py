"""The end of a run: its best rule judged on the report's sources, written as a page and as rows."""

from collections.abc import Mapping
from pathlib import Path

import torch

from evaluation.comparison import Progress
from evaluation.evaluation import InnerTraining
from evaluation.learners import learner_names
from evaluation.methods import METHODS
from evaluation.paired_tasks import PairedTask
from evaluation.receptive_fields import receptive_fields
from evaluation.results import Results, environment, summarise, task_accuracies
from evaluation.source_evaluation import evaluate
from experiment.configured import rule_use
from experiment.report.report import read_metrics, write_report
from experiment.task_sources import evaluation_tasks, load_datasets
from outer_loop.config.schema import Config
from tasks.task import TaskSource
from update_rules.contract import UNLABELLED
from update_rules.registry import RULES
from update_rules.rule_file import load_rule

READS = 5
"""Points at which the accuracy against inner steps is measured, besides the start."""


def report_sources(config: Config) -> dict[str, TaskSource]:
    """The tasks of ``config.report.sources``, each with the config's ways, shots and queries, by name.

    Raises ValueError or OSError where a source cannot be read or is too small: call it before hours of training.
    """
    loaded = load_datasets(config, config.report.sources)
    return {name: evaluation_tasks(config, datasets) for name, datasets in loaded.items()}


def networks_in_report(config: Config) -> int:
    """How many networks and other features ``report_on_run`` judges: one for each task and method."""
    rule = RULES.find(config.rule.name)
    methods = METHODS if UNLABELLED in rule.consumes else learner_names(rule)
    return len(methods) * config.report.tasks * len(config.report.sources)


def report_on_run(config: Config, sources: Mapping[str, TaskSource], progress: Progress) -> tuple[Path, Results]:
    """Evaluate ``rule.safetensors`` of the run on ``sources`` and write the report: its page, and the results.

    ``progress`` is called with how many of ``networks_in_report`` were done since. Raises ValueError or OSError
    where the run's files cannot be read.
    """
    run_dir, settings = Path(config.run_dir), config.report
    rule = load_rule(run_dir / "rule.safetensors").to(config.device)
    inner = rule_use(config, settings.steps, next(iter(sources.values())).datasets[0].inputs)
    found = evaluate(
        rule,
        sources,
        inner,
        tasks=settings.tasks,
        seed=config.seed,
        read_every=max(1, settings.steps // READS),
        progress=progress,
    )
    fields = {}
    for name, source in sources.items():
        if not isinstance(inner, InnerTraining):
            break
        shown = receptive_fields(rule, PairedTask(source, config.seed, 0), inner)
        if shown is not None:
            fields[name] = shown
    meta = {
        "rule": rule.name,
        "trained_on": list(config.tasks.sources),
        "evaluated_on": list(sources),
        "inner_steps": inner.steps,
        "objective": config.outer.objective,
        "batch_norm": config.network.batch_norm,
        **environment(torch.device(config.device)),
    }
    per_task = [
        one
        for name, evaluation in found.items()
        for one in task_accuracies(
            evaluation.final.values(), name, sources[name], seed=config.seed, size=config.tasks.size[0]
        )
    ]
    results = summarise(per_task, meta)
    page = write_report(
        run_dir / "report",
        title=f"{rule.name}: {run_dir.name}",
        metrics=read_metrics(run_dir / "metrics.jsonl"),
        results=results,
        inner_curves={name: evaluation.curves() for name, evaluation in found.items()},
        receptive_fields=fields,
        config=(run_dir / "config.yaml").read_text(encoding="utf-8"),
    )
    return page, results
