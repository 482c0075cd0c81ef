"""The rules that can be named in a config or a rule file; any other is named by its path, ``my_module:MyRule``."""

from collections.abc import Mapping

from common.components import Option, Registry
from update_rules.contract import Rule

RULES = Registry(
    "rule",
    Rule,
    {
        "metz": "update_rules.metz.metz:Metz",
        "neuron_local": "update_rules.local.neuron_local:NeuronLocal",
        "hebbian": "update_rules.local.hebbian:Hebbian",
        "oja": "update_rules.hand_written.oja:Oja",
        "sanger": "update_rules.hand_written.sanger:Sanger",
        "krotov_hopfield": "update_rules.hand_written.krotov_hopfield:KrotovHopfield",
        "soft_hebb": "update_rules.hand_written.soft_hebb:SoftHebb",
        "maml": "update_rules.gradient.maml:Maml",
        "sca": "update_rules.gradient.self_critique:SelfCritique",
        "semi_supervised_maml": "update_rules.gradient.semi_supervised_maml:SemiSupervisedMaml",
        "protonet": "update_rules.gradient.protonet:ProtoNet",
        "attention_clusterer": "update_rules.clustering.attention_clusterer:AttentionClusterer",
        "recurrent_clusterer": "update_rules.clustering.recurrent_clusterer:RecurrentClusterer",
        "pair_similarity": "update_rules.clustering.pair_similarity:PairSimilarity",
        "chosen_clusterer": "update_rules.clustering.chosen_clusterer:ChosenClusterer",
    },
)


def make_rule(name: str, **options: Option) -> Rule:
    """The rule ``name`` built with ``options``, others at their defaults. Raises ValueError for what it cannot take."""
    return RULES.make(name, options)


def remade_rule(name: str, options: Mapping[str, Option]) -> Rule:
    """The rule ``name`` that a file describes by its ``options``: what an older file does not name is as it then was.

    Raises as ``make_rule``.
    """
    return make_rule(name, **{**RULES.find(name).earlier, **options})
