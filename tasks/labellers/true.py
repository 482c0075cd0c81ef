"""The labels that the data have."""

from tasks.labellers.contract import Labeller


class TrueLabels(Labeller):
    """The classes of the data set are those of its tasks."""

    settings = "true"
