"""Test warm starts: reading earlier searches, choosing usable trials, storing them in a run and sampling with them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
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
from search.suggest.earlier_searches import EarlierSearch, read_earlier_searches, without_password
from search.suggest.space import Space, load_space
from search.suggest.warm_start import WARM_START, warm_start_from, warm_trials
from search.suggest.wrapped_samplers import HistorySampler
from search.tune.searcher import StudySearcher
from search.tune.slots import Slots
from search.tune.trials.order import TrialQueue
from tests.conftest import ROWS
from tests.search.example_run import ExampleTrial, example_run, example_search
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
WIDE: dict[str, BaseDistribution] = {
    "schedule": CategoricalDistribution(["other", "interleaved", "cycle"]),
    "learning_rate": FloatDistribution(1e-6, 1),
    "batch_size": IntDistribution(1, 1000),
    "dropout": FloatDistribution(0, 1),
}
"""Distributions of the earlier searches: wider than the space allows."""
GOOD = {"schedule": "interleaved", "learning_rate": 1e-4, "batch_size": 8}


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.py").write_text(SPACE)
    return load_space(tmp_path / "space.py")


def old(value: float | None = 0.5, state: TrialState = TrialState.COMPLETE, **params: Any) -> FrozenTrial:
    given = GOOD | params
    kept = {name: value for name, value in given.items() if value is not None}
    distributions = {name: WIDE[name] for name in kept}
    return create_trial(
        state=state, value=value, params=kept, distributions=distributions, intermediate_values={1: 0.25, 2: 0.5}
    )


def source(*trials: FrozenTrial, search: SearchRecord | None = None, direction: str = "MAXIMIZE") -> EarlierSearch:
    return EarlierSearch("old", [StudyDirection[direction]], list(trials), search)


def write_study(
    url_or_path: str, *trials: FrozenTrial, name: str = "old", direction: StudyDirection = StudyDirection.MAXIMIZE
) -> str:
    journal = "://" not in url_or_path
    storage = JournalStorage(JournalFileBackend(url_or_path)) if journal else url_or_path
    optuna.create_study(storage=storage, study_name=name, direction=direction).add_trials(trials)
    return url_or_path


FITS: dict[str, tuple[FrozenTrial, dict[str, Any]]] = {
    "unchanged": (old(), GOOD),
    "at the ends of the ranges": (
        old(learning_rate=2e-5, batch_size=16),
        GOOD | {"learning_rate": 2e-5, "batch_size": 16},
    ),
    "with a parameter that the space lacks": (old(dropout=0.5), GOOD),
    "with a parameter of another branch": (old(schedule="cycle"), {"schedule": "cycle", "batch_size": 8}),
    "without a parameter of another branch": (
        old(schedule="cycle", learning_rate=None),
        {"schedule": "cycle", "batch_size": 8},
    ),
    "pruned": (old(state=TrialState.PRUNED), GOOD),
}


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
    stopped = old(None, TrialState.PRUNED)
    stopped.user_attrs[STOPPED_VALUES] = [0.5, 2.0]
    two = EarlierSearch("old", [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE], [stopped], None)
    run = Run(Folder.at(tmp_path / "run"))
    run.folder.write_json(
        WARM_START, warm_start_from([two], space, SEARCH.replace(objective=("score", "seconds"))).records
    )
    (read,) = warm_trials(run)
    assert (read.state, read.values, read.user_attrs) == (TrialState.PRUNED, None, {STOPPED_VALUES: [0.5, 2.0]})


MISFITS: dict[str, tuple[list[FrozenTrial], str]] = {
    "one lacks a parameter": ([old(batch_size=None)], "1 of 2 trials not used: 1 lacks 'batch_size'."),
    "two lack a parameter": ([old(batch_size=None)] * 2, "2 of 3 trials not used: 2 lack 'batch_size'."),
    "one value outside the range": (
        [old(learning_rate=0.1)],
        "1 of 2 trials not used: 1 has learning_rate 0.1 outside 2e-05 to 0.0005.",
    ),
    "between the steps": ([old(batch_size=9)], "1 has batch_size 9 outside 4 to 16."),
    "another choice": ([old(schedule="other")], "1 has schedule other outside cycle, interleaved."),
    "infeasible": ([old(batch_size=12)], "1 is infeasible by the space."),
    "without a value": ([old(None, TrialState.PRUNED)], "1 has no finite value."),
    "several reasons": (
        [old(learning_rate=0.1), old(learning_rate=0.2), old(learning_rate=0.3), old(batch_size=None)],
        "4 of 5 trials not used: 3 have learning_rate outside 2e-05 to 0.0005, 1 lacks 'batch_size'.",
    ),
}


@pytest.mark.parametrize(("trials", "expected"), MISFITS.values(), ids=MISFITS)
def test_unusable_trials_are_skipped_and_counted_by_reason(space: Space, trials, expected):
    warm = warm_start_from([source(*trials, old(learning_rate=3e-5))], space, SEARCH)
    assert [record["params"]["learning_rate"] for record in warm.records] == [3e-5]
    (note,) = warm.notes
    assert note.startswith("Warm start from old: 1 trials. ") and note.endswith(expected)


OTHER: dict[str, tuple[EarlierSearch, str]] = {
    "to be minimised": (
        source(old(), direction="MINIMIZE"),
        "its objectives are to minimize; this search's objectives are to maximize.",
    ),
    "two objectives": (
        EarlierSearch("old", [StudyDirection.MAXIMIZE] * 2, [], None),
        "are to maximize and maximize; this search",
    ),
    "other tasks": (
        source(old(), search=SEARCH.replace(tasks=("sst", "sts"))),
        "scored by the tasks sst and sts; this search uses sst. Pass a run with the same tasks.",
    ),
    "nothing finished": (source(), "--warm-start old: no trial has ended. Leave it out."),
    "nothing that fits": (source(old(schedule="other")), "1 of 1 trials not used: 1 has schedule other"),
}


@pytest.mark.parametrize(("other", "expected"), OTHER.values(), ids=OTHER)
def test_a_source_without_usable_values_is_an_error(space: Space, other: EarlierSearch, expected: str):
    with pytest.raises(InputError, match=r"--warm-start old") as raised:
        warm_start_from([source(old()), other], space, SEARCH)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


def test_values_from_other_data_are_used_with_a_warning(space: Space):
    same = warm_start_from([source(old(), search=SEARCH)], space, SEARCH)
    assert len(same.notes) == 1
    changed = SEARCH.replace(fingerprint="2", encoder="bert-base-uncased")
    other = warm_start_from([source(old(), search=changed)], space, SEARCH)
    assert other.records == same.records
    assert other.notes[1].startswith("Its values come from other data and another encoder: ")


def test_failed_and_running_trials_of_a_run_are_not_read(tmp_path: Path, sample_corpus_directory: Path):
    states = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE)
    trials = [ExampleTrial(number, state) for number, state in enumerate(states)]
    run = example_run(tmp_path / "first", sample_corpus_directory, trials)
    for given in ("first", str(tmp_path / "first"), f"file://{tmp_path}/first"):
        (read,) = read_earlier_searches([given, given], str(tmp_path))
        assert [trial.number for trial in read.trials] == [0, 3]
        assert [trial.params for trial in read.trials] == [run.trials()[number].params for number in (0, 3)]
        assert (read.directions, read.search) == ([StudyDirection.MAXIMIZE], run.search)


PLACES: dict[str, Callable[[Path], str]] = {
    "database": lambda place: f"sqlite:///{place}/study.db",
    "journal": lambda place: f"{place}/study.journal",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_study_is_found_by_its_storage_and_its_name_if_the_storage_holds_several(
    tmp_path: Path, place: Callable[[Path], str]
):
    given = write_study(place(tmp_path), old(0.25), old(None, TrialState.RUNNING))
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    (read,) = read_earlier_searches([given], "runs")
    assert ([trial.value for trial in read.trials], read.search) == ([0.25], None)
    assert [path.name for path in tmp_path.iterdir()] == [file.name] and file.read_bytes() == before
    write_study(given, old(0.75), name="new")
    with pytest.raises(InputError, match=r"holds 2 studies. Write .*#NAME: (old, new|new, old)\."):
        read_earlier_searches([given], "runs")
    assert [read_earlier_searches([f"{given}#{name}"], "runs")[0].trials[0].value for name in ("old", "new")] == [
        0.25,
        0.75,
    ]
    with pytest.raises(InputError, match="'nwe'; did you mean 'new'"):
        read_earlier_searches([f"{given}#nwe"], "runs")


def test_a_source_that_is_neither_run_nor_study_is_an_error_and_creates_no_file(tmp_path: Path):
    (tmp_path / "text").write_text("no journal\n")
    for given in ("nothing", f"sqlite:///{tmp_path}/no.db", f"{tmp_path}/text", "postgresql://me:secret@127.0.0.1:1/s"):
        with pytest.raises(InputError) as raised:
            read_earlier_searches([given], str(tmp_path))
        assert (
            without_password(given) in str(raised.value)
            and "secret" not in str(raised.value)
            and "\n" not in str(raised.value)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


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
    url = write_study(f"sqlite:///{tmp_path}/study.db", old(), old(batch_size=5), old(learning_rate=2e-4))
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
    url = write_study(f"sqlite:///{tmp_path}/study.db", old(), direction=StudyDirection.MINIMIZE)
    for given in (url, "nothing"):
        with pytest.raises(InputError):
            started(given)
    assert not (tmp_path / "runs").exists()


def drawn(prepared: Prepared, trials: int) -> tuple[list[dict[str, Any]], list[FrozenTrial]]:
    """Ask the searcher of a run for trials in one session; return their parameters, and the study's trials."""
    with opened_study(prepared.run, None) as study:
        enqueue(study, prepared.checked.space.start)
        space, shape = prepared.checked.space, prepared.checked.shape
        searcher = StudySearcher(study, prepared.run, TrialQueue(space), shape, trials=trials, spent=lambda: False)
        while (suggested := searcher.suggest("a")) != "FINISHED":
            if suggested:
                searcher.on_trial_complete("a", error=True)
        return [trial.params for trial in prepared.run.trials()], study.get_trials()


