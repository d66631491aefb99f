"""Test how the length of trials is chosen for a time budget."""

import errno
import multiprocessing
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from optuna.trial import FixedTrial

from model.errors import InputError
from search.launch.request import TRIALS, Request
from search.launch.run_search import prepare_search, trial_limit
from search.runs.search_record import RequestedSettings
from search.session import trial_length
from search.session.prepare import Prepared
from search.session.trial_length import (
    fit_to_budget,
    measured_pass_seconds,
    pass_seconds,
    planned_line,
    planned_passes,
)
from search.suggest.space import Space, suggest_config
from search.tune.slots import Slots
from tests.conftest import ROWS
from tests.search.searching import SPACE
from trainers.config.changes import Change
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.faults import MachineError, fault_of
from trainers.folder import Folder
from trainers.recipes.joint import plain

SLOTS = Slots(2, 1, 0)
TEXT = SPACE.replace("rounds=4", "rounds=2")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (400, 3.0),  # evaluation takes a quarter
        (40, 0.5),
        (4000, 4.0),
    ],
)
def test_a_trial_takes_the_passes_for_its_time_within_the_range_of_the_space(seconds: float, expected: float):
    assert planned_passes((0.5, 4), pass_seconds=100, trial_seconds=seconds) == expected


@pytest.mark.parametrize(
    ("passes", "seconds", "said", "unsaid"),
    [
        (2.0, 400.0, ["trains 2 passes", "about 0:04:27."], ["space allows", "No trial"]),  # 100 s a pass, and a third
        (0.5, 60.0, ["decides, the fewest that the space allows.", "No trial will finish in the time budget"], []),
        (4.0, 9e3, ["decides, the most that the space allows."], ["No trial"]),
    ],
)
def test_a_line_tells_the_length_and_what_to_do_if_no_trial_can_finish(
    passes: float, seconds: float, said: list[str], unsaid: list[str]
):
    line = planned_line((0.5, 4.0), passes, 100.0, seconds)
    assert all(text in line for text in said)
    assert not any(text in line for text in unsaid)


def test_the_seconds_of_a_pass_are_those_of_the_rows_after_the_steps_of_warming_up(corpus: Corpus, monkeypatch):
    config = plain()
    monkeypatch.setattr(trial_length, "read_pretrained", lambda encoder: None)

    def training(short: TrainConfig, *given: Any, **named: Any) -> list[Any]:
        (stage,) = short.stages
        assert (stage.steps, stage.rounds, stage.passes) == (40, 2, None)
        return [SimpleNamespace(examples=100, train_seconds=50.0), SimpleNamespace(examples=180, train_seconds=4.0)]

    monkeypatch.setattr(trial_length, "Training", training)
    rows = 3 * ROWS  # three tasks; 80 rows take 4 s
    assert pass_seconds(config, corpus, "cpu") == pytest.approx(rows / 20)


def test_the_speed_of_a_config_that_changes_after_more_rounds_than_are_measured_is_measured(
    corpus: Corpus, tiny_encoder: Path
):
    stage = plain().stages[0].replace(rounds=4)
    change = Change(round=3, values={"stages.0.learning_rate": 1e-3})
    config = plain().replace(encoder=str(tiny_encoder), stages=(stage,), changes=(change,))
    assert pass_seconds(config, corpus, "cpu") > 0


def test_the_speed_is_measured_by_training_in_as_many_processes_as_slots(corpus: Corpus, tiny_encoder: Path):
    config = plain().replace(encoder=str(tiny_encoder))
    started = time.perf_counter()
    one = measured_pass_seconds(config, corpus, Slots(1, 1, 0))
    assert 0 < one < time.perf_counter() - started  # the corpus is smaller than the rows of 40 steps
    assert measured_pass_seconds(config, corpus, SLOTS) > 0
    assert not multiprocessing.active_children()


def test_a_config_that_cannot_be_trained_is_an_error(corpus: Corpus, tmp_path: Path):
    with pytest.raises(InputError, match=r"The speed of training cannot be measured: .*nowhere"):
        measured_pass_seconds(plain().replace(encoder=str(tmp_path / "nowhere")), corpus, SLOTS)
    assert not multiprocessing.active_children()


def _end(*arguments: Any) -> None:
    os._exit(1)


