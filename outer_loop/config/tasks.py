"""The settings of what a rule learns to learn from: data, sizes, and where labels come from."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from common.checked import Chance, Count, Whole, not_expected
from outer_loop.config.values import (
    Component,
    CountOrRange,
    Counts,
    Lax,
    Options,
    Section,
    Sources,
    Text,
    Texts,
    component_name,
    expected_by,
    number_as,
    yaml_true,
)
from tasks.augmentations import parse_augmentation
from tasks.labellers.contract import Labeller
from tasks.labellers.registry import DEFAULT, LABELLERS
from tasks.views import SWAPPABLE


def _augmentation(value: str) -> str:
    """``value`` without blanks around it, if it is what ``parse_augmentation`` reads."""
    try:
        parse_augmentation(value)
    except ValueError as error:
        raise not_expected(expected_by(error)) from None
    return value.strip()


def _without_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """``names``, if they are views that go with an episode and hold no labels."""
    if wrong := [name for name in names if name not in SWAPPABLE]:
        raise not_expected(f"of {', '.join(SWAPPABLE)}, not {', '.join(wrong)}")
    return names


class LabellerConfig(Component):
    """Where the labels of tasks come from."""

    registry = LABELLERS
    name: Annotated[Text, BeforeValidator(yaml_true)] = component_name(DEFAULT, LABELLERS)
    options: Options = Field(default={}, description="keyword arguments of the labeller's class")

    def make(self) -> Labeller:
        """The labeller. Raises ValueError for options that it refuses."""
        return LABELLERS.make(self.name, self.options)

    def _try_out(self) -> None:
        self.make()


class TasksConfig(Section):
    """What the rule learns to learn from."""

    sources: Sources = Field(
        default=("glyphs@train",),
        description="data SOURCEs that tasks are drawn from, equally often; one may come twice",
    )
    leave_out: Texts = Field(default=(), description="tables of a collection never to train on, by name")
    size: Counts = Field(default=(14,), description="images are resized to size × size pixels; a list of choices")
    detail: Annotated[tuple[Count, ...], Lax, number_as(1)] = Field(
        default=(), description="also as images of so many pixels a side, enlarged again: smoother; a list of choices"
    )
    inputs: CountOrRange | None = Field(
        default=None, description="[fewest, most] inputs a task keeps, chosen at random; null keeps all"
    )
    ways: CountOrRange = Field(
        default=(10, 10), description="classes in a task; a number, or [fewest, most] of what the data has"
    )
    shots: CountOrRange = Field(
        default=(10, 10), description="labelled examples of each class for the readout; a number or [fewest, most]"
    )
    queries: Count = Field(default=10, description="examples of each class that the readout is judged on")
    batch: CountOrRange = Field(
        default=(64, 64), description="unlabelled examples in an inner step; a number or [fewest, most]"
    )
    standardise: Literal["auto"] | bool = Field(
        default="auto",
        description="whether columns of tables are brought to mean 0 and variance 1: auto (unless they are on such a "
        "scale), true or false",
    )
    permute: bool = Field(default=True, description="whether each task has a random order of the inputs")
    labeller: LabellerConfig = LabellerConfig()
    transductive: bool = Field(
        default=True,
        description="whether unlabelled batches may hold, without labels, queries of the episode that judges",
    )
    points: CountOrRange | None = Field(
        default=None,
        description="examples of a data set in a task that is a whole set to be clustered, with no labelled ones; a "
        "number or [fewest, most]; null is few-shot",
    )
    untold: Chance = Field(default=0.0, description="share of whole sets whose number of clusters the rule is not told")
    unlabelled_shots: Whole = Field(
        default=0, description="examples of each class in a set without labels, for rules that look at one"
    )
    distractors: Whole = Field(default=0, description="other classes in that set, of as many examples each")
    swapped: Annotated[Texts, AfterValidator(_without_labels)] = Field(
        default=(), description="views without labels that come from another task, as a control"
    )
    redraw: Annotated[Text, AfterValidator(_augmentation)] = Field(
        default="identity", description="what changes an image of the training each time that it is drawn, or identity"
    )

    def _misfits(self) -> Iterable[tuple[str, str]]:
        for key in ("ways", "batch"):
            if min(getattr(self, key)) < 2:
                yield key, "2 or more"
