"""The registry of all recipes by name: our own recipes, and the systems of the five reports."""

import itertools
from collections.abc import Callable

from model.errors import unknown
from trainers.config.train_config import TrainConfig
from trainers.recipes.contrasts import CONTRASTS
from trainers.recipes.joint import pcgrad, plain, smart
from trainers.recipes.reports import r000, r001, r002, r003, r004
from trainers.recipes.reports.printed_rows import Row
from trainers.recipes.systems import EnsembleOf, Group, Recipe

LISTED = "python -m search.reproduce --list shows all."
"""The end of an error about an unknown recipe: the command that lists all recipes."""

OURS: dict[str, Callable[[], TrainConfig]] = {"plain": plain, "smart": smart, "pcgrad": pcgrad}
REPORTS = (r000, r001, r002, r003, r004)
RECIPES: dict[str, Callable[[], Recipe]] = dict(
    itertools.chain(
        OURS.items(),
        *((report.RECIPES | report.UNSCORED).items() for report in REPORTS),
        CONTRASTS.items(),
    )
)
"""Name of a recipe -> the function that returns the recipe."""
ROWS: list[Row] = [row for report in REPORTS for row in report.ROWS]
"""All rows of scores that the reports print."""


def recipe(name: str) -> Recipe:
    """Return a recipe by its name, or one member of a group by NAME/MEMBER.

    Raises:
        InputError: there is no recipe or member of that name; names the nearest one.
    """
    system, slash, member = name.partition("/")
    if system not in RECIPES:
        raise unknown("recipe", name, RECIPES, listed=LISTED)
    found = RECIPES[system]()
    if not slash:
        return found
    if not isinstance(found, Group):
        raise unknown("recipe", name, RECIPES, listed=LISTED)
    if member not in found.members:
        raise unknown(f"member of {system}", member, found.members)
    return found.members[member]


def configs(name: str) -> dict[str, TrainConfig]:
    """Return all configs that a recipe trains, by the name of the recipe or of the group's member.

    Raises:
        InputError: there is no recipe of that name.
    """
    match recipe(name):
        case Group(members):
            return {f"{name}/{member}": config for member, config in members.items()}
        case EnsembleOf(members):
            return {part: config for member in members for part, config in configs(member).items()}
        case config:
            return {name: config}
