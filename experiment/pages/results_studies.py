"""Sections of ``docs/results.md`` on training: what matters in a rule, and what more computing brings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.results import hardware, short_commit
from evaluation.results_table import percent, short_source
from experiment.pages.ablation_figure import ablation_figure
from experiment.pages.markdown import table
from experiment.pages.training_curve import best, compute_figure, mean_held_out
from experiment.report.plots import save_png


def ablations(runs: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """What changed when one thing was changed, as ``read_stored`` keeps it; an empty string for no ``runs``.

    Writes the figures to ``folder``.
    """
    if not runs:
        return ""
    studies: dict[str, list[Mapping[str, Any]]] = {}
    for one in runs:
        studies.setdefault(_command(one), []).append(one)
    parts = [
        "## What matters\n\nOne thing changed at a time: in the training of a rule, where a setting is named (the "
        "rule's card has the command that it was added to), else a part of a trained rule switched off; in brackets "
        "the change on the same tasks, with its 95 % interval."
    ]
    for number, (command, found) in enumerate(studies.items(), start=1):
        figure = ablation_figure(found)
        if figure is not None:
            save_png(figure, folder / f"ablations_{number}.png")
            parts.append(f"![change of accuracy by what was changed]({folder.name}/ablations_{number}.png)")
        parts += [_study(found), command]
    return "\n\n".join(parts)


def _study(runs: Sequence[Mapping[str, Any]]) -> str:
    """The table of what one command measured; settings have a column where any run has one."""
    sources = list(dict.fromkeys(source for one in runs for source in one["accuracy"]))
    settings = ["setting"] if any(one["overrides"] for one in runs) else []
    rows = [
        [one["name"], *(" ".join(one["overrides"]) for _ in settings), *(_share_and_change(one, s) for s in sources)]
        for one in runs
    ]
    return table(["run", *settings, *map(short_source, sources)], rows)


def _command(ablation: Mapping[str, Any]) -> str:
    """The command behind ``ablation``, and what it ran on where that was stored."""
    made = ablation.get("made")
    text = f"`{ablation['command']}`"
    if not made:
        return text
    drawn = f"{made['tasks']} tasks a source, seed {made['seed']}"
    return f"{text}: {drawn}, commit {short_commit(made)}, {hardware(made)}"


def _share_and_change(ablation: Mapping[str, Any], source: str) -> str:
    """The accuracy on ``source``, and by how much it differs where that was measured task by task."""
    share = _share(ablation["accuracy"].get(source))
    if source not in ablation.get("change", {}):
        return share
    value, ci95 = ablation["change"][source]
    return f"{share} ({percent(value, ci95, '+')})"


def compute(curves: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Held-out accuracy over training, from ``training_curve``; writes its figure to ``folder``. Empty for none."""
    if not curves:
        return ""
    save_png(compute_figure(curves), folder / "compute.png")
    rows = []
    for curve in curves:
        means = mean_held_out(curve)
        kept = best(curve)
        sources = ", ".join(short_source(name) for name in curve["heldout"])
        rows.append(
            [
                curve["name"],
                f"{100 * means[0]:.1f}, {100 * means[kept]:.1f} at {curve['outer_steps'][kept]}, {100 * means[-1]:.1f}",
                f"{curve['outer_steps'][-1]} in {curve['seconds'][-1] / 60:.0f} min",
                f"{sources}, {curve['inner_steps']}",
                f"`{curve['command']}`",
                short_commit(curve),
                curve["processor"],
            ]
        )
    head = ["run", "first, best, last", "outer steps", "held out, inner steps", "command", "commit", "processor"]
    return "\n\n".join(
        [
            "## Against compute\n\nMean accuracy on held-out sources during training. Runs compare where sources and "
            "inner steps are the same. The best rule of a run is the one it keeps; minutes are those in outer steps.",
            f"![held-out accuracy over training]({folder.name}/compute.png)",
            table(head, rows),
        ]
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
