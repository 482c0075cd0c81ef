"""What ``tasks.encoder`` names: an encoder file or a rule, told apart by the header of the file."""

from pathlib import Path

import torch
from torch import Tensor

from common.tensor_file import file_header
from evaluation.adaptation import Adaptation, trained_use
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.description import BaseNetwork
from inner_loop.transformer import RuleFeatures
from tasks.dataset import Dataset
from tasks.encoders.encoder_file import FORMAT, load_encoder
from update_rules.gradient.learned_start import LearnedStart
from update_rules.rule_file import FORMAT as RULE_FORMAT
from update_rules.rule_file import find_rule_file, read_rule

AT_ONCE = 1024
"""Images that a convolutional network sees in one pass, which bounds the memory of its activations."""


def embedding(dataset: Dataset, encoder: str, seed: int) -> Tensor:
    """Features float32 [n, E] of ``dataset`` by ``encoder``: ``inputs``, an encoder file, a rule file or rule's name.

    A rule first trains a network on the data set itself, as its file says that it is used, and ``seed`` decides the
    start; one that learned a start (maml, protonet) gives the features of the network that it starts, below the head.
    Labels are not looked at. Raises OSError for a file that is not there and ValueError for one of another kind
    or of images of another shape.
    """
    if encoder == "inputs":
        return dataset.x
    path = find_rule_file(encoder)
    kind = file_header(path, "encoder").get("format")
    if kind == RULE_FORMAT:
        rule, header = read_rule(path)
        if isinstance(rule, LearnedStart):
            return _of_start(dataset, rule, trained_use(header, path, 0, None), seed)
        features = RuleFeatures(path, random_state=seed % 2**32)
        return torch.from_numpy(features.fit_transform(dataset.x.numpy()))
    if kind != FORMAT:
        raise ValueError(f"{path}: format {kind!r}, expected a file of train_encoder.py or a rule file")
    trained = load_encoder(path)
    _check_shape(dataset, trained.shape.image_shape, path)
    return trained.embed(dataset.x)


def _of_start(dataset: Dataset, rule: LearnedStart, use: Adaptation, seed: int) -> Tensor:
    """Features [n, E] by the start that ``rule`` learned, each example's alone: statistics are frozen on the data.

    ``seed`` decides on which examples these are frozen.
    """
    rule.check_shapes(use.network)
    _check_shape(dataset, _seen_by(use.network), f"the network of rule {rule.name}")
    network = use.prototypes().network
    order = torch.randperm(len(dataset.x), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        start = rule.started(network)
        statistics = network.statistics(start, dataset.x[order[:AT_ONCE]])
        return torch.cat([network.forward(start, part, statistics).x[-1] for part in dataset.x.split(AT_ONCE)])


def _seen_by(network: BaseNetwork) -> tuple[int, ...]:
    """The shape of images that ``network`` sees, (H, W) or (H, W, colours), or (D,) where any D inputs will do."""
    if isinstance(network, Conv4):
        return (network.side, network.side, network.channels)[: 2 if network.channels == 1 else 3]
    return network.sizes[:1]


def _check_shape(dataset: Dataset, wanted: tuple[int, ...], trained: str | Path) -> None:
    """Raise ValueError unless examples of ``dataset`` have the shape ``wanted``, which ``trained`` sees."""
    if wanted not in (dataset.image_shape, dataset.x.shape[1:]):
        got, expected = (" × ".join(map(str, shape)) for shape in (dataset.image_shape or ("a table",), wanted))
        kind = f"images of {expected}" if len(wanted) > 1 else f"{expected} inputs"
        raise ValueError(
            f"{dataset.name}: {got}, expected {kind} as {trained} was trained on; tasks.size sets their size"
        )
