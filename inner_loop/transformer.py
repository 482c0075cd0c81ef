"""A rule as a scikit-learn transformer: ``fit`` trains a base network without labels, ``transform`` embeds with it."""

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from common.allocator import keep_large_blocks
from common.expected import Taken, expected, take
from common.notice import notice
from common.scaling import Standardise, check_standardise, scaling
from common.torch_defaults import usual_defaults
from inner_loop.apply import StepsDone, apply_rule
from inner_loop.inner_settings import LEAST, InnerSettings, settings_of
from inner_loop.trained_network import EXAMPLES_AT_ONCE, TrainedNetwork, scaled, spread_of
from update_rules.contract import OF_SETS, UNLABELLED, Problem, Rule, State
from update_rules.registry import make_rule
from update_rules.rule_file import read_rule

BEST = "hebbian_winners"
"""The pretrained rule whose features are best."""

STATISTICS_EXAMPLES = 10_000
"""At most so many training examples, drawn at random, give the frozen batch-norm statistics."""

LONG_S = 600
"""Seconds of work that are announced also where nobody asked."""

FLOATS = [np.float64, np.float32]
"""Dtypes taken as they are; anything else becomes the first of them."""

Table = NDArray[np.floating]


class RuleFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features from a base network that an update rule trains on unlabelled examples.

    Parameters
    ----------
    rule : str, Path or Rule, default="hebbian_winners"
        A rule file, the name of a pretrained rule, or a rule.
    fresh : str or None, default=None
        The name of a rule before any meta-training, to be used instead of ``rule``.
    hidden : sequence of int or None, default=None
        Units of the hidden layers. In these five None is what the rule's file says, else the usual: (64, 64).
    outputs : int or None, default=None
        Units of the last layer, the number of features; 32.
    activation : str or None, default=None
        What the layers answer, a name in ``inner_loop.networks.activations.NETWORK_ACTIVATIONS``; "relu".
    steps : int or None, default=None
        Inner steps; 50.
    batch_size : int or None, default=None
        Examples in each inner step; all of them where there are fewer; 64.
    standardise : bool or "auto", default="auto"
        Whether each input column is brought to mean 0 and variance 1 first. Rules are meta-trained on images in [0, 1],
        which must stay as they are; other data should be standardised. "auto" does so unless the training data lie in
        [0, 1] and spread as pixels do, or are standardised already (``common.scaling``).
    trust : sequence of str, default=()
        Modules of your own whose code the rule file may ask for.
    random_state : int, RandomState instance or None, default=None
        Seeds the starting base network and the batches.

    Attributes
    ----------
    network_ : TrainedNetwork
        The trained base network, which ``inner_loop.network_file.save_network`` writes to a file.
    n_features_in_ : int
        Inputs seen in ``fit``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> x, _ = load_digits(return_X_y=True)
    >>> RuleFeatures(steps=5, random_state=0).fit_transform(x / 16).shape
    (1797, 32)
    """

    def __init__(
        self,
        rule: str | Path | Rule = BEST,
        *,
        fresh: str | None = None,
        hidden: Sequence[int] | None = None,
        outputs: int | None = None,
        activation: str | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        standardise: Standardise = "auto",
        trust: Sequence[str] = (),
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.rule = rule
        self.fresh = fresh
        self.hidden = hidden
        self.outputs = outputs
        self.activation = activation
        self.steps = steps
        self.batch_size = batch_size
        self.standardise = standardise
        self.trust = trust
        self.random_state = random_state

    @usual_defaults()
    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        progress: StepsDone | None = None,
        say: Callable[[str], object] | None = None,
    ) -> Self:
        """Train a base network on ``X`` [n, D], n >= 2; ``y`` is ignored and ``progress`` called after each inner step.

        What it will take is told to ``say`` first or, where it is None and LONG_S are expected, noticed.
        Raises ValueError for data or settings that cannot be used, when the rule makes the network non-finite, and when
        its features come out the same for all examples.
        """
        table = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2)
        keep_large_blocks()
        self._check_settings()
        rule, settings = self._rule()
        problem = Problem.of(settings.base_network(table.shape[1]), normalisation="unlabelled")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        x, (offset, scale) = _tensor(table), self._scaling(table)
        state = rule.init_state(problem, generator)
        taken = _trial(rule, problem, state, scaled(x[: settings.batch], offset, scale).float(), settings.steps, len(x))
        line = expected(f"{settings.steps} inner steps and the features", taken, x.device, "fewer inputs or units")
        if say is not None:
            say(line)
        elif taken.seconds > LONG_S:
            notice(line)
        batches = (
            scaled(x[torch.randperm(len(x), generator=generator)[: settings.batch]], offset, scale).float()
            for _ in range(settings.steps)
        )
        state = apply_rule(rule, problem, state, batches, steps=settings.steps, progress=progress)
        sample = x[torch.randperm(len(x), generator=generator)[:STATISTICS_EXAMPLES]]
        sample = scaled(sample, offset, scale)
        with torch.no_grad():
            statistics = rule.statistics(problem, state, sample.float())
        trained = TrainedNetwork(rule, problem, state, statistics, offset, scale, spread=spread_of(sample))
        trained.check_features(x)
        self.network_ = trained
        return self

    @usual_defaults()
    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """The features float32 [n, outputs] of ``X`` [n, D], each example's from that example alone."""
        check_is_fitted(self)
        return self.network_.embed(_tensor(validate_data(self, X, dtype=FLOATS, reset=False))).numpy()

    def _rule(self) -> tuple[Rule, InnerSettings]:
        """The rule and the settings that the parameters stand for."""
        header = None
        if self.fresh is not None:
            rule = make_rule(self.fresh)
        elif isinstance(self.rule, Rule):
            rule = self.rule
        else:
            rule, header = read_rule(self.rule, self.trust)
        if rule.gives in OF_SETS:
            raise ValueError(
                f"rule {rule.name} finds clusters, not features; use scripts/cluster.py, in Python LearnedClusterer or "
                "ChosenClusterer"
            )
        given = {name: getattr(self, name) for name in ("hidden", "outputs", "activation", "steps")}
        return rule, settings_of(header, given | {"batch": self.batch_size})

    def _check_settings(self) -> None:
        """Raise ValueError for settings that ``MLP`` does not check itself."""
        for name, setting in (("outputs", "outputs"), ("steps", "steps"), ("batch_size", "batch")):
            value, least = getattr(self, name), LEAST[setting]
            if value is not None and (not isinstance(value, Integral) or value < least):
                raise ValueError(f"got {name}={value!r}, expected a whole number of {least} or more")
        hidden = () if self.hidden is None else self.hidden
        if not isinstance(hidden, Iterable) or not all(isinstance(units, Integral) for units in hidden):
            raise ValueError(f"got hidden={self.hidden!r}, expected whole numbers of units")
        check_standardise(self.standardise)

    def _scaling(self, table: Table) -> tuple[Tensor, Tensor]:
        """What is subtracted from and divides the columns of ``table``, float64 [D] each. Raises ValueError."""
        low, high = table.min(0).astype(np.float64), table.max(0).astype(np.float64)
        offset, scale = scaling(table, self.standardise)
        largest = max(abs((low - offset) / scale).max(), abs((high - offset) / scale).max())
        if not largest <= np.finfo(np.float32).max:
            raise ValueError(f"X has values too large to work with in float32, up to {max(-low.min(), high.max()):g}")
        return torch.from_numpy(offset), torch.from_numpy(scale)

    @property
    def _n_features_out(self) -> int:
        """The number of features, for ``get_feature_names_out``."""
        return int(self.network_.problem.network.sizes[-1])

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _trial(rule: Rule, problem: Problem, state: State, batch: Tensor, steps: int, examples: int) -> Taken:
    """What ``steps`` inner steps and the features of so many ``examples`` will take, from one step on ``batch``."""
    if rule.consumes != (UNLABELLED,) or not steps:
        return Taken(0.0, 0.0)  # the first is refused, with its reason, when it is applied
    cpu, phase = torch.device("cpu"), rule.phases(steps)[0].name
    with torch.no_grad():
        step = take(lambda: rule.checked_step(problem, state, {UNLABELLED: batch}, phase), cpu)
        read = take(lambda: rule.features(problem, state, batch, rule.statistics(problem, state, batch)), cpu)
    at_once = min(examples, EXAMPLES_AT_ONCE) / len(batch)
    seconds = steps * step.seconds + 2 * read.seconds * examples / len(batch)  # features are read in float64
    return Taken(seconds, max(step.bytes, 2 * at_once * read.bytes))


def _tensor(table: Table) -> Tensor:
    """``table`` [n, D] as a tensor, which shares its memory unless it is read-only or runs backwards."""
    table = np.ascontiguousarray(table)
    return torch.from_numpy(table if table.flags.writeable else table.copy())
