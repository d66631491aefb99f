"""Read and write `search.json`: the settings of a run, and facts about it."""

from typing import Any

import pydantic

from model.errors import InputError, first_line
from search.runs.objectives import SCORE
from trainers.devices import Precision
from trainers.folder import Folder
from trainers.settings import Config

SEARCH = "search.json"


class Reproduction(Config):
    """The settings that only `search.reproduce` has."""

    recipes: tuple[str, ...] = ()
    """Names of recipes; as a default, `search.reproduce` fills in all recipes that have printed rows."""
    seeds: int = 1
    """Number of trainings of each config, with consecutive seeds."""
    set: tuple[str, ...] = ()
    """FIELD=VALUE, applied to every recipe's config."""
    scale: float = 1.0
    """Factor of every stage's duration."""
    trained_as: dict[str, str] = pydantic.Field(default_factory=dict)
    """Name of a training -> name of the first training with the same config, which is trained for both."""


class Settings(Config):
    """The settings that users choose with options of the command line; the defaults are the options'."""

    data: str = "sample"
    rows: int | None = None
    """Training rows per task; None for all."""
    encoder: str = "minilm"
    seed: int = 0
    study: str | None = None
    """URL of an Optuna storage, without its password; None for a journal file."""
    sampler: str = "tpe"
    trial_scheduler: str = "asha"
    objective: tuple[str, ...] = (SCORE,)
    warm_start: tuple[str, ...] = ()
    precision: Precision | None = None
    """None where `search.launch` fills in the fastest precision, and in a reproduction: its recipes state theirs."""
    reproduction: Reproduction | None = None

    def flat(self, *, given: bool = False) -> dict[str, Any]:
        """Return the fields as plain data, with those of `reproduction` beside the others.

        Args:
            given: return only the fields that were set, without defaults.
        """
        fields = self.model_dump(mode="json", exclude_unset=given)
        return fields | (fields.pop("reproduction", None) or {})


class RequestedSettings(Settings):
    """The settings that a command was called with."""

    dev_rows: int | None = None
    """At most this many dev rows per task are used to score a round; None to compute it from the training work."""


class SearchRecord(Settings):
    """The content of `search.json`. The file is flat: the fields of `reproduction` stand beside the others."""

    dev_rows: int
    """At most this many dev rows per task are used to score a round."""
    name: str
    """Of the run."""
    space: str
    """Path of the search space's file."""
    space_source: str
    tasks: tuple[str, ...]
    """The scored tasks."""
    rounds: int | None
    """Rounds per trial; None if trials differ."""
    fingerprint: str
    """Of the corpus."""
    versions: dict[str, str]
    """Package -> version at the start of the run."""
    started: str
    """Time at the start of the run, in ISO 8601, UTC."""

    @property
    def requested(self) -> RequestedSettings:
        """The settings alone."""
        return RequestedSettings(**{name: getattr(self, name) for name in RequestedSettings.model_fields})


def write_search(folder: Folder, search: SearchRecord) -> None:
    """Write `search.json` into a run directory."""
    optional = {} if search.precision else {"precision"}
    folder.write_json(SEARCH, {name: value for name, value in search.flat().items() if name not in optional})


def read_search(folder: Folder) -> SearchRecord:
    """Read `search.json` from a run directory.

    Raises:
        InputError: the file has unknown fields, lacks some, or is no JSON.
    """
    try:
        fields = folder.read_json(SEARCH)
        reproduction = {name: fields.pop(name) for name in Reproduction.model_fields if name in fields}
        return SearchRecord.model_validate(fields | ({"reproduction": reproduction} if reproduction else {}))
    except (ValueError, TypeError, AttributeError) as error:  # no JSON, not an object, or other fields than ours
        raise InputError(
            f"{folder}/{SEARCH} was written by another version of this project, or changed: {_fault(error)}. "
            "Use the version that started the run, or start a new run."
        ) from None


def _fault(error: Exception) -> str:
    if not isinstance(error, pydantic.ValidationError):
        return first_line(error)
    first = error.errors()[0]
    return f"field {'.'.join(map(str, first['loc']))!r}: {first['msg']}"
