"""The arguments of ``evaluate``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.methods import BASELINES, CHEAP, CLASSIFIED
from evaluation.probes import OWN, PROBES, READOUT
from evaluation.results_table import SET_MEASURES
from evaluation.statistics import RAND
from evaluation.sweeps import SWEEPS
from outer_loop.readouts.normalisation import NORMALISATIONS
from tasks.views import SWAPPABLE
from unsupervised_update_rules.commands.arguments import Parser, at_least, threads
from unsupervised_update_rules.commands.evaluate_sets import USUAL
from update_rules.clustering.candidates import installed

USUAL_SIZE = 14
"""Pixels of a side where neither a user nor a rule says."""


USUAL_TASKS = 100
"""From each source and seed, few-shot."""


def make_parser(description: str) -> Parser:
    """What the command takes."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rule", nargs="+", default=[], metavar="FILE", help="rule files, or names of pretrained rules"
    )
    parser.add_trust()
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="such as digits mnist5k npz:FILE")
    parser.add_label(needed=True)
    parser.add_standardise()
    parser.add_argument(
        "--baselines",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(BASELINES)}, or with _PROBE behind it one that a probe reads; or all, or none (default "
        f"{' '.join(CHEAP)}, for a rule with a readout of its own {' '.join(CLASSIFIED)}; without --rule, "
        "untrained_rule is left out); on whole sets of "
        f"{', '.join(installed())} (default {' '.join(USUAL)}, none with --untold), "
        "untrained_rule, and apart with --measure pairs",
    )
    parser.add_argument(
        "--baseline-settings", type=Path, metavar="FILE", help="YAML file (default: as they were tuned)"
    )
    parser.add_argument(
        "--encoder",
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of train_encoder.py or base networks of apply_rule.py, whose features are compared too",
    )
    parser.add_argument("--ablate", action="store_true", help="compare the rule with copies that lack one part each")
    parser.add_argument(
        "--readout",
        nargs="+",
        choices=[OWN, *PROBES],
        help=f"{OWN}: the one that a method brings, or probes (default {READOUT}; {OWN} for a rule that has one)",
    )
    parser.add_argument("--ways", type=at_least(2), default=10, help="classes in a task (default 10)")
    parser.add_argument(
        "--shots", type=at_least(1), nargs="+", default=[10], help="labelled examples of each class (default 10)"
    )
    parser.add_argument("--queries", type=at_least(1), default=10, help="examples of each class to tell (default 10)")
    parser.add_argument(
        "--tasks",
        type=at_least(2),
        help=f"tasks from each source and seed (default {USUAL_TASKS}; of whole sets, all there are)",
    )
    parser.add_argument(
        "--untold", action="store_true", help="do not tell clusterers of whole sets how many clusters there are"
    )
    parser.add_argument(
        "--measure",
        choices=sorted(SET_MEASURES),
        default=RAND,
        help=f"of whole sets: {'; '.join(map(': '.join, SET_MEASURES.items()))} (default {RAND})",
    )
    parser.add_argument(
        "--size", type=at_least(1), metavar="S", help=f"images as S x S pixels (default: the rule's, else {USUAL_SIZE})"
    )
    parser.add_base_network()
    parser.add_argument(
        "--normalisation", choices=NORMALISATIONS, help="what normalises the features of rules (default: the rule's)"
    )
    parser.add_argument(
        "--permute",
        action=argparse.BooleanOptionalAction,
        help="inputs in another order in each task (default: as the rule was trained, else on)",
    )
    parser.add_argument(
        "--redraw",
        type=str.strip,
        default="identity",
        metavar="AUGMENTATION",
        help="change images a little whenever they are drawn, such as rotate=0.03,warp=0.05 (default identity): for "
        "rules anew in every inner step, while other methods learn from one version of each",
    )
    parser.add_argument(
        "--inductive",
        action="store_true",
        help="keep the queries out of what methods learn from, which else see them without labels",
    )
    parser.add_argument(
        "--unlabelled-shots",
        type=at_least(0),
        default=0,
        help="examples of each class in a set without labels, for rules that look at one (default 0)",
    )
    parser.add_argument(
        "--distractors", type=at_least(0), default=0, help="other classes in that set, of as many each (default 0)"
    )
    parser.add_argument(
        "--swapped",
        nargs="+",
        default=[],
        choices=SWAPPABLE,
        help="give rules these views of another task instead, as a control",
    )
    parser.add_argument(
        "--fixed-classes", action="store_true", help="the first classes in every task, each under the same label"
    )
    parser.add_argument("--sweep", choices=list(SWEEPS), help="compare over a range of this setting")
    parser.add_argument("--values", nargs="+", default=[], metavar="V", help="the range, where not the usual one")
    parser.add_argument(
        "--seeds", type=at_least(0), nargs="+", default=[0], help="decide the tasks and the starting networks"
    )
    parser.add_device()
    parser.add_track()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all accuracies, means and settings here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the table here")
    return parser


def parse(parser: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    arguments = parser.parse_args(argv)
    parser.expect_different(arguments, "rule", "data", "readout", "shots", "seeds", "values", "encoder")
    if arguments.values and arguments.sweep is None:
        parser.error("got --values without --sweep, expected a sweep whose values they are")
    if arguments.ablate and len(arguments.rule) != 1:
        parser.error(f"got --ablate with {len(arguments.rule)} rules, expected the one whose parts are switched off")
    names = [Path(path).stem for path in arguments.encoder]
    if len({*names, *BASELINES}) < len(names) + len(BASELINES):
        parser.error(f"got --encoder files called {' '.join(names)}, expected different names and none of a baseline")
    return arguments
