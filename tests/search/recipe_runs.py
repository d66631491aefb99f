"""Write run directories of recipes without training: each trial predicts the labels plus noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.trial import TrialState

from search.runs.run import Run
from search.runs.search_record import Reproduction
from search.runs.trial_record import TRIAL
from tests.conftest import small_config, small_stage
from tests.json_files import read_json
from tests.search.example_run import TASK_NAMES, ExampleTrial, write_search, write_trial
from trainers.recipes.registry import configs
from trainers.recipes.systems import EnsembleOf, Group, Recipe
from trainers.trial import ROUNDS, read_rows

SYSTEMS: dict[str, Recipe] = {
    "joint": small_config(),
    "other": small_config(dropout=0.2),
    "alias": small_config(),
    "group": Group({task: small_config(small_stage(tasks=(task,))) for task in TASK_NAMES}),
    "best": EnsembleOf(("joint", "group"), "single"),
    "voted": EnsembleOf(("joint", "group", "other"), "vote_median"),
}
"""Recipes that the fixture `systems` registers during a test."""


@dataclass(frozen=True)
class Training:
    """The description of an ended training to write as a trial."""

    recipe: str
    seed: int = 0
    tasks: tuple[str, ...] = TASK_NAMES
    reason: str = ""
    """Why the training failed; empty if it did not fail."""
    rounds: int = 3


GROUP = tuple(Training(f"group/{task}", tasks=(task,)) for task in TASK_NAMES)


def recipe_run(place: Path, corpus: Path, names: Sequence[str], trainings: Sequence[Training], **changed: Any) -> Run:
    """Write the run directory of a reproduction of recipes, with ended trials."""
    trained_as = {part: part for name in names for part in configs(name)}
    own: dict[str, Any] = {"recipes": tuple(names), "trained_as": trained_as}
    own |= {name: changed.pop(name) for name in Reproduction.model_fields if name in changed}
    run = write_search(place, corpus, **({"rounds": None, "reproduction": Reproduction(**own)} | changed))
    for number, training in enumerate(trainings):
        state = TrialState.FAIL if training.reason else TrialState.COMPLETE
        write_trial(run, ExampleTrial(number, state, training.rounds, tasks=training.tasks, reason=training.reason))
        record_training(run, number, training.recipe, training.seed)
    return run


def record_training(run: Run, number: int, recipe: str, seed: int) -> None:
    """Record a trial as the training of a recipe under a seed."""
    folder = run.trial_folder(number)
    params = {"recipe": recipe, "seed": seed}
    choices = {name: CategoricalDistribution([value]) for name, value in params.items()}
    distributions = {name: distribution_to_json(found) for name, found in choices.items()}
    folder.write_json(TRIAL, read_json(folder, TRIAL) | {"params": params, "distributions": distributions})


def set_round(run: Run, number: int, round: int, score: float, **metrics: float) -> None:
    """Change the score and metrics of a round by appending a row: the later of two rows of a round counts."""
    row = read_rows(run.trial_folder(number))[round - 1]
    run.trial_folder(number).append_json(ROUNDS, replace(row, score=score, metrics=row.metrics | metrics).to_json())
