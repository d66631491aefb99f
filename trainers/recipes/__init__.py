"""Systems with names, ours and the five reports': each a function that returns what it is."""

import itertools
from collections.abc import Callable

from model.errors import unknown
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig
from trainers.recipes.contrasts import CONTRASTS
from trainers.recipes.reports import r000, r001, r002, r003, r004
from trainers.recipes.reports.printed_rows import Row
from trainers.recipes.systems import EnsembleOf, Group, Recipe

LISTED = "python -m search.reproduce --list shows all."

JOINT = Stage(passes=1.5, rounds=6, batch_schedule="smart_round_robin", batch_size=8, learning_rate=2e-4)
"""Sentiment, paraphrase and similarity together; every row of every task once an epoch."""


def plain() -> TrainConfig:
    """Train the three tasks jointly, pairs concatenated, dropout as pretrained: neither regulariser nor surgery."""
    return TrainConfig(stages=(JOINT,))


def smart() -> TrainConfig:
    """Add SMART to `plain`, on every task, with a radius at which it bites: the papers' epsilon is inert."""
    return TrainConfig(stages=(JOINT,), smart=SmartConfig(lambda_s=1.0))


def pcgrad() -> TrainConfig:
    """Add PCGrad to `plain`."""
    return TrainConfig(stages=(JOINT.replace(surgery="pcgrad"),))


OURS: dict[str, Callable[[], TrainConfig]] = {"plain": plain, "smart": smart, "pcgrad": pcgrad}
REPORTS = (r000, r001, r002, r003, r004)
RECIPES: dict[str, Callable[[], Recipe]] = dict(
    itertools.chain(
        OURS.items(),
        *((report.RECIPES | report.UNSCORED).items() for report in REPORTS),
        CONTRASTS.items(),
    )
)
ROWS: list[Row] = [row for report in REPORTS for row in report.ROWS]
"""All that the reports print of their systems."""


def recipe(name: str) -> Recipe:
    """Return a named system, or one training of a group: NAME/MEMBER.

    Raises:
        InputError: there is none of that name; says which is nearest.
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
    """Return every training that a named system needs: recipe's or member's name -> config.

    Raises:
        InputError: there is no system of that name.
    """
    match recipe(name):
        case Group(members):
            return {f"{name}/{member}": config for member, config in members.items()}
        case EnsembleOf(members):
            return {part: config for member in members for part, config in configs(member).items()}
        case config:
            return {name: config}
