"""What is under test: one line for each implementation of a contract, with the settings that make it small."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from inner_loop.networks.mlp import MLP


class LabellerExample(NamedTuple):
    """A labeller and the tasks that the contract test draws by it."""

    name: str
    options: dict[str, Any]
    shots: int = 2
    queries: int = 3


LABELLERS = (
    LabellerExample("true", {}),
    LabellerExample("shuffled", {}),
    LabellerExample("instances", {"augmentation": "shift=0.3,warp=0.05"}),
    LabellerExample("fixed_instances", {"augmentation": "shift=0.3,warp=0.05"}),
    LabellerExample("clusters", {"partitions": 2, "groups": 5}),
    LabellerExample("hyperplanes", {"partitions": 2, "groups": 4}),
    LabellerExample("fixed", {}),
)


class RuleExample(NamedTuple):
    """A rule and the base network that the contract test trains with it."""

    name: str
    options: dict[str, Any]
    variants: tuple[dict[str, Any], ...] = ({},)
    """Further options under each of which a batched step is another computation."""
    unreached: tuple[str, ...] = ("t",)
    """The first letters of the entries of a State that no example reaches."""
    network: MLP = MLP((9, 7, 6, 5))


METZ: Mapping[str, Any] = {"outputs": 5, "hidden": 6, "top_hidden": 6, "delta_channels": 3, "readout_channels": 2}

RULES = (
    RuleExample(
        "metz",
        {**METZ, "learning_rate": 0.01},
        variants=({}, {"identical_updates": False, "h_layers": 0, "top_layers": 1}),
    ),
    RuleExample("neuron_local", {"hidden": 6, "error_channels": 3, "rate": 0.03}),
    RuleExample("hebbian", {}),
    RuleExample("oja", {}, unreached=("b",)),
    RuleExample("sanger", {}, unreached=("b",)),
    RuleExample("krotov_hopfield", {"unlearning": 0.3}, unreached=("b",)),
    RuleExample("soft_hebb", {}, variants=({}, {"anti": True}), unreached=("b",)),
    RuleExample("maml", {"rate": 0.3, "learned_rates": True, "steps": 2}),
    RuleExample(
        "sca",
        {"rate": 0.3, "steps": 2, "per_step_normalisation": True},
        variants=({}, {"sees": ["predictions", "features", "task"], "adapt_normalisation": True}),
        unreached=("t", "c"),
    ),
    RuleExample(
        "semi_supervised_maml",
        {"rate": 0.3, "steps": 2},
        variants=({}, {"labels": False, "sees": ["predictions", "features", "classes"]}),
    ),
    RuleExample("protonet", {}),
    RuleExample("readme_rule:Oja", {}, unreached=("b",)),
)


class ClustererExample(NamedTuple):
    """A rule of whole sets, whose outputs say which points belong together."""

    name: str
    options: dict[str, Any]
    pairs: bool = True
    """Whether outputs are a logit for each pair; else those of a finite family of ways."""


CLUSTERERS = (
    ClustererExample("attention_clusterer", {"width": 8, "heads": 2, "blocks": 2, "maps": 2}),
    ClustererExample("recurrent_clusterer", {"units": 8, "axes": 2, "places": 4}),
    ClustererExample("pair_similarity", {"units": [6]}),
    ClustererExample("chosen_clusterer", {}, pairs=False),
)


class ReadoutExample(NamedTuple):
    """A readout."""

    name: str
    options: dict[str, Any]
    scores: bool = True
    """Whether it can score queries whose classes nobody knows."""


READOUTS = (
    ReadoutExample("ridge", {"penalty": 0.2}, scores=False),
    ReadoutExample("marginal_ridge", {"penalties": (0.3, 5.0), "temperatures": (0.2, 1.0)}),
    ReadoutExample("head", {}),
    ReadoutExample("pairwise", {}, scores=False),
    ReadoutExample("prototypes", {}),
)


class EstimatorExample(NamedTuple):
    """An outer estimator."""

    name: str
    options: dict[str, Any]
    deviation: float = 0.0
    """Of the normal noise in θ whose mean loss it descends along; 0 for the loss itself."""
    few_numbers: bool = False
    """Whether it is for rules with few numbers to learn."""
    descends: bool = True
    """Whether it has a direction; one that searches has none, and a memory of its own instead."""


ESTIMATORS = (
    EstimatorExample("truncated_backprop", {}),
    EstimatorExample("full_backprop", {}),
    EstimatorExample("truncated_backprop", {"task_clip": 1e6}),
    EstimatorExample("forward_mode", {"chunk": 2}, few_numbers=True),
    EstimatorExample("persistent_es", {"deviation": 0.3, "pairs": 2}, deviation=0.3),
    EstimatorExample("noise_reuse_es", {"deviation": 0.3, "pairs": 2, "reuse": 3}, deviation=0.3),
    EstimatorExample("evolution_strategies", {"deviation": 0.3, "pairs": 2}, deviation=0.3),
    EstimatorExample("cma_es", {"population": 4}, descends=False),
)

CHOOSING = {"readout": "expected_score", "estimator": "risk_minimisation"}
"""What learns a finite family, without gradients: one contract test for the two, with the rule that they are for."""
