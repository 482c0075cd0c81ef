"""The recipes by name, and which of them brings a data set."""

from importlib import import_module

from common.names import did_you_mean
from tasks.data.recipes.contract import Recipe

RECIPES = {
    "mnist": "tasks.data.recipes.mnist",
    "fashion_mnist": "tasks.data.recipes.fashion_mnist",
    "omniglot": "tasks.data.recipes.omniglot",
    "cifar10": "tasks.data.recipes.cifar10",
    "strokes": "tasks.data.recipes.strokes",
    "icons": "tasks.data.recipes.icons",
    "glyphs_latin": "tasks.data.recipes.glyphs_latin",
    "tables": "tasks.data.recipes.tables",
}
"""Name -> the module whose RECIPE it is, imported when it is asked for."""

BROUGHT_BESIDE = {"omniglot_oneshot": "omniglot"}
"""Data sets that come with a recipe of another name."""


def find_recipe(name: str) -> Recipe:
    """The recipe called ``name``. Raises ValueError, naming what there is, for any other."""
    if name not in RECIPES:
        raise ValueError(f"got data set {name!r}, expected one of {', '.join(RECIPES)}{did_you_mean(name, RECIPES)}")
    recipe = import_module(RECIPES[name]).RECIPE
    assert isinstance(recipe, Recipe)
    return recipe


def recipe_that_brings(data_set: str) -> str | None:
    """The name of the recipe that makes ``data_set``, None where there is none."""
    return data_set if data_set in RECIPES else BROUGHT_BESIDE.get(data_set)