def test_warm_start_trials_take_no_trial_number_but_the_sampler_learns_from_them(tmp_path: Path, started):
    """In the old trials small rates are good; without the old trials the first ten draws would be random."""
    rates = [2e-5 * 1.18**step for step in range(19)]
    trials = [old(-rate, learning_rate=rate) for rate in rates]
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
        f"sqlite:///{tmp_path}/study.db", *[old(rate, learning_rate=rate) for rate in (3e-5, 1e-4, 4e-4)] * 4
    )
    whole, _ = drawn(first := started(url), 6)
    (first.run.folder.local or Path()).rename(tmp_path / "whole")
    started(url)
    for trials in (2, 3, 6):
        pieces, _ = drawn(started(resume=True), trials)
    assert pieces == whole


@pytest.mark.parametrize(
    "sampler", [TPESampler(seed=0), RandomSampler(seed=0), CmaEsSampler(seed=0, n_startup_trials=1)]
)
def test_a_wrapped_sampler_with_the_studys_own_trials_draws_the_same_values_as_unwrapped(sampler):
    def points(warm: bool) -> list[dict[str, float]]:
        own = (
            type(sampler)(seed=0) if not isinstance(sampler, CmaEsSampler) else CmaEsSampler(seed=0, n_startup_trials=1)
        )
        study = optuna.create_study(direction="maximize", sampler=own)
        for _ in range(12):
            if warm:
                study.sampler = HistorySampler(own, lambda study: study.get_trials(deepcopy=False))
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", 0, 1) - trial.suggest_float("y", 0, 1))
        return [trial.params for trial in study.get_trials()]

    assert points(True) == points(False)
