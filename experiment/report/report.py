"""The report of a run: one HTML page that needs no other file, and the results as JSON beside it."""

import base64
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.atomic_file import atomic_write
from evaluation.methods import meaning
from evaluation.results import Results, leader, write_results
from evaluation.results_table import caption, cells, methods_of, sources_of
from experiment.report import plots
from experiment.report.sweep_plot import Lines, line_figure
from outer_loop.config.file import by_dotted_key

LEARNED = (
    "This rule was learned: an outer loop let it train many small networks and improved it by how well they told "
    "classes apart after a few labelled examples. Below is what it does on data it may never have seen."
)
UNLABELLED = (
    "An update rule changes the weights of a base network from unlabelled examples alone; labels only read the "
    f"features out. {LEARNED}"
)
LABELLED = (
    "This update rule adapts a base network to a task from its few labelled examples, and tells the classes of others "
    f"with it. {LEARNED}"
)
"""What the page says first, of rules that see no labels and of those that see them."""

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #777; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.note, figcaption, .lead, .meaning { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.meaning { white-space: normal; max-width: 20rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; } th, td { padding: .3rem .9rem .3rem 0; text-align: left; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; } tr { border-bottom: 1px solid var(--line); }
tr.rule { font-weight: 600; } tr.rule .meaning { font-weight: 400; } .lead { display: block; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; } .pair figure { flex: 1 1 min(24rem, 100%); min-width: 0; }
pre { overflow-x: auto; font-size: .8rem; border-left: 3px solid var(--line); padding-left: 1rem; }
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's ``metrics.jsonl``. Raises OSError, or ValueError for a line that is not a metrics line."""
    lines = []
    for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or "outer_step" not in line:
            raise ValueError(f"{path}: line {number} is not a JSON object with outer_step; is this a metrics file?")
        lines.append(line)
    return lines


def write_report(
    folder: str | Path,
    *,
    title: str,
    sees_labels: bool,
    metrics: plots.Metrics,
    results: Results,
    inner_curves: Lines,
    receptive_fields: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
    config: str,
) -> Path:
    """Write ``index.html`` and ``results.json`` to ``folder``, which is made if needed; returns the page's path.

    ``sees_labels`` says whether the rule's own steps do. ``metrics`` are the lines of the run, ``inner_curves``
    accuracies by source, method and inner step, and ``receptive_fields`` first-layer weights by source, in the order of
    the pixels as they are seen. ``config`` is the text of the resolved config; the environment is ``results["meta"]``.
    Raises OSError where it cannot be written.
    """
    parts = [
        f"<p>{escape(LABELLED if sees_labels else UNLABELLED)}</p>",
        "<h2>Few-shot accuracy</h2>",
        _table(results),
        _figure(plots.accuracy_points(results), "Accuracy of every method, with 95 % intervals over tasks."),
    ]
    if metrics:
        parts += ["<h2>Learning to learn</h2>", '<div class="pair">']
        parts.append(_figure(plots.meta_loss_curve(metrics), "What the outer loop minimises, by outer step."))
        if (validated := plots.validation_curves(metrics)) is not None:
            text = "Accuracy on validation data: after the last inner step, and before the first (dotted)."
            parts.append(_figure(validated, text))
        parts.append("</div>")
    if inner_curves:
        text = (
            "Accuracy against inner steps for the meta-trained rule and, from the same networks, the untrained one; or "
            "from a random start, where the rule learned where to start."
        )
        parts += ["<h2>While a base network is trained</h2>", _figure(line_figure("steps", inner_curves), text)]
    if receptive_fields:
        parts.append("<h2>First-layer receptive fields</h2>")
    for source, (before, after) in receptive_fields.items():
        text = (
            f"{source}: the weights from the pixels to each first-layer unit; grey is 0, each unit has its own scale."
        )
        parts.append(_figure(plots.receptive_field_pair(before, after), text))
    parts += ["<h2>How it was made</h2>", _meta(results), "<h2>Config</h2>", f"<pre>{escape(config)}</pre>"]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder / "results.json", results)
    with atomic_write(folder / "index.html") as file:
        file.write(PAGE.format(title=escape(title), style=STYLE, body="\n".join(parts)).encode())
    return folder / "index.html"


def _table(results: Results) -> str:
    """The results, rows = methods and columns = sources."""
    text, first = cells(results), leader(results)
    sources = sources_of(results)
    head = "".join(f"<th>{escape(source)}</th>" for source in sources)
    body = []
    for method in methods_of(results):
        columns = []
        for source in sources:
            accuracy, lead = text[method, source]
            columns.append(
                f"<td>{accuracy}"
                + (f'<span class="lead">{escape(str(first))} leads {lead}</span>' if lead else "")
                + "</td>"
            )
        name = f'{escape(method)}<span class="meaning lead">{escape(meaning(method))}</span>'
        body.append(f'<tr class="{escape(method)}"><td>{name}</td>{"".join(columns)}</tr>')
    return (
        f'<div class="wide"><table><tr><th>method</th>{head}</tr>{"".join(body)}</table></div>'
        f'<p class="note">{escape(caption(results))}.</p>'
    )


def _meta(results: Results) -> str:
    """The environment and settings of the evaluation, by dotted name."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value if isinstance(value, str) else json.dumps(value))}</td></tr>"
        for name, value in by_dotted_key(results["meta"]).items()
    )
    return f'<div class="wide"><table>{rows}</table></div>'


def _figure(figure: Figure, text: str) -> str:
    data = base64.b64encode(plots.svg(figure)).decode()
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )
