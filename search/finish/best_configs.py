"""Choose the best configs of a searched run; read those that a run of `search.finish` trains."""

from pathlib import Path

from optuna.trial import TrialState

from model.errors import InputError, first_line
from search.finish.length import in_passes
from search.runs.run import Run
from search.runs.search_record import SEARCH, Positive
from search.runs.trial_record import Trial
from trainers.config.train_config import TrainConfig
from trainers.settings import Config, Count, Number, parse_record
from trainers.trial import read_config

SPACE = Path("search/finish/best_configs.py")
"""The path that `search.json` records as the space of a run that trains the best configs of another run."""


class BestConfigs(Config):
    """The best configs of a searched run. As JSON it is the `space_source` of the run that trains them."""

    run: str
    """Name of the searched run."""
    configs: dict[Number, TrainConfig]
    """Number of a trial in the searched run -> its config, with a duration in passes; the best trial first."""
    top: Positive
    """The number of configs that was requested; the searched run may have had fewer."""
    seed: Count
    """The first seed."""
    seeds: Positive
    """The number of trainings of each config, with consecutive seeds."""

    @property
    def trainings(self) -> list[tuple[int, int]]:
        """The trainings in their order: (number of the trial in the searched run, seed)."""
        return [(number, seed) for seed in range(self.seed, self.seed + self.seeds) for number in self.configs]


def best_configs(run: Run, top: int, seeds: int) -> BestConfigs:
    """Choose the configs of a run's best trials: by score, the finished ones first, each config once.

    A trial whose config cannot be read is left out, with a note in the run.

    Args:
        top: the largest number of configs.
        seeds: the number of trainings of each config.

    Raises:
        InputError: `search.reproduce` made the run, or it has no trial with a score and a config.
    """
    if run.search.reproduction:
        raise InputError(
            f"Run {run.folder.name!r} is a reproduction of the reports, not a search. Pass a run of search.launch."
        )
    scored = [trial for trial in run.trials() if trial.scores and trial.state != TrialState.FAIL.name]
    corpus, configs = run.corpus(), dict[int, TrainConfig]()
    for trial in sorted(scored, key=lambda trial: (trial.state != TrialState.COMPLETE.name, -_score(trial))):
        if len(configs) == top:
            break
        try:
            config = in_passes(read_config(trial.folder), corpus).replace(seed=run.search.seed)
        except InputError as error:
            run.note(f"Trial {trial.number} is left out: {error}")
            continue
        if config not in configs.values():
            configs[trial.number] = config
    if not configs:
        notes = "".join(f" {note}" for note in run.notes)
        raise InputError(
            f"Run {run.folder.name!r} has {len(run.trials())} trials, and none has a score and a config that can be "
            f"trained.{notes} Resume the search until a trial has finished a round, or pass another run."
        )
    return BestConfigs(run=run.folder.name, configs=configs, top=top, seed=run.search.seed, seeds=seeds)


def recorded_configs(run: Run) -> BestConfigs:
    """Read the configs that a run of `search.finish` trains.

    Raises:
        InputError: another command started the run, or its `search.json` was edited.
    """
    if run.search.space != str(SPACE):
        raise InputError(f"Run {run.folder.name!r} exists, and search.finish did not start it. Pass another --name.")
    try:
        return parse_record(run.search.space_source.encode(), BestConfigs)
    except ValueError as error:
        raise InputError(
            f"{run.folder}/{SEARCH} cannot be used: in `space_source`, {first_line(error)}. Restore the file, or start "
            "a run under another --name."
        ) from None


def _score(trial: Trial) -> float:
    return max(trial.scores.values())
