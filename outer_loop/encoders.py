"""What ``tasks.encoder`` names: an encoder file or a rule, told apart by the header of the file."""

import torch
from torch import Tensor

from inner_loop.conv4 import Conv4
from inner_loop.feature_extractor import RuleFeatures
from inner_loop.networks import BaseNetwork
from outer_loop.adaptation import Adaptation, trained_use
from outer_loop.encoder_file import FORMAT, load_encoder
from tasks.dataset import Dataset
from update_rules.learned_start import LearnedStart
from update_rules.rule_file import FORMAT as RULE_FORMAT
from update_rules.rule_file import find_rule_file, read_rule
from update_rules.tensor_file import file_header

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
    if trained.shape.image_shape != dataset.image_shape:
        wanted, got = (
            " × ".join(map(str, shape or ("a table",))) for shape in (trained.shape.image_shape, dataset.image_shape)
        )
        raise ValueError(
            f"{dataset.name}: {got}, expected images of {wanted} as {path} was trained on; tasks.size sets their size"
        )
    return trained.embed(dataset.x)


def _of_start(dataset: Dataset, rule: LearnedStart, use: Adaptation, seed: int) -> Tensor:
    """Features [n, E] by the start that ``rule`` learned, each example's alone: statistics are frozen on the data.

    ``seed`` decides on which examples these are frozen.
    """
    rule.check_shapes(use.network)
    _check_inputs(dataset, use.network, f"rule {rule.name}")
    network = use.prototypes().network
    order = torch.randperm(len(dataset.x), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        start = rule.started(network)
        statistics = network.statistics(start, dataset.x[order[:AT_ONCE]])
        return torch.cat([network.forward(start, part, statistics).x[-1] for part in dataset.x.split(AT_ONCE)])


def _check_inputs(dataset: Dataset, network: BaseNetwork, rule: str) -> None:
    """Raise ValueError unless ``network`` sees examples such as those of ``dataset``."""
    shape = dataset.image_shape
    if isinstance(network, Conv4):
        right = shape in ((network.side, network.side), (network.side, network.side, network.channels))
        right = right and dataset.x.shape[1] == network.sizes[0]
        expected = f"images of {network.side} × {network.side} and colours {network.channels}"
    else:
        right, expected = dataset.x.shape[1] == network.sizes[0], f"{network.sizes[0]} inputs"
    if not right:
        got = " × ".join(map(str, shape or ("a table of", dataset.x.shape[1])))
        raise ValueError(
            f"{dataset.name}: {got}, expected {expected} as the network of {rule} was trained on; tasks.size sets the "
            "size of images"
        )
