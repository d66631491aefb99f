"""Make trials of earlier searches, and write them into Optuna studies."""

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

WIDE: dict[str, BaseDistribution] = {
    "schedule": CategoricalDistribution(["other", "interleaved", "cycle"]),
    "learning_rate": FloatDistribution(1e-6, 1),
    "batch_size": IntDistribution(1, 1000),
    "dropout": FloatDistribution(0, 1),
}
"""Distributions of the earlier searches: wider than the space of the tests allows."""
GOOD = {"schedule": "interleaved", "learning_rate": 1e-4, "batch_size": 8}
"""Parameters that the space of the tests allows."""


def earlier_trial(value: float | None = 0.5, state: TrialState = TrialState.COMPLETE, **params: Any) -> FrozenTrial:
    """Return a trial with the parameters `GOOD`, some of them changed; None removes a parameter."""
    given = GOOD | params
    kept = {name: value for name, value in given.items() if value is not None}
    distributions = {name: WIDE[name] for name in kept}
    return create_trial(
        state=state, value=value, params=kept, distributions=distributions, intermediate_values={1: 0.25, 2: 0.5}
    )


def write_study(
    url_or_path: str, *trials: FrozenTrial, name: str = "old", direction: StudyDirection = StudyDirection.MAXIMIZE
) -> str:
    """Write a study with trials into a database or a journal; return the URL or the path."""
    journal = "://" not in url_or_path
    storage = JournalStorage(JournalFileBackend(url_or_path)) if journal else url_or_path
    optuna.create_study(storage=storage, study_name=name, direction=direction).add_trials(trials)
    return url_or_path
