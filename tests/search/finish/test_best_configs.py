"""Test which configs of a searched run are trained again, and what the new run records about them."""

from pathlib import Path

import pytest
from optuna.trial import FixedTrial, TrialState

from model.errors import InputError
from search.finish.best_configs import SPACE, best_configs, recorded_configs
from search.finish.trainings import check_trainings, training_names
from search.runs.run import Run
from search.runs.search_record import write_search
from search.suggest.space import suggest_config
from tests.search.example_run import ExampleTrial
from tests.search.finish.searched_run import dropout_config, searched_run, set_config
from tests.search.recipe_runs import set_round
from trainers.trial import CONFIG

SCORES = {0: 0.5, 1: 0.6, 2: 0.9, 3: 0.7, 4: 0.8, 5: 0.99}
"""Trial -> the score of its first round; the later rounds score less."""
TRIALS = (
    ExampleTrial(0),
    ExampleTrial(1),
    ExampleTrial(2, TrialState.PRUNED, rounds=1, reason="stopped early"),
    ExampleTrial(3, TrialState.PRUNED, rounds=1, reason="stopped early"),
    ExampleTrial(4, TrialState.RUNNING, rounds=1),
    ExampleTrial(5, TrialState.FAIL, rounds=1, reason="the loss is not finite"),
    ExampleTrial(6, TrialState.PRUNED, rounds=0, reason="stopped early"),
)


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    """Return a run with two finished, three stopped, one unfinished and one failed trial."""
    run = searched_run(tmp_path, sample_corpus_directory, *TRIALS, seed=5)
    for number, score in SCORES.items():
        for row in run.trials()[number].rows:
            set_round(run, number, row.round, score - (row.round - 1) / 100)
    return Run(run.folder)


@pytest.mark.parametrize(
    ("top", "expected"), [(1, [1]), (2, [1, 0]), (3, [1, 0, 2]), (4, [1, 0, 2, 4]), (9, [1, 0, 2, 4, 3])]
)
def test_finished_trials_come_first_then_the_others_with_a_score_and_no_failed_one(run: Run, top: int, expected: list):
    found = best_configs(run, top, 1)
    assert list(found.configs) == expected
    assert all(config == dropout_config(number / 10, seed=5) for number, config in found.configs.items())


def test_equal_configs_are_trained_once_whatever_their_seed(run: Run):
    set_config(run, 0, dropout_config(0.1, seed=8))  # that of trial 1, which is better
    assert list(best_configs(run, 2, 1).configs) == [1, 2]


def test_a_trial_whose_config_is_damaged_is_left_out_with_a_note(run: Run):
    run.trial_folder(1).write(CONFIG, "{")
    assert list(best_configs(run, 2, 1).configs) == [0, 2]
    assert any(note.startswith("Trial 1 is left out: ") for note in run.notes)


@pytest.mark.parametrize(
    "trials",
    [
        (ExampleTrial(0, TrialState.FAIL, reason="not finite"),),
        (ExampleTrial(0, TrialState.PRUNED, rounds=0), ExampleTrial(1, TrialState.RUNNING, rounds=0)),
    ],
    ids=["failed", "without a round"],
)
def test_a_run_without_a_score_is_an_error(tmp_path: Path, sample_corpus_directory: Path, trials: tuple):
    run = searched_run(tmp_path, sample_corpus_directory, *trials)
    with pytest.raises(InputError, match=rf"'searched' has {len(trials)} trials, and none has a score .* Resume the"):
        best_configs(run, 3, 1)


def test_the_new_run_records_all_that_a_resume_needs(run: Run, tmp_path: Path):
    best = best_configs(run, 2, 2)
    assert best.run == "searched"
    checked = check_trainings(best, run.corpus())
    assert checked.shape and checked.shape.rounds == 2 and checked.tasks == ("sst", "qqp", "sts")
    write_search(run.folder, run.search.replace(space=str(SPACE), space_source=checked.space.source))
    assert recorded_configs(Run(run.folder)) == best


def test_each_training_is_a_point_of_the_space_with_a_name_and_a_config_of_its_own(run: Run):
    best = best_configs(run, 2, 2)
    space = check_trainings(best, run.corpus()).space
    points = [{"trial": number, "seed": seed} for seed in (5, 6) for number in (1, 0)]
    assert space.start == points
    names = [f"trial {point['trial']} of searched, seed {point['seed']}" for point in points]
    assert training_names(best) == dict(enumerate(names))
    for point in points:
        config = suggest_config(space, FixedTrial(point))
        assert config == dropout_config(point["trial"] / 10, seed=point["seed"])


def test_a_run_of_another_command_is_an_error(run: Run):
    with pytest.raises(InputError, match=r"'searched' exists, and search.finish did not start it. Pass another --name"):
        recorded_configs(run)


def test_configs_that_were_edited_are_an_error(run: Run):
    edited = best_configs(run, 1, 1).model_dump_json().replace('"top":1', '"top":0')
    write_search(run.folder, run.search.replace(space=str(SPACE), space_source=edited))
    with pytest.raises(InputError, match=r"search.json cannot be used: in `space_source`, field 'top'"):
        recorded_configs(Run(run.folder))
