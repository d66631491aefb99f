"""Test how the length of trials is chosen for a time budget."""

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FixedTrial

from model.errors import InputError
from search.launch.run_search import prepare_search
from search.runs.search_record import RequestedSettings
from search.session import trial_length
from search.session.prepare import Prepared
from search.session.trial_length import fit_to_budget, measured_pass_seconds, planned_passes
from search.suggest.space import Space, suggest_config
from search.tune.slots import Slots
from tests.conftest import ROWS
from tests.search.searching import SPACE
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
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


def test_the_speed_is_measured_by_training(corpus: Corpus, tiny_encoder: Path):
    last = plain().stages[0].replace(batch_size=1)
    quora_first = TrainConfig(encoder=str(tiny_encoder), stages=(last.replace(tasks=("qqp",), passes=99), last))
    for config in (plain().replace(encoder=str(tiny_encoder)), quora_first):
        assert 0 < measured_pass_seconds(config, corpus, SLOTS) < 600


def test_a_config_that_cannot_be_trained_is_an_error(corpus: Corpus, tmp_path: Path):
    with pytest.raises(InputError, match=r"The speed of training cannot be measured with .*nowhere"):
        measured_pass_seconds(plain().replace(encoder=str(tmp_path / "nowhere")), corpus, SLOTS)


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
    (line,) = [note for note in first.notes if "--time-budget decides" in note]
    assert "Each trial trains 3 passes" in line and "0.25 to 9 passes" in line
    resumed = prepare(text, resume=True, seconds=7.0)
    for prepared in (first, resumed):
        assert prepared.run.search.passes == 3.0
        (stage,) = suggest_config(prepared.checked.space, FixedTrial({"learning_rate": 1e-3})).stages
        assert stage.passes == 3.0
        assert prepared.checked.shape.examples == pytest.approx(3.0 * 3 * ROWS / 2, abs=24)


def test_a_budget_holds_five_whole_trials_or_all_members_of_a_population(prepare):
    # 2 slots of 100 s, of which evaluation takes a quarter, hold 10 members of 1.5 passes of 10 s.
    assert prepare(TEXT + "\nPASSES = (0.25, 9)\n", trial_scheduler="population").run.search.passes == 1.5


def test_many_slots_make_no_trial_longer_than_half_of_the_budget(corpus: Corpus, tiny_encoder: Path, monkeypatch):
    monkeypatch.setattr(trial_length, "measured_pass_seconds", lambda config, corpus, slots: 10.0)
    space = Space(Path("space.py"), "", lambda trial: plain(), [], budgeted=(0.25, 99))
    fitted, _ = fit_to_budget(space, plain(), corpus, 100.0, Slots(16, 1, 0))
    assert fitted.passes == 3.8  # of 50 s, of which evaluation takes a quarter


@pytest.mark.parametrize(("text", "seconds"), [(TEXT, 100.0), (TEXT + "\nPASSES = (1, 2)\n", None)])
def test_without_a_budget_or_a_range_the_space_decides(prepare, text: str, seconds: float | None):
    prepared = prepare(text, seconds=seconds)
    assert prepared.run.search.passes is None
    assert suggest_config(prepared.checked.space, FixedTrial({"learning_rate": 1e-3})).stages[0].passes == 0.5
