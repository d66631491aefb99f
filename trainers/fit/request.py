"""A record of the command line of a single run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """The argument and the options of `python -m trainers.fit`."""

    recipe: str
    """The name of a recipe, or the path of a JSON file with a config."""
    data: str
    rows: int | None
    """Training rows of each task; None for all."""
    encoder: str | None
    """None for the recipe's."""
    values: list[str]
    """FIELD=VALUE, changes of the config."""
    out: Path | None
    """The directory of the run; None to derive it from the recipe and the time."""
    seed: int | None
    """None for the recipe's."""
    dev_rows: int | None
    """The largest number of dev rows per task on which a round is scored; None for the default of all trainings."""
    resume: bool
