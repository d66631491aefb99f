"""Write run directories of searches without training, and call the command on them."""

from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from search.finish.__main__ import app
from search.runs.run import Run
from tests.conftest import small_config, small_stage
from tests.search.example_run import ExampleTrial, example_run
from trainers.config.train_config import TrainConfig
from trainers.trial import CONFIG

SEARCHED = "searched"
"""The name of the searched run."""


def dropout_config(dropout: float = 0.1, **changes: Any) -> TrainConfig:
    """Return a config of one stage of two passes."""
    return small_config(small_stage(passes=2.0), dropout=dropout, **changes)


def set_config(run: Run, number: int, config: TrainConfig) -> None:
    """Change the config of a trial."""
    run.trial_folder(number).write(CONFIG, config.model_dump_json())


def searched_run(place: Path, corpus: Path, *trials: ExampleTrial, **changed: Any) -> Run:
    """Write a run with trials whose configs differ in the dropout."""
    run = example_run(place / SEARCHED, corpus, trials or None, **changed)
    for trial in run.trials():
        set_config(run, trial.number, dropout_config(trial.number / 10))
    return Run(run.folder)


def finish(storage: Path, *arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["--storage", str(storage), *map(str, arguments)])
