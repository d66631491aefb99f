"""Test warm starts: choosing usable trials of earlier searches, storing them in a run, and sampling with them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from model.errors import InputError
from search import options
from search.launch.run_search import prepare_search
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import STUDY, Run
from search.runs.search_record import RequestedSettings, SearchRecord
from search.runs.study import enqueue, opened_study
from search.runs.trial_record import STOPPED_VALUES
from search.session.prepare import Prepared
from search.suggest.earlier_searches import EarlierSearch, read_earlier_searches
from search.suggest.space import Space, load_space
from search.suggest.warm_start import WARM_START, warm_start_from, warm_trials
from search.tune.searcher import StudySearcher
from search.tune.slots import Slots
from search.tune.trials.order import TrialQueue
from tests.conftest import ROWS
from tests.search.example_run import example_search
from tests.search.listener import RecordingListener
from tests.search.suggest.earlier_trials import GOOD, WIDE, earlier_trial, write_study
from trainers.folder import Folder

SPACE = """
import optuna
from trainers.config import Stage, TrainConfig

START = [{"schedule": "cycle", "batch_size": 8}]

def suggest(trial):
    if trial.suggest_categorical("schedule", ["cycle", "interleaved"]) == "interleaved":
        trial.suggest_float("learning_rate", 2e-5, 5e-4, log=True)
    size = trial.suggest_int("batch_size", 4, 16, step=4)
    if size == 12:
        raise optuna.TrialPruned
    return TrainConfig(stages=(Stage(tasks=("sst",), steps=2, batch_size=8),))
