"""What a labeller's ``encoder`` names: an encoder file or a rule, told apart by the header of the file."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from common.tensor_file import file_header
from evaluation.encoders.encoder_file import FORMAT, load_encoder
from evaluation.protocol import use_of
from inner_loop.transformer import RuleFeatures
from tasks.dataset import Dataset
from update_rules.contract import Problem, Rule, State
from update_rules.rule_file import FORMAT as RULE_FORMAT
from update_rules.rule_file import find_rule_file, read_rule

AT_ONCE = 1024
"""Images that a network sees in one pass, which bounds the memory of its activations."""


def embedding(dataset: Dataset, encoder: str, seed: int) -> Tensor:
    """Features float32 [n, E] of ``dataset`` by ``encoder``: ``inputs``, an encoder file, a rule file or rule's name.

    A rule first trains a network on the data set itself, as its file says that it is used, and ``seed`` decides the
    start; one that learned a start gives the features of the network that it starts, below the head. Labels are not
    looked at. Raises OSError for a file that is not there and ValueError for one of another kind or of images of
    another shape.
    """
    if encoder == "inputs":
        return dataset.x
    path = find_rule_file(encoder)
    kind = file_header(path, "encoder").get("format")
    if kind == RULE_FORMAT:
        rule, header = read_rule(path)
        use = use_of(header, {})
        if use.size is not None and dataset.image_shape is not None:
            _check_shape(dataset, (use.size, use.size, *dataset.image_shape[2:]), f"rule {rule.name} in {path}")
        try:
            network = use.base_network(dataset.inputs, 1 if rule.gives == "logits" else 0)
            made = rule.embedder(Problem(dataset.inputs, network, image_shape=dataset.image_shape))
        except ValueError as error:
            raise ValueError(f"{dataset.name}: {error}; tasks.size sets the size of images") from None
        if made is not None:
            return _embedded(rule, *made, dataset, seed)
        features = RuleFeatures(path, random_state=seed % 2**32)
        return torch.from_numpy(features.fit_transform(dataset.x.numpy()))
    if kind != FORMAT:
        raise ValueError(f"{path}: format {kind!r}, expected a file of train_encoder.py or a rule file")
    trained = load_encoder(path)
    _check_shape(dataset, trained.shape.image_shape, path)
    return trained.embed(dataset.x)


def _check_shape(dataset: Dataset, wanted: tuple[int, ...], trained: str | Path) -> None:
    """Raise ValueError unless ``dataset`` has images of the shape ``wanted``, which ``trained`` was trained on."""
    if wanted != dataset.image_shape:
        got, expected = (" × ".join(map(str, shape)) for shape in (dataset.image_shape or ("a table",), wanted))
        raise ValueError(
            f"{dataset.name}: {got}, expected images of {expected} as {trained} was trained on; tasks.size sets their "
            "size"
        )


def _embedded(rule: Rule, problem: Problem, state: State, dataset: Dataset, seed: int) -> Tensor:
    """Features [n, E] in ``state``, each example's alone: statistics are frozen on examples that ``seed`` decides."""
    order = torch.randperm(len(dataset.x), generator=torch.Generator().manual_seed(seed))
    problem = replace(problem, normalisation="unlabelled")
    with torch.no_grad():
        statistics = rule.statistics(problem, state, dataset.x[order[:AT_ONCE]])
        return torch.cat([rule.features(problem, state, part, statistics) for part in dataset.x.split(AT_ONCE)])
