"""A prepared run with a searcher that a test calls as Tune does, and with files as workers write them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from search.runs.run import Run
from search.runs.study import enqueue, opened_study
from search.suggest.space import Space, TrialShape, check_space, example_configs, load_space
from search.tune.searcher import StudySearcher
from search.tune.trials.order import TrialQueue
from tests.example_row import example_row
from tests.search.example_run import write_search
from tests.search.listener import RecordingListener
from trainers.training.rounds import RoundRow
from trainers.trial import ROUNDS

POINTS = [{"dropout": 0.125}, {"dropout": 0.25}]
SPACE = f"""
import optuna
from trainers.config import Stage, TrainConfig

START = {POINTS}

def suggest(trial):
    dropout = trial.suggest_float("dropout", 0, 0.5)
    if trial.number == 3:
        raise optuna.TrialPruned
    return TrainConfig(dropout=dropout, stages=(Stage(tasks=("sst",), steps=8, rounds=4),))
"""


@dataclass(frozen=True)
class Search:
    """A run, its space and the shape of its configs."""

    run: Run
    space: Space
    shape: TrialShape
    listener: RecordingListener = field(default_factory=RecordingListener)

    @contextmanager
    def session(
        self, *, trials: int = 20, spent: bool = False, shape: TrialShape | None = None
    ) -> Iterator[StudySearcher]:
        """Open the run as a driver does; at the end of the block nothing is closed, as if the driver were killed."""
        with opened_study(self.run, None) as study:
            enqueue(study, self.space.start)
            order = TrialQueue(self.space)
            yield StudySearcher(
                study,
                self.run,
                order,
                shape or self.shape,
                trials=trials,
                spent=lambda: spent,
                **self.listener.arguments,
            )

    def train(self, number: int, rounds: int, **last: Any) -> list[RoundRow]:
        """Write the files that a worker writes in its first rounds; return the rows."""
        folder = self.run.trial_folder(number)
        rows = []
        for round in range(1, rounds + 1):
            score = (number + round) % 4 / 4 + number / 100
            row = example_row(round, score=score, metrics={"sst": score})
            rows.append(replace(row, **last) if round == rounds else row)
            for name in ("weights.safetensors", "state.pt"):
                (folder / "checkpoints" / f"{round:05d}").write(name, b"")
            folder.append_json(ROUNDS, rows[-1].to_json())
        return rows

    def study_trials(self) -> list[FrozenTrial]:
        """Read the study from its file."""
        with opened_study(self.run, None) as study:
            return study.get_trials()


def searched_run(directory: Path, corpus: Path) -> Search:
    """Prepare a run in `directory` with the space SPACE."""
    (directory / "space.py").write_text(SPACE)
    run = write_search(directory / "run", corpus, tasks=("sst",), rounds=4)
    space = load_space(directory / "space.py")
    checked = check_space(space, example_configs(space), run.corpus())
    assert checked.shape
    return Search(run, checked.space, checked.shape)