"""
SEARCH = example_search(tasks=("sst",), fingerprint="1", encoder="tiny", rounds=2)


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.py").write_text(SPACE)
    return load_space(tmp_path / "space.py")


def source(*trials: FrozenTrial, search: SearchRecord | None = None, direction: str = "MAXIMIZE") -> EarlierSearch:
    return EarlierSearch("old", [StudyDirection[direction]], list(trials), search)


FITS: dict[str, tuple[FrozenTrial, dict[str, Any]]] = {
    "unchanged": (earlier_trial(), GOOD),
    "at the ends of the ranges": (
        earlier_trial(learning_rate=2e-5, batch_size=16),
        GOOD | {"learning_rate": 2e-5, "batch_size": 16},
    ),
    "with a parameter that the space lacks": (earlier_trial(dropout=0.5), GOOD),
    "with a parameter of another branch": (earlier_trial(schedule="cycle"), {"schedule": "cycle", "batch_size": 8}),
    "without a parameter of another branch": (
        earlier_trial(schedule="cycle", learning_rate=None),
        {"schedule": "cycle", "batch_size": 8},
    ),
    "pruned": (earlier_trial(state=TrialState.PRUNED), GOOD),
}


def test_a_trial_with_a_choice_that_no_storage_keeps_is_not_used_with_the_reason(space: Space):
    hidden = optuna.distributions.CategoricalDistribution(["[1]"])
    hidden.choices = ([1], float("nan"), "\ud800")  # pyright: ignore[reportAttributeAccessIssue]  as an old study has it
    for value, shown in (([1], "[1]"), (float("nan"), "nan"), ("\ud800", "\\ud800")):
        params, distributions = (
            {"schedule": value, "batch_size": 8},
            {"schedule": hidden, "batch_size": WIDE["batch_size"]},
        )
        trial = create_trial(value=0.5, params=params, distributions=distributions)
        warm = warm_start_from([source(trial, earlier_trial())], space, SEARCH)
        reason = f"1 of 2 trials not used: 1 has schedule {shown} outside cycle, interleaved."
        assert warm.notes == [f"Warm start from old: 1 trials. {reason}"]


@pytest.mark.parametrize(("trial", "params"), FITS.values(), ids=FITS)
def test_a_usable_trial_keeps_exactly_the_parameters_of_the_space(space: Space, tmp_path: Path, trial, params):
    warm = warm_start_from([source(trial)], space, SEARCH)
    early = ", 1 of them stopped early" if trial.state == TrialState.PRUNED else ""
    assert warm.notes == [f"Warm start from old: 1 trials{early}."]
    run = Run(Folder.at(tmp_path / "run"))
    assert warm_trials(run) == []
    run.folder.write_json(WARM_START, warm.records)
    (read,) = warm_trials(run)
    assert (read.params, read.state, read.value) == (params, trial.state, 0.5)
    assert read.intermediate_values == {1: 0.25, 2: 0.5}
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(params)
    space.suggest(fresh := study.ask())
    assert read.distributions == fresh.distributions, "a sampler must see the same distributions"


def test_with_several_objectives_a_stopped_trial_keeps_its_last_values(space: Space, tmp_path: Path):
    stopped = earlier_trial(None, TrialState.PRUNED)
    stopped.user_attrs[STOPPED_VALUES] = [0.5, 2.0]
    two = EarlierSearch("old", [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE], [stopped], None)
    run = Run(Folder.at(tmp_path / "run"))
    run.folder.write_json(
        WARM_START, warm_start_from([two], space, SEARCH.replace(objective=("score", "seconds"))).records
    )
    (read,) = warm_trials(run)
    assert (read.state, read.values, read.user_attrs) == (TrialState.PRUNED, None, {STOPPED_VALUES: [0.5, 2.0]})


MISFITS: dict[str, tuple[list[FrozenTrial], str]] = {
    "one lacks a parameter": ([earlier_trial(batch_size=None)], "1 of 2 trials not used: 1 lacks 'batch_size'."),
    "two lack a parameter": ([earlier_trial(batch_size=None)] * 2, "2 of 3 trials not used: 2 lack 'batch_size'."),
    "one value outside the range": (
        [earlier_trial(learning_rate=0.1)],
        "1 of 2 trials not used: 1 has learning_rate 0.1 outside 2e-05 to 0.0005.",
    ),
    "between the steps": ([earlier_trial(batch_size=9)], "1 has batch_size 9 outside 4 to 16."),
    "another choice": ([earlier_trial(schedule="other")], "1 has schedule other outside cycle, interleaved."),
    "infeasible": ([earlier_trial(batch_size=12)], "1 is infeasible by the space."),
    "without a value": ([earlier_trial(None, TrialState.PRUNED)], "1 has no finite value."),
    "several reasons": (
        [*(earlier_trial(learning_rate=rate) for rate in (0.1, 0.2, 0.3)), earlier_trial(batch_size=None)],
        "4 of 5 trials not used: 3 have learning_rate outside 2e-05 to 0.0005, 1 lacks 'batch_size'.",
    ),
}


@pytest.mark.parametrize(("trials", "expected"), MISFITS.values(), ids=MISFITS)
def test_unusable_trials_are_skipped_and_counted_by_reason(space: Space, trials, expected):
    warm = warm_start_from([source(*trials, earlier_trial(learning_rate=3e-5))], space, SEARCH)
    assert [record["params"]["learning_rate"] for record in warm.records] == [3e-5]
    (note,) = warm.notes
    assert note.startswith("Warm start from old: 1 trials. ") and note.endswith(expected)


OTHER: dict[str, tuple[EarlierSearch, str]] = {
    "to be minimised": (
        source(earlier_trial(), direction="MINIMIZE"),
        "its objectives are to minimize; this search's objectives are to maximize.",
    ),
    "two objectives": (
        EarlierSearch("old", [StudyDirection.MAXIMIZE] * 2, [], None),
        "are to maximize and maximize; this search",
    ),
    "other tasks": (
        source(earlier_trial(), search=SEARCH.replace(tasks=("sst", "sts"))),
        "scored by the tasks sst and sts; this search uses sst. Pass a run with the same tasks.",
    ),
    "nothing finished": (source(), "--warm-start old: no trial has ended. Leave it out."),
    "nothing that fits": (source(earlier_trial(schedule="other")), "1 of 1 trials not used: 1 has schedule other"),
}


@pytest.mark.parametrize(("other", "expected"), OTHER.values(), ids=OTHER)
def test_a_source_without_usable_values_is_an_error(space: Space, other: EarlierSearch, expected: str):
    with pytest.raises(InputError, match=r"--warm-start old") as raised:
        warm_start_from([source(earlier_trial()), other], space, SEARCH)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


def test_values_from_other_data_are_used_with_a_warning(space: Space):
    same = warm_start_from([source(earlier_trial(), search=SEARCH)], space, SEARCH)
    assert len(same.notes) == 1
    changed = SEARCH.replace(fingerprint="2", encoder="bert-base-uncased", passes=2.0)
    other = warm_start_from([source(earlier_trial(), search=changed)], space, SEARCH)
    assert other.records == same.records
    assert other.notes[1].startswith("Its values come from other data, another encoder and another number of passes: ")


@pytest.fixture
def started(
    tmp_path: Path, tiny_encoder: Path, user_cache: Path, space: Space, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Prepared]:
    """Return a function that prepares the run "second" with the given warm-start sources, or resumes it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))

    def prepared(*given: str, resume: bool = False) -> Prepared:
        new = {} if resume else {"encoder": str(tiny_encoder), "rows": ROWS}
        requested = RequestedSettings(**options.given(warm_start=given or None, **new))
        place = Folder.at(tmp_path / "runs" / "second")
        earlier = partial(read_earlier_searches, given, str(tmp_path))
        return prepare_search(place, space.path, requested, resume, Slots(1, 1, 0), earlier=earlier)

    return prepared


