"""One run put together: a config makes the parts that a Trainer is given."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.names import did_you_mean
from common.notice import notice
from common.provenance import commit
from evaluation.lineage import lineage, same_parts, seeds_of, trained_on
from evaluation.protocol import Use
from experiment.task_sources import load_datasets, training_tasks
from experiment.validation import SourceValidator
from inner_loop.networks.registry import NETWORKS
from outer_loop.config.same_experiment import check_same_experiment
from outer_loop.config.schema import Config
from outer_loop.estimators.contract import Estimator
from outer_loop.estimators.registry import ESTIMATORS
from outer_loop.optimisers import make_optimiser
from outer_loop.readouts.contract import Readout
from outer_loop.readouts.normalisation import Normalisation
from outer_loop.readouts.objective import Objective
from outer_loop.readouts.registry import READOUTS
from outer_loop.run.processes import ALONE, Ranks
from outer_loop.trainer import Parts, Trainer
from outer_loop.trajectories import Trajectories
from outer_loop.truncation import TruncationSchedule
from tasks.source import TaskSource
from update_rules.contract import UNLABELLED, Problem, Rule
from update_rules.registry import RULES, make_rule, remade_rule
from update_rules.rule_file import find_rule_file, load_rule


def build_trainer(
    config: Config,
    checkpoint: Mapping[str, Any] | None = None,
    ranks: Ranks = ALONE,
    say: Callable[[str], object] = notice,
) -> Trainer:
    """The Trainer of ``config``, which goes on from the payload of a ``checkpoint`` if one is given.

    What the user may not expect goes to ``say``: settings other than the checkpoint's, data that both train and judge.
    Raises ValueError or OSError for data or settings that do not fit, and ValueError for a checkpoint of another run.
    """
    device = ranks.device(config.device)
    judged = config.evaluation
    named = (*config.tasks.sources, *(judged.training or ()), *judged.sources, *judged.far)
    loaded = load_datasets(config, named)
    for name in sorted({*config.tasks.sources} & {*judged.sources}):
        say(f"{name} is in tasks.sources and in evaluation.sources: the rule is chosen by data that it trains on")
    for name in sorted({*judged.far} & {*config.tasks.sources, *judged.sources}):
        say(f"{name} is in evaluation.far and in tasks.sources or evaluation.sources: it is not far from these")
    source = training_tasks(config, loaded)
    problem = first_problem(config, source)
    rule = learn_only(_rule(config, problem, checkpoint), config.rule.learn).to(device)
    estimator = make_estimator(config)
    schedule = TruncationSchedule(config.inner.unroll, config.inner.length, config.inner.curriculum)
    networks = NETWORKS.make(config.network.name, config.network.options)
    trajectories = Trajectories(
        source,
        networks,
        rule.gives == "logits",
        config.tasks.batch,
        schedule,
        config.outer.team,
        device,
        estimator,
        config.network.normalisation,
    )
    optimiser = config.outer.optimiser
    parts = Parts(
        rule,
        estimator,
        trajectories,
        make_optimiser(optimiser.name, rule.parameters(), config.outer.learning_rate, optimiser.options),
        SourceValidator(config, loaded, use_of_config(config, judged.steps)),
        rule_header(config) | {"lineage": lineage_of_run(config, checkpoint)},
        plain_use(config),
    )
    if checkpoint is None:
        return Trainer(config, parts, ranks)
    try:
        data = {"data": source.fingerprint, "validation": parts.validator.fingerprint}
        for differs in check_same_experiment(checkpoint, config, data):
            say(f"resumed with another setting: {differs}")
        return Trainer(config, parts, ranks, checkpoint["state"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"the checkpoint holds no whole run state ({type(error).__name__}: {error}); take an earlier one"
        ) from None


def first_problem(config: Config, source: TaskSource) -> Problem:
    """What the rule knows of a task of the most ways. Raises ValueError for inputs that networks cannot take."""
    family = NETWORKS.make(config.network.name, config.network.options)
    inputs, ways = source.datasets[0].inputs, config.tasks.ways[1]
    logits = ways if RULES.find(config.rule.name).gives == "logits" else 0
    return Problem(inputs, family.first(inputs, logits), ways, normalisation=config.network.normalisation)


def _rule(config: Config, problem: Problem, checkpoint: Mapping[str, Any] | None) -> Rule:
    """The rule before θ is taken over from the ``checkpoint``, or the one that a new run starts with."""
    if checkpoint is None:
        return starting_rule(config, problem)
    try:
        return remade_rule(config.rule.name, checkpoint["rule"])
    except (KeyError, TypeError):
        raise ValueError("the checkpoint holds no whole run state (no rule); take an earlier one") from None


def starting_rule(config: Config, problem: Problem) -> Rule:
    """The config's rule before its first outer step, with the options that follow from ``problem`` and the seed.

    Raises ValueError or OSError for a pretrained rule that is another one.
    """
    settings = config.rule
    if not settings.pretrained:
        follow = RULES.find(settings.name).options_for(problem, config.seed)
        return make_rule(settings.name, **(follow | settings.options))
    rule, asked = load_rule(settings.pretrained, trusted(config)), settings.options
    name = RULES.name_of(type(rule))
    if name != settings.name or any(rule.config[key] != value for key, value in asked.items()):
        raise ValueError(
            f"got rule.pretrained={settings.pretrained} with rule {name} {rule.config}, expected {settings.name} with "
            f"{asked}"
        )
    return rule


def trusted(config: Config) -> tuple[str, ...]:
    """The modules that rule files of a run may name: that of its own rule, if not ours."""
    module, colon, _ = config.rule.name.partition(":")
    return (module,) if colon else ()


def learn_only(rule: Rule, names: Sequence[str]) -> Rule:
    """``rule``, whose parameters ``names`` (none: all) require gradients. Raises ValueError for unknown ones."""
    parameters = dict(rule.named_parameters())
    if not parameters:
        raise ValueError(f"rule {rule.name} has nothing to learn; what shall be learned has to be an nn.Parameter")
    for name in names:
        if name not in parameters:
            raise ValueError(
                f"got {name!r} in rule.learn, expected parameters of the {rule.name} rule, {', '.join(parameters)}"
                f"{did_you_mean(name, parameters)}"
            )
    for name, parameter in parameters.items():
        parameter.requires_grad_(not names or name in names)
    return rule


def make_readout(config: Config) -> Readout:
    """What reads networks out."""
    return READOUTS.make(config.outer.readout.name, config.outer.readout.options)


def make_estimator(config: Config) -> Estimator:
    """The outer estimator of the config's meta-objective."""
    objective = Objective(make_readout(config), Normalisation(config.network.normalisation).in_training())
    estimator = ESTIMATORS.make(config.outer.estimator.name, config.outer.estimator.options)
    return estimator.configured(objective, recompute=config.inner.recompute is not False, compiled=config.inner.compile)


