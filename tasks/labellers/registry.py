"""The labellers that can be named in a config; any other is named by its path, ``my_module:MyLabeller``."""

from common.components import Registry
from tasks.labellers.contract import Labeller

LABELLERS = Registry(
    "labeller",
    Labeller,
    {
        "true": "tasks.labellers.true:TrueLabels",
        "shuffled": "tasks.labellers.shuffled:ShuffledLabels",
        "instances": "tasks.labellers.instances:Instances",
        "fixed_instances": "tasks.labellers.fixed_instances:FixedInstances",
        "clusters": "tasks.labellers.clusters:Clusters",
        "hyperplanes": "tasks.labellers.hyperplanes:Hyperplanes",
        "fixed": "tasks.labellers.fixed:FixedLabels",
    },
)

DEFAULT = "true"
"""The labeller where none is named."""
