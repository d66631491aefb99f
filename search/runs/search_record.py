"""Read and write `search.json`: the settings of a run and facts about it.

`RequestedSettings` holds the settings of a command, before a run exists. `SearchRecord` holds the settings of a run,
with all defaults filled in, and facts such as versions. `Settings` holds the fields that both have.
"""

import json
from typing import Annotated, Any

from pydantic import Field

from model.errors import InputError, first_line
from model.files.json_text import parse_json
from search.runs.objectives import SCORE
from trainers.devices import Precision
from trainers.folder import Folder
from trainers.settings import Config, Count, parse_record, read_bounded

SEARCH = "search.json"
Positive = Annotated[int, Field(ge=1, le=10**9)]
STOPPING = ("asha", "hyperband")
"""The trial schedulers that stop weak trials early."""


class Reproduction(Config):
    """The options of `search.reproduce` that `search.launch` does not have; part of the settings of a reproduction."""

    recipes: tuple[str, ...] = ()
    """Names of recipes. If empty, `search.reproduce` fills in all recipes that have printed rows."""
    seeds: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Number of trainings of each config, with consecutive seeds."""
    set: tuple[str, ...] = ()
    """FIELD=VALUE changes of every recipe's config."""
    scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Factor by which the duration of every stage is multiplied."""
    trained_as: dict[str, str] = Field(default_factory=dict)
    """Name of a training -> name of the first training with an equal config, whose results both use."""


class Settings(Config):
    """The fields that requested settings and the record of a run share; the defaults are those of the command line."""

    data: str = "sample"
    rows: Positive | None = None
    """Training rows per task; None for all rows."""
    encoder: str = "minilm"
    seed: Count = 0
    study: str | None = None
    """URL of an Optuna storage, without its password; None for a journal file."""
    sampler: str = "tpe"
    trial_scheduler: str = "asha"
    objective: tuple[str, ...] = (SCORE,)
    warm_start: tuple[str, ...] = ()
    precision: Precision | None = None
    """None lets `search.launch` choose the fastest precision. None in a reproduction, where recipes state their own."""
    keep: Positive | None = None
    """Rounds of ended trials whose weights are kept, at most. A resumed run may get another number."""
    reproduction: Reproduction | None = None

    def flat(self, *, given: bool = False) -> dict[str, Any]:
        """Return the fields as plain data, with those of `reproduction` beside the others.

        Args:
            given: return only the fields that were set, without defaults.
        """
        fields = self.model_dump(mode="json", exclude_unset=given)
        return fields | (fields.pop("reproduction", None) or {})


class RequestedSettings(Settings):
    """The settings of a command, before the run starts. A setting that was not given has its default."""

    dev_rows: Positive | None = None
    """Maximum number of dev rows per task that score a round; None computes it from the training work."""


class SearchRecord(Settings):
    """The settings that a run was started with, and facts about it: the content of `search.json`."""

    dev_rows: Positive
    """Maximum number of dev rows per task that score a round."""
    name: str
    """Name of the run."""
    space: str
    """Path of the search space's file."""
    space_source: str
    """Content of the search space's file."""
    tasks: tuple[str, ...]
    """The scored tasks."""
    rounds: Positive | None
    """Rounds per trial; None if trials have different numbers of rounds."""
    passes: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Passes of every trial that were chosen for the time budget; None if the space decides."""
    fingerprint: str
    """Fingerprint of the corpus."""
    versions: dict[str, str]
    """Package -> version, at the start of the run."""
    started: str
    """Start of the run, in ISO 8601, UTC."""

    @property
    def stops_early(self) -> bool:
        """Whether trials may be stopped early. In a population, clones replace them instead."""
        return self.trial_scheduler in STOPPING and (self.rounds or 1) > 1

    @property
    def requested(self) -> RequestedSettings:
        """The settings without the facts; a command with these settings would start the same run."""
        return RequestedSettings(**self.model_dump(include={*RequestedSettings.model_fields}))


def write_search(folder: Folder, search: SearchRecord) -> None:
    """Write `search.json` into a run directory. The file is flat, without a level for `reproduction`."""
    fields = search.flat()
    if search.precision is None:
        del fields["precision"]
    folder.write_json(SEARCH, fields)


def read_search(folder: Folder) -> SearchRecord:
    """Read `search.json` from a run directory.

    Raises:
        InputError: the file is not JSON, or its fields are not those of a `SearchRecord`.
    """
    try:
        fields = parse_json(read_bounded(folder, SEARCH))
        if not isinstance(fields, dict):
            raise ValueError("it is no JSON object")
        reproduction = {name: fields.pop(name) for name in Reproduction.model_fields if name in fields}
        content = json.dumps(fields | ({"reproduction": reproduction} if reproduction else {}))
        return parse_record(content.encode(), SearchRecord)
    except FileNotFoundError:
        raise InputError(f"{folder}/{SEARCH} is missing. Pass the directory of a run.") from None
    except ValueError as error:
        raise InputError(
            f"{folder}/{SEARCH} was edited or written by another version of this project: {first_line(error)}. "
            "Use the version that started the run, or start a new run."
        ) from None
