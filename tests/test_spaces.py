"""Test the project's search spaces: all points are valid configs with comparable rounds."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from model.errors import InputError
from model.pretrained import Pretrained
from search.suggest.space import Space, check_space, example_configs, load_space, suggest_config
from trainers.config.parsing import parse_config
from trainers.config.task_checks import check_tasks
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.tasks import TASKS

PATHS = sorted((Path(__file__).parent.parent / "spaces").glob("*.py"))
POINTS = 50
CHANGED = 10
"""Number of points at which the test changes every parameter, one at a time."""

every_space = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def sample(pretrained: Pretrained, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Return the corpus of all sample rows, which is large enough for six steps per trial with the largest batches."""
    return Corpus.open(
        prepare("sample", pretrained.tokenizer, rows=None, seed=0, cache=tmp_path_factory.mktemp("s"))[0]
    )


def points(space: Space) -> list[tuple[optuna.trial.BaseTrial, TrainConfig]]:
    """Return random points of a space, and the points of its START."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    trials = [*(optuna.trial.FixedTrial(point) for point in space.start), *(study.ask() for _ in range(POINTS))]
    return [(trial, suggest_config(space, trial)) for trial in trials]


def another(distribution: BaseDistribution, value: Any) -> Any:
    """Return a value of a parameter far from its current value."""
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice != value)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low if value > (distribution.low + distribution.high) / 2 else distribution.high


@every_space
def test_every_point_of_a_space_is_a_valid_config_that_survives_json(path):
    for _, config in points(load_space(path)):
        assert parse_config(json.loads(config.model_dump_json())) == config
        check_tasks(config, TASKS)


@every_space
def test_a_parameter_is_suggested_only_if_it_changes_the_config(path):
    space = load_space(path)
    for trial, config in points(space)[-CHANGED:]:
        for name, distribution in trial.distributions.items():
            changed = optuna.trial.FixedTrial(trial.params | {name: another(distribution, trial.params[name])})
            with suppress(InputError):  # the changed value may need parameters that this trial lacks
                assert suggest_config(space, changed) != config, name


@every_space
def test_the_start_of_a_space_lies_in_the_space_and_all_configs_have_the_same_rounds(path, sample):
    space = load_space(path)
    if "torchjd" in path.stem:
        pytest.importorskip("quadprog", reason="the space needs the solvers of an optional extra")
    shape = check_space(space, example_configs(space), sample).shape
    assert shape
    assert space.start
    assert set(shape.tasks) == {"sst", "qqp", "sts"}
    assert shape.rounds == 6


def test_surgery_is_suggested_only_if_a_step_has_several_tasks():
    for name in ("surgery", "everything"):
        for trial, config in points(load_space(PATHS[0].with_name(f"{name}.py"))):
            several = config.stages[-1].batch_schedule not in ("shuffle", "annealed", "temperature")
            assert ("gradients" in trial.params) == several


def test_settings_of_regularisers_are_suggested_only_if_they_are_on():
    for trial, config in points(load_space(PATHS[0].with_name("everything.py"))):
        on = {"lambda_s": "smart", "mu": "bregman", "r_drop_weight": "r_drop"}
        for setting, switch in on.items():
            assert (setting in trial.params) == trial.params[switch]
        assert bool(config.bregman.mu) == trial.params["bregman"]
