"""Changes of a config in the middle of a run: new values of some fields from a given round on."""

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
"""Fields that may change, with all fields inside them: the run keeps its model, tasks, stages and rounds."""


class Change(Config):
    """New values of some fields from the start of a round on."""

    round: PositiveInt = Field(description="First round with the new values, counted from 1 over the whole run.")
    values: dict[str, JsonValue] = Field(description="New values, by the dotted path of their field.")


def may_change(path: str) -> bool:
    """Return whether a field may change in the middle of a run."""
    general = ".".join("*" if part.isdecimal() else part for part in path.split("."))
    return any(f"{general}.".startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def apply(changes: Iterable[Change], data: dict[str, Any]) -> None:
    """Write the values of changes, in their order, into a config's plain data, in place.

    Raises:
        InputError: a field does not exist.
    """
    for change in changes:
        for path, value in change.values.items():
            container, key = locate_field(data, path, f"the changes of round {change.round}")
            container[key] = value
