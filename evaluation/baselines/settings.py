"""The settings of the hand-written methods, and the file that holds those chosen on meta-training data."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from common.checked import NotNegative, Whole
from common.components import Registry
from common.names import did_you_mean
from common.yaml_dialect import parse_yaml

SETTINGS_FILE = Path(__file__).resolve().with_name("settings.yaml")
"""What ``scripts/tune_baselines.py`` found for base networks of 64-64-32 and relu."""

COMPETING_FILE = SETTINGS_FILE.with_name("settings_winners.yaml")
"""What it found for networks whose units compete; of ``contrastive``, not tuned for them, what suits the others."""


Likelihood = Literal["bernoulli", "squared"]
Code = Literal["activation", "linear"]
"""The last layer's output, after its activation or before it."""


def settings_file(competes: bool) -> Path:
    """The file of settings for base networks whose units compete, or do not."""
    return COMPETING_FILE if competes else SETTINGS_FILE


@dataclass(frozen=True)
class WhiteningSettings:
    """PCA divided by sqrt(variance + ``floor`` · mean variance) of each component."""

    floor: NotNegative = 0.01


@dataclass(frozen=True)
class KMeansSettings:
    """``features`` of the distances d to the centroids: mean(d) - d where positive ("triangle"), -d or -d²."""

    features: Literal["triangle", "distance", "square"] = "distance"
    examples: Whole = 1000


@dataclass(frozen=True)
class LandmarkSettings:
    """``landmarks`` k-means centroids of ``examples``, of which the ``nearest`` describe an example."""

    landmarks: Whole = 256
    nearest: Whole = 5
    examples: Whole = 4000


@dataclass(frozen=True)
class DiscriminantSettings:
    """k-means ``clusters`` of ``examples``; ``floor`` · mean variance is added to all variances within them."""

    clusters: Whole = 100
    floor: NotNegative = 0.1
    examples: Whole = 4000


@dataclass(frozen=True)
class DescentSettings:
    """``steps`` of Adam."""

    steps: Whole = 400
    learning_rate: NotNegative = 1e-2


@dataclass(frozen=True)
class AutoencoderSettings(DescentSettings):
    """Of batches whose inputs are dropped (set to 0) with probability ``dropped``."""

    dropped: NotNegative = 0.0
    likelihood: Likelihood = "bernoulli"
    code: Code = "linear"


@dataclass(frozen=True)
class VaeSettings(DescentSettings):
    """Of the evidence lower bound with ``beta`` times the divergence from the prior."""

    beta: NotNegative = 0.03
    likelihood: Likelihood = "bernoulli"
    code: ClassVar[Code] = "linear"


@dataclass(frozen=True)
class ContrastiveSettings(DescentSettings):
    """Of matching an example and its copy with a share ``corrupted`` of other examples' inputs."""

    corrupted: NotNegative = 0.3
    temperature: NotNegative = 0.3
    code: Code = "activation"


@dataclass(frozen=True)
class SupervisedSettings(DescentSettings):
    """Of the cross-entropy of the whole support set, whose inputs are dropped as by ``dropped``."""

    steps: Whole = 300
    weight_decay: NotNegative = 0.0
    dropped: NotNegative = 0.5
    code: Code = "activation"


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

METHODS: Registry[Any] = Registry(
    "method", object, {field.name: f"{__name__}:{type(field.default).__name__}" for field in fields(BaselineSettings)}
)
"""What the settings of each are checked by."""


def read_settings(path: str | Path) -> BaselineSettings:
    """The settings in the YAML file at ``path``: ``methods: NAME: settings: {KEY: VALUE}``; defaults elsewhere.

    Other keys of the file, such as the accuracies that chose the settings, are for people. Raises OSError if it cannot
    be read, and ValueError for unknown methods and keys and values of the wrong kind.
    """
    content = parse_yaml(Path(path).read_text(encoding="utf-8"), str(path))
    methods = content.get("methods") if isinstance(content, dict) else None
    if not isinstance(methods, dict):
        raise ValueError(f"{path}: expected a key 'methods' with settings by method")
    chosen = {}
    for name, entry in methods.items():
        if name not in TUNED:
            raise ValueError(f"{path}: unknown method {name!r}, expected {', '.join(TUNED)}{did_you_mean(name, TUNED)}")
        if not (isinstance(entry, dict) and isinstance(entry.get("settings"), dict)):
            raise ValueError(f"{path}: methods.{name}: expected a key 'settings'")
        try:
            chosen[name] = METHODS.make(name, {str(key): value for key, value in entry["settings"].items()})
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return BaselineSettings(**chosen)
