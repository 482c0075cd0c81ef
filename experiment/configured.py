"""What the settings of a config make: base networks, the objective, and how a rule is put to use in evaluation."""

import torch

from evaluation.adaptation import Adaptation
from evaluation.evaluation import InnerTraining
from inner_loop.networks.description import BaseNetwork
from outer_loop.config.schema import Config
from outer_loop.readouts.objective import Objective
from outer_loop.trajectories import ConvSettings, NetworkChoice
from tasks.task import TaskShape
from update_rules.contract import UNLABELLED
from update_rules.registry import RULES


def network_choice(config: Config) -> NetworkChoice:
    """What the base networks of tasks are drawn from."""
    network = config.network
    conv4 = ConvSettings(network.channels, network.filters, network.pooling) if network.kind == "conv4" else None
    return NetworkChoice(
        network.hidden, network.outputs, network.activations, conv4, head=config.outer.objective == "head"
    )


def first_network(config: Config, inputs: int) -> BaseNetwork:
    """The first of the config's choices, for tasks of ``inputs`` inputs and the most ways.

    Raises ValueError for inputs that are not of a convolutional network's images.
    """
    choice = network_choice(config)
    first = NetworkChoice(choice.hidden[:1], choice.outputs, choice.activations[:1], choice.conv4, choice.head)
    shape = TaskShape(0, config.tasks.ways[1], config.tasks.shots[1], inputs)
    return first.draw(shape, torch.Generator())


def objective(config: Config) -> Objective:
    """The meta-objective."""
    return Objective(config.outer.objective, config.outer.penalty, config.network.batch_norm)


def rule_use(config: Config, steps: int, inputs: int) -> InnerTraining | Adaptation:
    """What a rule is evaluated on, for ``steps`` inner steps: the first base network, and the largest batch.

    A rule that learned the start of a network is judged by its own readout on support sets, all others by unlabelled
    training and ridge regression.
    """
    network = config.network
    if UNLABELLED in RULES.find(config.rule.name).consumes:
        return InnerTraining(network.hidden[0], network.outputs, network.activations[0], steps, config.tasks.batch[1])
    return Adaptation(first_network(config, inputs), objective(config), steps)
