"""The reference pages of docs/reference/, from what the commands take and what the package exports."""

from importlib import import_module

from experiment.report.reference import api_page, commands_page, config_page
from unsupervised_update_rules import _PLACES
from unsupervised_update_rules.commands.arguments import Parser
from unsupervised_update_rules.commands.entry import COMMANDS

BASES = ("Rule", "Network", "NetworkFamily", "Labeller", "DataSource", "Readout", "Estimator")
"""What one derives classes from."""

GROUPS = {
    "Apply a rule": ("RuleFeatures", "load_rule", "make_rule", "save_rule", "load_network", "save_network"),
    "Find clusters": ("LearnedClusterer", "ChosenClusterer"),
    "Read data and draw tasks": ("load_source", "Dataset", "TaskSource", "Episode"),
    "Compare": ("compare", "RuleMethod", "Use"),
    "Meta-train": ("load_config", "build_trainer"),
    "Unroll a rule": ("MLP", "Conv4", "Problem", "State", "StepViews", "theta_of", "unroll"),
    "Read out what a rule learned": ("Learned", "Objective", "Normalisation", "Reading", "metz_objective"),
    "Derive classes of your own": (*BASES, "Activations", "RawData"),
    "Write an outer estimator": ("TruncatedUnroll", "Estimate", "Group", "by_groups", "losses_of", "over_reads"),
}
"""The exported names by what one wants to do."""


def parsers() -> dict[str, Parser]:
    """The parser of every command."""
    modules = {name: import_module(f"{__package__}.{name}") for name in COMMANDS}
    return {name: module.make_parser() for name, module in modules.items()}


def reference_pages() -> dict[str, str]:
    """The text of each page by its name."""
    return {
        "api.md": api_page(GROUPS, _PLACES, BASES),
        "commands.md": commands_page(parsers()),
        "config.md": config_page(),
    }
