"""Build wandb's workspace and report for meta-training runs, from code: charts in the order in which one looks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.atomic_file import write_json
from outer_loop.run.wandb_charts import PROJECT
from unsupervised_update_rules.commands.arguments import Parser, writable


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default=PROJECT, help=f"wandb's project (default {PROJECT})")
    parser.add_argument("--entity", default="", help="the user or team that it belongs to (default: yours)")
    parser.add_argument("--group", default="", help="the report shows runs of this tracking.group alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the specification here; nothing is sent")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Send both to wandb, and print where they are; or write them to a file."""
    arguments = make_parser().parse_args(argv)
    writable(arguments.json)
    try:
        from experiment.report import dashboard
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "wandb_workspaces":
            raise
        raise ValueError("dashboards need wandb-workspaces: pip install wandb-workspaces") from None
    if arguments.json is not None:
        found = dashboard.specification(arguments.entity, arguments.project, arguments.group)
        write_json(arguments.json, found)
        print(f"wrote {arguments.json}")
        return 0
    import wandb

    try:
        entity = arguments.entity or str(wandb.Api().default_entity)
        for made in (
            dashboard.make_workspace(entity, arguments.project),
            dashboard.make_report(entity, arguments.project, arguments.group),
        ):
            made.save()
            print(made.url)
    except (wandb.errors.Error, OSError) as error:
        raise ValueError(f"wandb takes no dashboard ({' '.join(str(error).split())}); `wandb login` first") from None
    return 0