def test_a_run_stores_its_warm_start_trials_and_a_resumed_run_needs_no_source(tmp_path: Path, started):
    trials = [earlier_trial(), earlier_trial(batch_size=5), earlier_trial(learning_rate=2e-4)]
    url = write_study(f"sqlite:///{tmp_path}/study.db", *trials)
    first = started(url)
    assert [note for note in first.notes if note.startswith(f"Warm start from {url}: 2 trials. 1 of 3 trials not")]
    before = warm_trials(first.run)
    assert [trial.params["learning_rate"] for trial in before] == [1e-4, 2e-4]
    assert first.run.search.warm_start == (url,)
    (tmp_path / "study.db").unlink()
    again = started(url, resume=True)
    assert warm_trials(again.run) == before and [trial.number for trial in before] == [-2, -1]
    with pytest.raises(InputError, match="was made with --warm-start"):
        started("first", resume=True)


def test_an_unusable_source_leaves_no_run_directory(tmp_path: Path, started):
    url = write_study(f"sqlite:///{tmp_path}/study.db", earlier_trial(), direction=StudyDirection.MINIMIZE)
    for given in (url, "nothing"):
        with pytest.raises(InputError):
            started(given)
    assert not (tmp_path / "runs").exists()


def drawn(prepared: Prepared, trials: int) -> tuple[list[dict[str, Any]], list[FrozenTrial]]:
    """Ask the searcher of a run for trials in one session; return their parameters, and the study's trials."""
    with opened_study(prepared.run, None) as study:
        enqueue(study, prepared.checked.space.start)
        space, shape = prepared.checked.space, prepared.checked.shape
        searcher = StudySearcher(
            study,
            prepared.run,
            TrialQueue(space),
            shape,
            trials=trials,
            spent=lambda: False,
            **RecordingListener().arguments,
        )
        while (suggested := searcher.suggest("a")) != "FINISHED":
            if suggested:
                searcher.on_trial_complete("a", error=True)
        return [trial.params for trial in prepared.run.trials()], study.get_trials()


def test_warm_start_trials_take_no_trial_number_but_the_sampler_learns_from_them(tmp_path: Path, started):
    """Use earlier trials in which small learning rates are good; without them the first ten draws would be random."""
    rates = [2e-5 * 1.18**step for step in range(19)]
    trials = [earlier_trial(-rate, learning_rate=rate) for rate in rates]
    warm = started(write_study(f"sqlite:///{tmp_path}/study.db", *trials))
    params, study = drawn(warm, 9)
    assert [trial.number for trial in study] == list(range(9)) == [trial.number for trial in warm.run.trials()]
    assert params[0] == {"schedule": "cycle", "batch_size": 8}, "START comes first"
    tried = [point["learning_rate"] for point in params if "learning_rate" in point]
    assert len(tried) >= 5 and sum(rate < 1e-4 for rate in tried) > 0.75 * len(tried)
    warm.run.folder.delete(STUDY)
    assert len(rebuild_study(warm.run).get_trials()) == 9
    assert not {str(point) for point in params} & {str(trial.params) for trial in trials}


def test_a_warm_started_search_with_the_same_seed_does_not_repeat_the_points_of_the_earlier_search(
    tmp_path: Path, started
):
    cold, study = drawn(first := started(), 8)
    ended = [create_trial(value=0.5, params=trial.params, distributions=trial.distributions) for trial in study]
    (first.run.folder.local or Path()).rename(tmp_path / "first")
    warm, _ = drawn(started(write_study(f"sqlite:///{tmp_path}/study.db", *ended)), 8)
    before, after = (
        {point["learning_rate"] for point in points if "learning_rate" in point} for points in (cold, warm)
    )
    assert before and after and not before & after


def test_a_warm_started_search_in_several_sessions_draws_the_same_values_as_in_one_session(tmp_path, started):
    url = write_study(
        f"sqlite:///{tmp_path}/study.db", *[earlier_trial(rate, learning_rate=rate) for rate in (3e-5, 1e-4, 4e-4)] * 4
    )
    whole, _ = drawn(first := started(url), 6)
    (first.run.folder.local or Path()).rename(tmp_path / "whole")
    started(url)
    for trials in (2, 3, 6):
        pieces, _ = drawn(started(resume=True), trials)
    assert pieces == whole
