"""Check what a space asks of a trial: refuse values that the study's storage would change or cannot write."""

import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import BaseTrial

from model.errors import InputError
from search.runs.plain_values import PLAIN, is_json, is_plain, printable
from search.runs.trial_record import CLONE, STOPPED_VALUES

NAMED_CHOICES = "Name the choices and look them up: VALUES[trial.suggest_categorical(NAME, list(VALUES))]."
"""The remedy for choices that are lists, dicts or other objects."""


class SpaceTrial:
    """Pass what a space asks for to a trial, after a check that a study's storage keeps it unchanged.

    A study in memory keeps any Python object, but a storage writes JSON: it returns a tuple as a list, and cannot write
    a NumPy number.
    """

    def __init__(self, trial: BaseTrial, path: Path):
        """Take the trial, and the path of the space file for errors."""
        self._trial, self._path = trial, path

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the choices.

        Raises:
            InputError: the name is no text, or a choice is no plain value.
        """
        self._check_name("parameter", name)
        for choice in choices:
            check_stored(self._path, f"parameter {name!r} has the choice", choice, NAMED_CHOICES)
        return self._trial.suggest_categorical(name, choices)

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> float:
        """Suggest a number; see `optuna.Trial.suggest_float`.

        Raises:
            InputError: the name is no text, or an end of the range is not finite.
        """
        low, high = self._ends(name, low, high)
        return self._trial.suggest_float(name, low, high, **_python_values(options))

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> int:
        """Suggest an integer; see `optuna.Trial.suggest_int`.

        Raises:
            InputError: the name is no text, or an end of the range is not finite.
        """
        low, high = self._ends(name, low, high)
        return self._trial.suggest_int(name, low, high, **_python_values(options))

    def set_user_attr(self, key: str, value: Any) -> None:
        """Set a user attribute of the trial.

        Raises:
            InputError: the key is no text, the search itself uses it, or JSON cannot hold the value.
        """
        self._check_name("user attribute", key)
        if key in (CLONE, STOPPED_VALUES):
            raise InputError(f"{self._path}: the search itself uses the user attribute {key!r}. Rename yours.")
        if not is_json(value):
            raise InputError(
                f"{self._path}: user attribute {key!r} is {_shown(value)}, but a study stores only {PLAIN}, and lists "
                f"and dicts of them. {_numpy_remedy(value) or 'Store its text, str(...).'}"
            )
        self._trial.set_user_attr(key, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def _ends(self, name: str, low: Any, high: Any) -> tuple[Any, Any]:
        """Return the ends of a range as numbers of Python."""
        self._check_name("parameter", name)
        low, high = _python_value(low), _python_value(high)
        if not (is_plain(low) and is_plain(high)):
            raise InputError(
                f"{self._path}: parameter {name!r} is between {low} and {high}. Give finite ends of at most 64 bits."
            )
        return low, high

    def _check_name(self, what: str, name: object) -> None:
        if not isinstance(name, str) or not is_plain(name):
            raise InputError(f"{self._path}: the name of a {what} is {_shown(name)}. Write it in valid Unicode text.")


def check_stored(path: Path, where: str, value: object, remedy: str) -> None:
    """Check a choice of a parameter or a value of a START point.

    Args:
        path: the space file.
        where: the words before the value in the error.
        remedy: the sentence after the fault, for all values but NumPy's.

    Raises:
        InputError: a study's storage would change the value or cannot write it.
    """
    if not is_plain(value):
        raise InputError(
            f"{path}: {where} {_shown(value)}, but a study stores only {PLAIN}. {_numpy_remedy(value) or remedy}"
        )


def _shown(value: object) -> str:
    """Return a value in short with its type, such as "(0.5,) (tuple)"."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{printable(reprlib.repr(value))} ({module}{kind.__name__})"


def _numpy_remedy(value: object) -> str:
    return "Turn a NumPy number into a number of Python with .item()." if isinstance(value, np.generic) else ""


def _python_values(options: dict[str, Any]) -> dict[str, Any]:
    """Return the step and the flag of a range as values of Python: the storage writes them as they are."""
    return {name: _python_value(value) for name, value in options.items()}


def _python_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
