"""The settings of the hand-written methods, and the file that holds those chosen on meta-training data."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from common.names import did_you_mean
from common.yaml_dialect import parse_yaml, yaml_value

SETTINGS_FILE = Path(__file__).resolve().with_name("settings.yaml")
"""What ``scripts/tune_baselines.py`` found for base networks of 64-64-32 and relu."""

COMPETING_FILE = SETTINGS_FILE.with_name("settings_winners.yaml")
"""What it found for networks whose units compete; of ``contrastive``, not tuned for them, what suits the others."""


def settings_file(competes: bool) -> Path:
    """The file of settings for base networks whose units compete, or do not."""
    return COMPETING_FILE if competes else SETTINGS_FILE


@dataclass(frozen=True)
class WhiteningSettings:
    """PCA divided by sqrt(variance + ``floor`` · mean variance) of each component."""

    floor: float = 0.01


@dataclass(frozen=True)
class KMeansSettings:
    """``features`` of the distances d to the centroids: mean(d) - d where positive ("triangle"), -d or -d²."""

    features: Literal["triangle", "distance", "square"] = "distance"
    examples: int = 1000


@dataclass(frozen=True)
class LandmarkSettings:
    """``landmarks`` k-means centroids of ``examples``, of which the ``nearest`` describe an example."""

    landmarks: int = 256
    nearest: int = 5
    examples: int = 4000


@dataclass(frozen=True)
class DiscriminantSettings:
    """k-means ``clusters`` of ``examples``; ``floor`` · mean variance is added to all variances within them."""

    clusters: int = 100
    floor: float = 0.1
    examples: int = 4000


@dataclass(frozen=True)
class AutoencoderSettings:
    """``steps`` of Adam on batches whose inputs are dropped (set to 0) with probability ``dropped``.

    ``code`` is the last layer's output, after its activation or before it ("linear").
    """

    steps: int = 400
    learning_rate: float = 1e-2
    dropped: float = 0.0
    likelihood: Literal["bernoulli", "squared"] = "bernoulli"
    code: Literal["activation", "linear"] = "linear"


@dataclass(frozen=True)
class VaeSettings:
    """``steps`` of Adam on the evidence lower bound with ``beta`` times the divergence from the prior."""

    steps: int = 400
    learning_rate: float = 1e-2
    beta: float = 0.03
    likelihood: Literal["bernoulli", "squared"] = "bernoulli"


@dataclass(frozen=True)
class ContrastiveSettings:
    """``steps`` of Adam that match an example and its copy with a share ``corrupted`` of other examples' inputs."""

    steps: int = 400
    learning_rate: float = 1e-2
    corrupted: float = 0.3
    temperature: float = 0.3
    code: Literal["activation", "linear"] = "activation"


@dataclass(frozen=True)
class SupervisedSettings:
    """``steps`` of Adam on the cross-entropy of the whole support set, whose inputs are dropped as by ``dropped``."""

    steps: int = 300
    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    dropped: float = 0.5
    code: Literal["activation", "linear"] = "activation"


@dataclass(frozen=True)
class BaselineSettings:
    """The settings of every method that has any, by its name."""

    pca_whitened: WhiteningSettings = WhiteningSettings()
    kmeans: KMeansSettings = KMeansSettings()
    landmarks: LandmarkSettings = LandmarkSettings()
    discriminants: DiscriminantSettings = DiscriminantSettings()
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    vae: VaeSettings = VaeSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    supervised: SupervisedSettings = SupervisedSettings()


TUNED = tuple(field.name for field in fields(BaselineSettings))
"""The methods that have settings."""


def read_settings(path: str | Path) -> BaselineSettings:
    """The settings in the YAML file at ``path``: ``methods: NAME: settings: {KEY: VALUE}``; defaults elsewhere.

    Other keys of the file, such as the accuracies that chose the settings, are for people. Raises OSError if it cannot
    be read, and ValueError for unknown methods and keys and values of the wrong kind.
    """
    where = str(path)
    content = parse_yaml(Path(path).read_text(encoding="utf-8"), where)
    methods = content.get("methods") if isinstance(content, dict) else None
    if not isinstance(methods, dict):
        raise ValueError(f"{where}: expected a key 'methods' with settings by method")
    chosen = {}
    for name, entry in methods.items():
        if name not in TUNED:
            raise ValueError(
                f"{where}: unknown method {name!r}, expected {', '.join(TUNED)}{did_you_mean(name, TUNED)}"
            )
        settings = entry.get("settings") if isinstance(entry, dict) else None
        if not isinstance(settings, dict):
            raise ValueError(f"{where}: methods.{name}: expected a key 'settings'")
        chosen[name] = make_settings(name, settings, f"{where}: methods.{name}.settings")
    return BaselineSettings(**chosen)


def make_settings(name: str, values: Mapping[str, Any], where: str) -> Any:
    """The settings of method ``name`` with ``values``. Raises ValueError, beginning with ``where``, for wrong ones."""
    kind = get_type_hints(BaselineSettings)[name]
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            raise ValueError(
                f"{where}: unknown key {key!r}, expected {', '.join(hints)}{did_you_mean(str(key), list(hints))}"
            )
        _check_value(hints[key], value, f"{where}.{key}")
    return kind(**values)


def _check_value(hint: Any, value: Any, where: str) -> None:
    """Raise ValueError unless ``value`` is one of a Literal ``hint``, or a number >= 0 of its type."""
    if choices := get_args(hint):
        if value not in choices:
            raise ValueError(f"{where}: got {yaml_value(value)}, expected one of {', '.join(choices)}")
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value < 0 or (hint is int and not isinstance(value, int)):
        kind = "whole number" if hint is int else "number"
        raise ValueError(f"{where}: got {yaml_value(value)}, expected a {kind} of 0 or more")