def _full_disk(sender: Any, *arguments: Any) -> None:
    sender.send(fault_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


@pytest.mark.parametrize(("measure", "fault"), [(_end, "has ended; perhaps the memory"), (_full_disk, "No space left")])
def test_a_fault_of_the_machine_is_not_blamed_on_the_config(corpus: Corpus, monkeypatch, measure: Any, fault: str):
    monkeypatch.setattr(trial_length, "_measure", measure)
    with pytest.raises(MachineError, match=fault):
        measured_pass_seconds(plain(), corpus, SLOTS)


@pytest.fixture
def prepare(tmp_path: Path, tiny_encoder: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that prepares a search with a time budget of 100 s, in which a pass takes 10 s."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    monkeypatch.setattr(trial_length, "measured_pass_seconds", lambda config, corpus, slots: 10.0)

    def call(text: str, *, resume: bool = False, seconds: float | None = 100.0, **changed: Any) -> Prepared:
        (tmp_path / "space.py").write_text(text)
        settings = RequestedSettings(encoder=str(tiny_encoder), rows=ROWS, **changed)
        location = Folder.at(tmp_path / "run")
        return prepare_search(location, tmp_path / "space.py", settings, resume, SLOTS, trials=10, seconds=seconds)

    return call


def test_all_trials_of_a_run_and_of_its_resume_train_the_chosen_passes(prepare):
    text = TEXT + "\nPASSES = (0.25, 9)\n"
    first = prepare(text)
    assert any(
        note.startswith("Each trial trains 2.5 passes over the rows, as --time-budget decides") for note in first.notes
    )
    resumed = prepare(text, resume=True, seconds=7.0)
    assert "Each trial trains 2.5 passes over the rows, as the run's first time budget decided." in resumed.notes
    for prepared in (first, resumed):
        assert prepared.run.search.passes == 2.5
        (stage,) = suggest_config(prepared.checked.space, FixedTrial({"learning_rate": 1e-3})).stages
        assert stage.passes == 2.5
        assert prepared.checked.shape.examples == pytest.approx(2.5 * 3 * ROWS / 2, abs=24)


def test_a_budget_holds_six_whole_trials_or_all_members_of_a_population(prepare):
    # 2 slots of 100 s, of which evaluation takes a quarter, hold 10 members of 1.5 passes of 10 s.
    assert prepare(TEXT + "\nPASSES = (0.25, 9)\n", trial_scheduler="population").run.search.passes == 1.5


def test_many_slots_make_no_trial_longer_than_half_of_the_budget(corpus: Corpus, tiny_encoder: Path, monkeypatch):
    monkeypatch.setattr(trial_length, "measured_pass_seconds", lambda config, corpus, slots: 10.0)
    space = Space(Path("space.py"), "", lambda trial: plain(), [], pass_range=(0.25, 99))
    fitted, _ = fit_to_budget(space, plain(), corpus, 100.0, Slots(16, 1, 0))
    assert fitted.passes == 3.8  # of 50 s, of which evaluation takes a quarter


@pytest.mark.parametrize(("text", "seconds"), [(TEXT, 100.0), (TEXT + "\nPASSES = (1, 2)\n", None)])
def test_without_a_budget_or_a_range_the_space_decides(prepare, text: str, seconds: float | None):
    prepared = prepare(text, seconds=seconds)
    assert prepared.run.search.passes is None
    assert suggest_config(prepared.checked.space, FixedTrial({"learning_rate": 1e-3})).stages[0].passes == 0.5


def test_a_range_of_passes_needs_configs_of_one_stage(prepare):
    two = TEXT.replace("stages=(stage,)", "stages=(stage, stage)") + "\nPASSES = (1, 2)\n"
    with pytest.raises(InputError, match="PASSES needs configs of one stage, and a config has 2"):
        prepare(two)


@pytest.mark.parametrize(
    ("trials", "time_budget", "scheduler", "expected"),
    [
        (7, "1h", None, 7),
        (None, None, None, TRIALS),
        (None, "1h", None, None),
        (None, "1h", "population", TRIALS),  # its number of members
    ],
)
def test_only_the_time_limits_a_search_with_a_time_budget(
    tmp_path: Path, trials: int | None, time_budget: str | None, scheduler: str | None, expected: int | None
):
    request = SimpleNamespace(trials=trials, time_budget=time_budget, settings={"trial_scheduler": scheduler})
    assert trial_limit(cast(Request, request), Folder.at(tmp_path / "run")) == expected
