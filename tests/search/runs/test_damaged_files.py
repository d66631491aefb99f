"""Test that a damaged `trial.json` is rebuilt from the study, and that a lost trial is set aside with a reason."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.runs.run import STUDY, Run
from search.runs.study import opened_study
from tests.search.example_run import ExampleTrial, example_run
from trainers.folder import Folder

TRIALS = [ExampleTrial(0), ExampleTrial(1, TrialState.PRUNED), ExampleTrial(2)]


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return example_run(tmp_path / "run", sample_corpus_directory, TRIALS)


def damaged(run: Run, *numbers: int) -> Run:
    for number in numbers:
        text = run.trial_folder(number).read("trial.json")
        run.trial_folder(number).write("trial.json", text[: len(text) // 2])
    return Run(run.folder)


def test_a_damaged_trial_is_left_out_and_the_others_are_read(run: Run):
    found = damaged(run, 1)
    assert [trial.number for trial in found.trials()] == [0, 2]
    (note,) = found.notes
    assert note.startswith(f"Trial 1 is left out: {run.folder}/trials/00001/trial.json cannot be used: ")
    assert note.endswith("--resume rebuilds it from the study, or sets the trial aside.")


def test_a_damaged_trial_is_rebuilt_from_the_study(run: Run):
    before = run.trials()
    with opened_study(Run(run.folder), None):
        pass
    found = damaged(run, 1)
    with opened_study(found, None) as study:
        assert len(study.get_trials()) == 3
    after = Run(run.folder).trials()
    same = {"reason": None, "folder": None}
    assert [vars(trial) | same for trial in after] == [vars(trial) | same for trial in before]
    assert after[1].reason == "rebuilt from the study after its trial.json was damaged"
    assert run.trial_folder(1).exists("trial.json.damaged-1")
    assert any("The damaged file is now trial.json.damaged-1." in note for note in found.notes)


def test_a_trial_that_the_study_lacks_as_well_has_failed_and_its_number_is_not_used_again(run: Run):
    found = damaged(run, 0, 1)
    with opened_study(found, None) as study:
        assert [trial.state.name for trial in study.get_trials()] == ["FAIL", "FAIL", "COMPLETE"]
        assert study.ask().number == 3
    trial = Run(run.folder).trials()[1]
    assert (trial.state, trial.params, trial.rows != []) == ("FAIL", {}, True)
    assert trial.reason == "set aside: its trial.json was damaged, and the study does not have the trial"


@pytest.mark.parametrize("line", ["{", '{"op_code": 99}', "[]", '{"op_code": 4, "trial_id": 900, "worker_id": "a"}'])
@pytest.mark.parametrize("last", [False, True])
def test_a_damaged_journal_is_set_aside_and_rebuilt_from_the_trials_files(run: Run, line: str, last: bool):
    with opened_study(Run(run.folder), None) as study:
        before = [(trial.state, trial.params, trial.values) for trial in study.get_trials()]
    lines = run.folder.read(STUDY).decode().splitlines(keepends=True)
    place = len(lines) if last else 4
    run.folder.write(STUDY, "".join([*lines[:place], f"{line}\n", *lines[place:]]))
    found = Run(run.folder)
    with opened_study(found, None) as study:
        assert [(trial.state, trial.params, trial.values) for trial in study.get_trials()] == before
    (note,) = found.notes
    assert f"is now {STUDY}.damaged-1. The study was rebuilt from the trials' files." in note
    with opened_study(Run(run.folder), None) as study:
        assert len(study.get_trials()) == 3


def test_a_journal_of_another_run_is_set_aside(run: Run, tmp_path: Path, sample_corpus_directory: Path):
    other = example_run(tmp_path / "other" / "run", sample_corpus_directory, TRIALS, started="2026-02-03T04:05:06")
    with opened_study(other, None):
        pass
    run.folder.write(STUDY, other.folder.read(STUDY))
    found = Run(run.folder)
    with opened_study(found, None):
        assert "it belongs to another run" in next(iter(found.notes))


def test_a_damaged_row_loses_its_round_only(run: Run):
    folder: Folder = run.trial_folder(1)
    first, second, third = folder.read("rounds.jsonl").decode().splitlines()
    folder.write("rounds.jsonl", "\n".join([first, second.replace('"judged": 2', '"judged": NaN'), third, ""]))
    found = Run(run.folder)
    assert [row.round for row in found.trials()[1].rows] == [1, 3]
    (note,) = found.notes
    assert note == f"{folder}/rounds.jsonl, line 2: NaN is no JSON number. The round is left out."
    assert [number for trial, number in found.rounds_with_weights() if trial.number == 1] == [1, 3]
