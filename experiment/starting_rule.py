"""The rule that a run begins with, and the average of what it becomes."""

from collections.abc import Sequence

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.names import did_you_mean
from inner_loop.networks.description import BaseNetwork
from outer_loop.config.schema import Config
from update_rules.contract import Rule
from update_rules.gradient.learned_start import layout
from update_rules.registry import RULES, make_rule
from update_rules.rule_file import load_rule


def starting_rule(config: Config, network: BaseNetwork) -> Rule:
    """The config's rule before its first outer step; one that learns a start does so for ``network``.

    Raises ValueError or OSError for a file to start from.
    """
    settings, valid = config.rule, RULES.options(config.rule.name)
    options = dict(settings.options)
    if "running" in valid:
        options["running"] = config.network.batch_norm == "running"
    if settings.start:
        rule = load_rule(settings.start)
        if rule.name != settings.name or any(rule.config[key] != value for key, value in options.items()):
            raise ValueError(
                f"got rule.start={settings.start} with rule {rule.name} {rule.config}, expected {settings.name} "
                f"{options}{' (network.batch_norm decides running)' if 'running' in valid else ''}"
            )
        return rule
    if "seed" in valid:
        options.setdefault("seed", config.seed)
    if "weights" in valid:
        options.setdefault("weights", layout(network.shapes))
    return make_rule(settings.name, **options)


def learn_only(rule: Rule, names: Sequence[str]) -> Rule:
    """``rule``, of whose parameters those of ``names`` alone require gradients; all where there are none.

    Raises ValueError for a parameter that the rule does not have.
    """
    parameters = dict(rule.named_parameters())
    for name in names:
        if name not in parameters:
            raise ValueError(
                f"got {name!r} in rule.learn, expected parameters of the {rule.name} rule, {', '.join(parameters)}"
                f"{did_you_mean(name, parameters)}"
            )
    for name, parameter in parameters.items():
        parameter.requires_grad_(not names or name in names)
    return rule


def averaged(rule: Rule, decay: float) -> AveragedModel | None:
    """The moving average of the rule's θ, which forgets a share 1 - ``decay`` at each outer step; None for 0."""
    return AveragedModel(rule, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
