"""Test the values in the study of a search, and that a study rebuilt from the trials' files is the same."""

from pathlib import Path

import pytest

from search.runs.objectives import last_round_values, round_values, study_directions, trial_values
from search.runs.run import STUDY, Run
from search.runs.study import opened_study
from tests.search.example_run import write_search
from tests.search.untrained import ROUND_COUNT, Untrained


def searched(place: Path, corpus: Path, objective: list[str], trials: int = 12) -> Run:
    """Search for objectives with trials that do not train."""
    run = write_search(place, corpus, tasks=("sst",), rounds=ROUND_COUNT, objective=objective)
    with opened_study(run, None) as study:
        Untrained(run, study, trials, live=3).train()
    return run


@pytest.mark.parametrize("objective", [["score", "seconds"], ["score", "seconds", "parameters"]])
def test_with_several_objectives_the_study_has_the_values_of_finished_trials_and_can_be_rebuilt(
    tmp_path, sample_corpus_directory, objective
):
    run = searched(tmp_path / "run", sample_corpus_directory, objective)
    trials = run.trials()
    assert {trial.state for trial in trials} == {"COMPLETE", "PRUNED"}
    with opened_study(run, None) as study:
        reported = study.get_trials()
    for trial, frozen in zip(trials, reported, strict=True):
        finished = trial.state == "COMPLETE"
        assert frozen.values == (trial.values if finished else None)
        assert trial.values == (trial_values if finished else last_round_values)(trial.rows, objective)
        assert frozen.intermediate_values == {}, "with several objectives, Optuna accepts no intermediate values"
    run.folder.delete(STUDY)
    with opened_study(Run(run.folder), None) as study:
        rebuilt = study.get_trials()
    for before, after in zip(reported, rebuilt, strict=True):
        assert (before.state, before.values, before.params) == (after.state, after.values, after.params)
        assert before.user_attrs == after.user_attrs


@pytest.mark.parametrize("name", ["sst", "seconds"])
def test_with_one_objective_the_study_has_the_value_of_that_objective_for_each_round(
    tmp_path, sample_corpus_directory, name
):
    run = searched(tmp_path / "run", sample_corpus_directory, [name], trials=4)
    with opened_study(run, None) as study:
        assert [direction.name.lower() for direction in study.directions] == study_directions([name])
        for trial, frozen in zip(run.trials(), study.get_trials(), strict=True):
            values = [(round_values(row, [name]) or (0,))[0] for row in trial.rows]
            assert list(frozen.intermediate_values.values()) == values
            assert [frozen.value] == trial.values
