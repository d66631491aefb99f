"""Objectives by hand: what rounds and trials are worth, and what a search for several of them leaves behind."""

from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from search.report.page import render
from search.runs.objectives import (
    check_objectives,
    last_round_values,
    round_values,
    study_directions,
    trial_values,
    values_to_maximize,
)
from search.runs.pareto import pareto_front
from search.runs.run import STUDY, Run
from search.runs.study import opened_study
from tests.example_row import example_row
from tests.search.example_run import ExampleTrial, example_run, write_search
from tests.search.untrained import ROUND_COUNT, Untrained
from trainers.training.rounds import RoundRow

SEVERAL = ["score", "seconds", "parameters"]
TWO = ["score", "seconds"]


def row(score: float | None, seconds: float, **metrics: float) -> RoundRow:
    return example_row(score=score, train_seconds=seconds, parameters=7, metrics=metrics)


ROWS = [row(None, 9.0, sst=0.9), row(0.5, 1.0, sst=0.6), row(0.7, 3.0, sst=0.4), row(0.6, 5.0, sst=0.5)]


@pytest.mark.parametrize(
    ("names", "best", "last"),
    [
        (["score"], [0.7], [0.6]),
        (["sst"], [0.6], [0.5]),
        (["seconds"], [3.0], [5.0]),
        (["parameters"], [7], [7]),
        (SEVERAL, [0.7, 3.0, 7], [0.6, 5.0, 7]),
        (["sst", "seconds"], [0.4, 3.0], [0.5, 5.0]),
        (["qqp"], None, None),
        (["score", "qqp"], None, None),
    ],
)
def test_a_trial_is_worth_its_best_round_of_those_that_were_judged(names, best, last):
    assert trial_values(ROWS, names) == best
    assert last_round_values(ROWS, names) == last


def test_what_early_stopping_compares_grows_with_what_is_better():
    assert study_directions(SEVERAL) == ["maximize", "minimize", "minimize"]
    assert round_values(ROWS[1], SEVERAL) == (0.5, 1.0, 7)
    assert values_to_maximize(ROWS[1], SEVERAL) == (0.5, -1.0, -7)
    assert values_to_maximize(ROWS[0], ["seconds"]) is None, "a round that is not judged has no values"
    assert values_to_maximize(ROWS[1], ["sst", "qqp"]) is None


def test_unknown_and_doubled_objectives_are_refused():
    check_objectives(["score", "qqp", "parameters"], ["sst", "qqp"])
    with pytest.raises(InputError, match="Unknown objective 'secnds'; did you mean 'seconds'"):
        check_objectives(["secnds"], ["sst"])
    with pytest.raises(InputError, match="Unknown objective 'qqp'"):
        check_objectives(["qqp"], ["sst"])
    with pytest.raises(InputError, match="--objective score is given 2 times"):
        check_objectives(["score", "score"], ["sst"])


def searched(place: Path, corpus: Path, objective: list[str], trials: int = 12) -> Run:
    """Search for objectives with trials that do not train."""
    run = write_search(place, corpus, tasks=("sst",), rounds=ROUND_COUNT, objective=objective)
    with opened_study(run, None) as study:
        Untrained(run, study, trials, live=3).train()
    return run


@pytest.mark.parametrize("objective", [TWO, SEVERAL])
def test_a_search_for_several_objectives_tells_the_study_the_values_of_finished_trials(
    tmp_path, sample_corpus_directory, objective
):
    run = searched(tmp_path / "run", sample_corpus_directory, objective)
    trials = run.trials()
    assert {trial.state for trial in trials} == {"COMPLETE", "PRUNED"}
    with opened_study(run, None) as study:
        stored = study.get_trials()
    for trial, frozen in zip(trials, stored, strict=True):
        finished = trial.state == "COMPLETE"
        assert frozen.values == (trial.values if finished else None)
        assert trial.values == (trial_values if finished else last_round_values)(trial.rows, objective)
        assert frozen.intermediate_values == {}, "Optuna takes none of several objectives"
    run.folder.delete(STUDY)
    with opened_study(Run(run.folder), None) as study:
        rebuilt = study.get_trials()
    for before, after in zip(stored, rebuilt, strict=True):
        assert (before.state, before.values, before.params) == (after.state, after.values, after.params)
        assert before.user_attrs == after.user_attrs


@pytest.mark.parametrize("name", ["sst", "seconds"])
def test_a_search_for_one_objective_reports_it_and_not_the_score(tmp_path, sample_corpus_directory, name):
    run = searched(tmp_path / "run", sample_corpus_directory, [name], trials=4)
    with opened_study(run, None) as study:
        assert [direction.name.lower() for direction in study.directions] == study_directions([name])
        for trial, frozen in zip(run.trials(), study.get_trials(), strict=True):
            figures = [(round_values(row, [name]) or (0,))[0] for row in trial.rows]
            assert list(frozen.intermediate_values.values()) == figures
            assert [frozen.value] == trial.values


def front_of(run: Run) -> set[int]:
    finished = [trial for trial in run.trials() if trial.state == "COMPLETE"]
    values = np.array([trial.values for trial in finished]) * [
        1 if d == "maximize" else -1 for d in study_directions(run.objectives)
    ]
    return {trial.number for trial, kept in zip(finished, pareto_front(values), strict=True) if kept}


@pytest.mark.parametrize("objective", [TWO, SEVERAL, [*SEVERAL, "sst"]])
def test_the_report_lists_the_pareto_front(tmp_path, sample_corpus_directory, objective):
    trials = [ExampleTrial(0, skill=1.5), ExampleTrial(1, skill=1.2), ExampleTrial(2, rounds=1, skill=0.5)]
    run = example_run(tmp_path / "run", sample_corpus_directory, trials, objective=objective)
    for number, seconds in enumerate((3.0, 2.0, 4.0)):
        record = run.trial_folder(number).read_json("trial.json")
        values = {"score": 0.9 - 0.1 * number, "seconds": seconds, "parameters": 1000, "sst": 0.5}
        run.trial_folder(number).write_json("trial.json", record | {"values": [values[name] for name in objective]})
    assert front_of(run) == {0, 1}
    section = render(run).split('id="pareto-front"')[1].split("<h2")[0]
    cells = [line.split("</td>")[0].strip() for line in section.split("<tr>")[2:]]
    assert [cell.removeprefix("<td>") for cell in cells] == ["0", "1"]
    assert ('id="pareto"' in section) == (len(objective) <= 3)


def test_without_a_finished_trial_the_front_is_empty_in_words_and_one_objective_has_none(
    tmp_path, sample_corpus_directory
):
    run = example_run(tmp_path / "run", sample_corpus_directory, [], objective=TWO)
    assert "No trial has finished yet" in render(run)
    alone = example_run(tmp_path / "alone", sample_corpus_directory, [])
    assert "Pareto" not in render(alone)
