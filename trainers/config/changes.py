"""Settings that change in the course of a run: from which round on, which fields, to what."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field, JsonValue, PositiveInt

from trainers.config.dotted_paths import locate_field
from trainers.settings import Config

MAY_CHANGE = (
    *("dropout", "attention_dropout", "head_dropout"),
    *("smart", "bregman", "regularisers", "class_weights", "averaging.beta", "optimizer"),
    *("stages.*.learning_rate", "stages.*.batch_size"),
)
"""The fields that leave a run its model, tasks, stages and rounds; with all that is inside them."""


class Change(Config):
    """Other values of some fields, from the start of a round on."""

    round: PositiveInt = Field(description="Of the whole run, counted from 1.")
    values: dict[str, JsonValue] = Field(description="Dotted path of a field -> its value.")


def may_change(path: str) -> bool:
    """Whether a field may have another value in the middle of a run."""
    general = ".".join("*" if part.isdecimal() else part for part in path.split("."))
    return any(f"{general}.".startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def apply(changes: Iterable[Change], data: dict[str, Any]) -> None:
    """Write the values of changes, in their order, into a config's plain data.

    Raises:
        InputError: a field does not exist.
    """
    for change in changes:
        for path, value in change.values.items():
            place, key = locate_field(data, path, f"the changes of round {change.round}")
            place[key] = value
