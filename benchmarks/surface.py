"""Train a grid of configs once on real data, so that searches can be compared without training.

`python -m benchmarks.surface --data DIR` writes the table; it resumes an interrupted run.
"""

import itertools
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import optuna
import pandas
import typer

from search import options
from search.runs.run import Run
from search.runs.search_record import SEARCH, RequestedSettings
from search.session.prepare import Prepared, prepare_run, run_settings
from search.session.session import Machines, run_command, session
from search.suggest.space import CheckedSpace, Space
from search.tune.slots import Slots
from trainers.config.train_config import Stage, TrainConfig
from trainers.folder import Folder
from trainers.methods.smart import SmartConfig

TABLE = Path(__file__).with_suffix(".parquet")
NAME = "surface"
ROWS, DEV_ROWS, ENCODER = 300, 200, "minilm:4"
"""Small enough to train the whole grid in two to three hours on two cores, large enough to learn all three tasks."""
ROUNDS = 6
GRID: dict[str, list[Any]] = {
    "learning_rate": [6e-5, 1.2e-4, 2.5e-4, 5e-4, 1e-3],
    "pooling": ["pooled", "mean"],
    "batch_schedule": ["smart_round_robin", "shuffle"],
    "batch_size": [6, 16],
    "dropout": [0.0, 0.2],
    "lambda_s": [0.0, 3.0],
}
"""Parameter -> values. The learning rates span more than an order of magnitude; the others have two values each."""
COLUMNS = ["round", "score", "sst", "qqp", "sts", "examples", "tokens", "train_seconds", "eval_seconds"]


def suggest(trial: optuna.trial.BaseTrial) -> TrainConfig:
    """Suggest a point of the grid; return its config."""
    return config_of({name: trial.suggest_categorical(name, values) for name, values in GRID.items()})


def config_of(point: Mapping[str, Any]) -> TrainConfig:
    """Return the config at a point of the grid."""
    smart = SmartConfig(lambda_s=point["lambda_s"], every=4) if point["lambda_s"] else SmartConfig()
    stage = Stage(
        passes=1.5,
        rounds=ROUNDS,
        batch_schedule=point["batch_schedule"],
        batch_size=point["batch_size"],
        learning_rate=point["learning_rate"],
        trainable_layers=4,
    )
    dropouts = {"dropout": point["dropout"], "head_dropout": point["dropout"]}
    return TrainConfig(pooling=point["pooling"], smart=smart, **dropouts, stages=(stage,))


def points() -> list[dict[str, Any]]:
    """Return all points of the grid in a random order, so that the first points cover it evenly."""
    found = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    random.Random(0).shuffle(found)
    return found


def read_surface() -> pandas.DataFrame:
    """Read the table, which has one row per round of each point."""
    return pandas.read_parquet(TABLE)


def prepare(location: Folder, data: str, slots: Slots) -> Prepared:
    """Create or open the run that trains the grid."""
    requested = RequestedSettings(data=data, rows=ROWS, encoder=ENCODER, seed=0, dev_rows=DEV_ROWS)
    settings = run_settings(location, requested, resume=location.exists(SEARCH))
    space = Space(Path(__file__), repr(GRID), suggest, points(), {"encoder": ENCODER, "seed": 0})
    # Without a common shape of all trials, no trial is stopped early.
    checked = CheckedSpace(space, config_of(space.start[0]).tasks, None)
    return prepare_run(location, settings, [], lambda corpus: checked, slots.count, len(space.start))


def write_surface(run: Run) -> pandas.DataFrame:
    """Write the table of all complete trials; return it."""
    table = run.table().query("state == 'COMPLETE'").rename(columns=lambda name: name.removeprefix("params."))
    table = pandas.DataFrame(table, columns=["trial", *GRID, *COLUMNS]).reset_index(drop=True)
    table.to_parquet(TABLE, index=False)
    return table


def main(
    data: Annotated[str, typer.Option(help="A directory with the files of the course.")],
    storage: options.Storage = "runs",
    concurrency: options.Concurrency = None,
) -> None:
    """Train the points that are not complete yet and write the table."""
    with run_command("benchmarks.surface", storage, NAME, NAME) as location:
        machines = Machines(None, concurrency, 1.0, None)
        with session(location, machines, partial(prepare, location, data)) as opened:
            opened.train(len(points()))
            table = write_surface(opened.run)
    print(f"{TABLE}: {table['trial'].nunique()} of {len(points())} points, best {table['score'].max():.4f}")


if __name__ == "__main__":
    typer.run(main)
