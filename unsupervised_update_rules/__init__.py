"""What a user of the library needs, under one name: ``from unsupervised_update_rules import RuleFeatures``.

Names are imported when they are first asked for. ``python -m unsupervised_update_rules COMMAND`` runs the commands.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # as X: for others to import from here
    from evaluation.comparison import compare as compare
    from evaluation.protocol import Use as Use
    from evaluation.rules import RuleMethod as RuleMethod
    from experiment.build import build_trainer as build_trainer
    from inner_loop.clusterers import ChosenClusterer as ChosenClusterer
    from inner_loop.clusterers import LearnedClusterer as LearnedClusterer
    from inner_loop.network_file import load_network as load_network
    from inner_loop.network_file import save_network as save_network
    from inner_loop.networks.contract import NetworkFamily as NetworkFamily
    from inner_loop.networks.conv4 import Conv4 as Conv4
    from inner_loop.networks.mlp import MLP as MLP
    from inner_loop.transformer import RuleFeatures as RuleFeatures
    from inner_loop.unroll import theta_of as theta_of
    from inner_loop.unroll import unroll as unroll
    from outer_loop.config.file import load_config as load_config
    from outer_loop.estimators.batching import Group as Group
    from outer_loop.estimators.batching import by_groups as by_groups
    from outer_loop.estimators.batching import losses_of as losses_of
    from outer_loop.estimators.batching import over_reads as over_reads
    from outer_loop.estimators.contract import Estimate as Estimate
    from outer_loop.estimators.contract import Estimator as Estimator
    from outer_loop.estimators.contract import TruncatedUnroll as TruncatedUnroll
    from outer_loop.readouts.contract import Learned as Learned
    from outer_loop.readouts.contract import Reading as Reading
    from outer_loop.readouts.contract import Readout as Readout
    from outer_loop.readouts.metz_objective import metz_objective as metz_objective
    from outer_loop.readouts.normalisation import Normalisation as Normalisation
    from outer_loop.readouts.objective import Objective as Objective
    from tasks.data.contract import DataSource as DataSource
    from tasks.data.raw import RawData as RawData
    from tasks.data.sources import load_source as load_source
    from tasks.dataset import Dataset as Dataset
    from tasks.labellers.contract import Labeller as Labeller
    from tasks.source import TaskSource as TaskSource
    from tasks.task import Episode as Episode
    from update_rules.contract import Activations as Activations
    from update_rules.contract import Network as Network
    from update_rules.contract import Problem as Problem
    from update_rules.contract import Rule as Rule
    from update_rules.contract import State as State
    from update_rules.contract import StepViews as StepViews
    from update_rules.registry import make_rule as make_rule
    from update_rules.rule_file import load_rule as load_rule
    from update_rules.rule_file import save_rule as save_rule

PACKAGES = ("common", "tasks", "update_rules", "inner_loop", "outer_loop", "evaluation", "experiment", "pretrained")
"""What is installed beside this package."""

_NAMES = {
    "evaluation.comparison": ("compare",),
    "evaluation.protocol": ("Use",),
    "evaluation.rules": ("RuleMethod",),
    "experiment.build": ("build_trainer",),
    "inner_loop.clusterers": ("ChosenClusterer", "LearnedClusterer"),
    "inner_loop.network_file": ("load_network", "save_network"),
    "inner_loop.networks.contract": ("NetworkFamily",),
    "inner_loop.networks.conv4": ("Conv4",),
    "inner_loop.networks.mlp": ("MLP",),
    "inner_loop.transformer": ("RuleFeatures",),
    "inner_loop.unroll": ("theta_of", "unroll"),
    "outer_loop.config.file": ("load_config",),
    "outer_loop.estimators.batching": ("Group", "by_groups", "losses_of", "over_reads"),
    "outer_loop.estimators.contract": ("Estimate", "Estimator", "TruncatedUnroll"),
    "outer_loop.readouts.contract": ("Learned", "Reading", "Readout"),
    "outer_loop.readouts.metz_objective": ("metz_objective",),
    "outer_loop.readouts.normalisation": ("Normalisation",),
    "outer_loop.readouts.objective": ("Objective",),
    "tasks.data.contract": ("DataSource",),
    "tasks.data.raw": ("RawData",),
    "tasks.data.sources": ("load_source",),
    "tasks.dataset": ("Dataset",),
    "tasks.labellers.contract": ("Labeller",),
    "tasks.source": ("TaskSource",),
    "tasks.task": ("Episode",),
    "update_rules.contract": ("Activations", "Network", "Problem", "Rule", "State", "StepViews"),
    "update_rules.registry": ("make_rule",),
    "update_rules.rule_file": ("load_rule", "save_rule"),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_PLACES)


def check_nothing_hides_us() -> None:
    """Raise ImportError, in one line, where a file of the user's has the name of one of PACKAGES and comes first."""
    root = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        loaded = sys.modules.get(name)
        spec = find_spec(name) if loaded is None else loaded.__spec__
        origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if origin != root / name / "__init__.py":
            raise ImportError(
                f"{origin or 'something'} hides the package {name} of unsupervised-update-rules; rename it, or start "
                "in another folder"
            )


def __getattr__(name: str) -> Any:
    """The public ``name``, imported now. Raises AttributeError for another one."""
    if name not in _PLACES:
        raise AttributeError(f"unsupervised_update_rules has no {name!r}, expected one of {', '.join(__all__)}")
    check_nothing_hides_us()
    globals()[name] = found = getattr(import_module(_PLACES[name]), name)  # so that this runs once a name
    return found


def __dir__() -> list[str]:
    return list(__all__)