def use_of_config(config: Config, steps: int) -> Use:
    """What a rule is evaluated on, for ``steps`` inner steps: the first base network, and the largest batch.

    Features of a rule that trains on unlabelled examples are normalised by these, those of others as in training.
    """
    family = NETWORKS.make(config.network.name, config.network.options)
    policy = "unlabelled" if UNLABELLED in RULES.find(config.rule.name).consumes else config.network.normalisation
    return Use(family, steps, config.tasks.batch[1], policy, make_readout(config))


def plain_use(config: Config) -> dict[str, Any]:
    """What a rule file says that its rule is used with: the settings of the run's report, first choices alone."""
    use = use_of_config(config, config.report_steps)
    one = RULES.find(config.rule.name).one_network
    plain = {
        "network": {"name": config.network.name, "options": use.network.first_options()},
        "steps": use.steps,
        "batch": use.batch,
        "normalisation": use.normalisation,
        "readout": {"name": config.outer.readout.name, "options": config.outer.readout.options},
        **({"size": config.tasks.size[0], "permute": config.tasks.permute} if one else {}),
    }
    return json.loads(json.dumps(plain))


def rule_header(config: Config) -> dict[str, Any]:
    """What a rule file says about where the rule comes from."""
    started = {"started_from": config.rule.pretrained} if config.rule.pretrained else {}
    return {"sources": list(config.tasks.sources), "seed": config.seed, "commit": commit(), **started}


def lineage_of_run(config: Config, checkpoint: Mapping[str, Any] | None) -> str:
    """JSON of what the run and all that it starts from, or gets classes by, was trained on, as ``lineage`` reads it.

    A run that goes on has that from its ``checkpoint``, since files may have moved. Raises ValueError for data that
    judge a new run and that another seed split for what was trained before, so that parts mix.
    """
    if checkpoint is not None and "lineage" in checkpoint:
        return str(checkpoint["lineage"])
    named = (config.rule.pretrained, *config.tasks.labeller.make().trained_files())
    files = [] if checkpoint is not None else [find_rule_file(name) for name in named if name]
    before = [one for file in files for one in lineage(file)]
    for name in dict.fromkeys((*config.evaluation.sources, *config.evaluation.far, *config.report.sources)):
        for seed in {*seeds_of(name, before)} - {config.seed}:
            split = [
                load_datasets(config.model_copy(update={"seed": one}), [name])[name] for one in (config.seed, seed)
            ]
            if not same_parts(*split):
                raise ValueError(
                    f"{name}: what the run starts from, or gets classes by, was trained on other parts of it, by seed "
                    f"{seed}; set seed={seed} or take data that bring their own split"
                )
    return json.dumps(list(dict.fromkeys([*trained_on(config.tasks.sources, config.seed), *before])))
