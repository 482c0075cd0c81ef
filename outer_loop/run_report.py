"""The end of a run: its best rule judged on the report's sources, written as a page and as rows."""

from pathlib import Path

from rich.console import Console

from outer_loop.config import Config
from outer_loop.evaluation import InnerTraining, SourceEvaluation, evaluate
from outer_loop.paired_tasks import PairedTask
from outer_loop.receptive_fields import receptive_fields
from outer_loop.report import read_metrics, write_report
from outer_loop.results import environment, results_table, summarise
from outer_loop.task_sources import task_source
from update_rules.rule_file import load_rule

READS = 5
"""Points at which the accuracy against inner steps is measured, besides the start."""


def report_on_run(config: Config, console: Console) -> Path:
    """Evaluate ``rule.safetensors`` of the run on ``config.report.sources``, print the table and write the report.

    Returns the page's path. Every source must have the ways, shots and queries of the config. Raises ValueError or
    OSError where it does not, or where the run's files cannot be read.
    """
    run_dir, settings, network = Path(config.run_dir), config.report, config.network
    rule = load_rule(run_dir / "rule.safetensors").to(config.device)
    inner = InnerTraining(
        network.hidden[0], network.outputs, network.activations[0], settings.steps, config.tasks.batch
    )
    sources = {name: task_source(config, (name,)) for name in settings.sources}
    with console.status(f"evaluating on {', '.join(sources)}"):
        found: dict[str, SourceEvaluation] = evaluate(
            rule, sources, inner, tasks=settings.tasks, seed=config.seed, read_every=max(1, settings.steps // READS)
        )
        fields = {}
        for name, source in sources.items():
            shown = receptive_fields(rule, PairedTask(source, config.seed, 0), inner)
            if shown is not None:
                fields[name] = shown
    meta = {
        "rule": rule.name,
        "trained_on": list(config.tasks.sources),
        "evaluated_on": list(sources),
        "inner_steps": inner.steps,
        **environment(),
    }
    results = summarise(found, sources, seed=config.seed, meta=meta)
    page = write_report(
        run_dir / "report",
        title=f"{rule.name}: {run_dir.name}",
        metrics=read_metrics(run_dir / "metrics.jsonl"),
        results=results,
        inner_curves={name: evaluation.curves() for name, evaluation in found.items()},
        receptive_fields=fields,
        config=(run_dir / "config.yaml").read_text(encoding="utf-8"),
    )
    console.print(results_table(results))
    console.print(f"report: {page}")
    return page
