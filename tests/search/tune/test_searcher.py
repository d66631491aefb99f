"""Test the searcher on a real study and real files; the test calls it as Tune does."""

import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from search.runs.run import STUDY
from search.runs.trial_record import end_trial
from search.suggest.space import load_space
from search.tune.searcher import StudySearcher
from tests.search.example_run import write_search
from tests.search.tune.searched_run import POINTS, Search
from trainers.config.train_config import TrainConfig


def params(suggested: dict[str, Any]) -> float:
    return TrainConfig.model_validate_json(suggested["train"]).dropout


@dataclass(frozen=True)
class Ending:
    """A way in which Tune ends a trial of three rounds, and the state, value and reason that the study must have."""

    state: str
    value: float | None
    reason: str
    last: dict[str, Any] = field(default_factory=dict)

    @property
    def has_result(self) -> bool:
        """Whether Tune passes the last row. It passes none if the trial was interrupted."""
        return self.state != "RUNNING"


ENDINGS = {
    "finished": Ending("COMPLETE", 0.75, "finished", {"last": True}),
    "finished worse than before": Ending("COMPLETE", 0.5, "finished", {"last": True, "score": 0.1}),
    "stopped": Ending("PRUNED", 0.75, "stopped early after round 3"),
    "stopped when worse than before": Ending("PRUNED", 0.1, "stopped early after round 3", {"score": 0.1}),
    "not finite": Ending("FAIL", None, "loss or weights were not finite in round 3", {"finite": False, "score": None}),
    "not finite at last": Ending(
        "FAIL", None, "loss or weights were not finite in round 3", {"finite": False, "score": None, "last": True}
    ),
    "interrupted": Ending("RUNNING", None, ""),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_every_ending_has_its_state_value_and_reason_in_the_study_and_in_the_files(search: Search, ending: Ending):
    with search.session() as searcher:
        searcher.suggest("a")
        *rows, last = search.train(0, 3, **ending.last)
        for row in rows:
            searcher.on_trial_result("a", row.to_json())
        searcher.on_trial_complete("a", last.to_json() if ending.has_result else None)
    frozen, (trial,) = search.study_trials()[0], search.run.trials()
    assert (frozen.state.name, frozen.values) == (trial.state, trial.values)
    assert (frozen.state.name, frozen.value) == (ending.state, ending.value)
    assert ending.reason in str(trial.reason)
    if ending.state != "RUNNING":
        assert frozen.intermediate_values == trial.scores
    states = sorted(path.parent.name for path in (search.run.folder.local or Path()).rglob("state.pt"))
    continuable = {"RUNNING": ["00001", "00002", "00003"], "PRUNED": ["00003"]}
    assert states == continuable.get(ending.state, [])


def test_a_trial_that_is_stopped_before_a_judged_round_has_no_value(search: Search):
    with search.session() as searcher:
        searcher.suggest("a")
        (row,) = search.train(0, 1, judged=None, score=None)
        searcher.on_trial_complete("a", row.to_json())
    assert (search.study_trials()[0].state, search.study_trials()[0].value) == (TrialState.PRUNED, None)


def test_interrupted_trials_are_resumed_first_with_their_own_numbers_and_configs(search: Search):
    with search.session() as searcher:
        before = [searcher.suggest(name) for name in "abc"]
        for row in search.train(1, 2):
            searcher.on_trial_result("b", row.to_json())
        searcher.on_trial_complete("c", search.train(2, 1)[0].to_json())
        searcher.study.ask()  # killed before the trial's first file is written; the space refuses trial 3
        assert searcher.study.get_trials()[-1].number == 3
    with search.session() as searcher:
        assert [searcher.suggest(name) for name in "de"] == before[:2]
        assert searcher.suggest("f") is None
        assert searcher.suggest("f")["number"] == 4
    assert [frozen.state.name for frozen in search.study_trials()] == [
        "RUNNING",
        "RUNNING",
        "PRUNED",
        "PRUNED",
        "RUNNING",
    ]


def test_rounds_that_the_study_lacks_are_reported_when_their_trial_is_resumed(search: Search):
    with search.session() as searcher:
        searcher.suggest("a")
        rows = search.train(0, 3)
        searcher.on_trial_result("a", rows[0].to_json())
    with search.session() as searcher:
        searcher.suggest("b")
        assert searcher.study.get_trials()[0].intermediate_values == {row.judged: row.score for row in rows}
        searcher.on_trial_result("b", rows[2].to_json())  # a resumed worker reports its last round again
        searcher.on_trial_complete("b", replace(rows[2], last=True).to_json())
    assert search.study_trials()[0].intermediate_values == {row.judged: row.score for row in rows}


@pytest.mark.parametrize(("state", "value"), [("COMPLETE", 0.75), ("PRUNED", 0.75), ("FAIL", None)])
def test_an_end_in_the_files_that_the_study_lacks_is_added_to_the_study_at_the_next_start(search: Search, state, value):
    with search.session() as searcher:
        searcher.suggest("a")
        for row in search.train(0, 3):
            searcher.on_trial_result("a", row.to_json())
        end_trial(search.run.trial_folder(0), TrialState[state], value and [value], "as it was")
    with search.session() as searcher:
        assert searcher.suggest("b")["number"] == 1
    assert (search.study_trials()[0].state.name, search.study_trials()[0].value) == (state, value)
    assert search.run.trials()[0].reason == "as it was"


def test_a_journal_that_lost_its_tail_gets_the_rounds_and_the_ends_from_the_files(search: Search):
    with search.session() as searcher:
        searcher.suggest("a")
        searcher.suggest("b")
        drawn = search.run.folder.read(STUDY).count(b"\n")
        rows = {name: search.train(number, 3) for number, name in enumerate("ab")}
        for name in "ab":
            for row in rows[name][:2]:
                searcher.on_trial_result(name, row.to_json())
        searcher.on_trial_complete("a", rows["a"][2].to_json())
        searcher.on_trial_result("b", rows["b"][2].to_json())
    whole, lines = search.study_trials(), search.run.folder.read(STUDY).splitlines(keepends=True)
    assert whole[0].state == TrialState.PRUNED and len(whole[1].intermediate_values) == 3
    for count in range(drawn, len(lines)):
        search.run.folder.write(STUDY, b"".join(lines[:count]))
        with search.session(spent=True):
            again = search.study_trials()
        for before, after in zip(whole, again, strict=True):
            assert (after.state, after.value, after.params) == (before.state, before.value, before.params)
            assert after.intermediate_values == before.intermediate_values


def test_an_interrupted_search_draws_the_points_of_an_uninterrupted_search_and_none_twice(
    search: Search, tmp_path: Path, sample_corpus_directory: Path
):
    def end(searcher: StudySearcher, name: str) -> float:
        while not (suggested := searcher.suggest(name)):
            pass
        searcher.on_trial_complete(name, search.train(suggested["number"], 1)[0].to_json())
        return params(suggested)

    with search.session() as searcher:
        whole = [end(searcher, name) for name in "abcdefg"]
    assert len(set(whole)) == 7 and whole[:2] == [point["dropout"] for point in POINTS]
    other = write_search(tmp_path / "other", sample_corpus_directory, tasks=("sst",), rounds=4)
    search = replace(search, run=other)
    pieces = []
    for names in ("a", "bcd", "ef", "g"):
        with search.session() as searcher:
            pieces += [end(searcher, name) for name in names]
    assert pieces == whole


def test_start_points_come_first_and_once_even_if_a_search_is_resumed_several_times(search: Search):
    for trials in (1, 2, 5):
        with search.session(trials=trials) as searcher:
            while (suggested := searcher.suggest("a")) != Searcher.FINISHED:
                if suggested:
                    searcher.on_trial_complete("a", search.train(suggested["number"], 1)[0].to_json())
    drawn = [frozen.params["dropout"] for frozen in search.study_trials()]
    assert len(drawn) == 5 and drawn[:2] == [point["dropout"] for point in POINTS]
    assert len(set(drawn)) == 5


def test_all_sessions_together_begin_no_more_trials_than_asked_for(search: Search):
    with search.session(trials=2) as searcher:
        assert [searcher.suggest(name)["number"] for name in "ab"] == [0, 1]
        assert searcher.suggest("c") is None, "a trial in training may fail, and be resumed"
    with search.session(trials=2) as searcher:
        assert [searcher.suggest(name)["number"] for name in "ab"] == [0, 1]
        for number, name in enumerate("ab"):
            searcher.on_trial_complete(name, search.train(number, 1)[0].to_json())
        assert searcher.suggest("c") == Searcher.FINISHED


def test_a_used_up_budget_ends_finished_trials_and_leaves_the_others_to_a_resume(search: Search):
    with search.session() as searcher:
        searcher.suggest("a")
        search.train(0, 2)
        searcher.suggest("b")
        searcher.suggest("c")
        search.train(2, 4, last=True)  # finished, but not reported
    with search.session(spent=True) as searcher:
        assert searcher.suggest("d") == Searcher.FINISHED
        searcher.close()
    assert [frozen.state.name for frozen in search.study_trials()] == ["RUNNING", "RUNNING", "COMPLETE"]
    assert [trial.reason for trial in search.run.trials()] == [None, None, "finished"]
    assert [trial.values for trial in search.run.trials()] == [None, None, [0.77]]
    with search.session(trials=3) as searcher:
        assert [searcher.suggest(name)["number"] for name in "ab"] == [0, 1]
        assert searcher.suggest("c") is None


@pytest.mark.parametrize(
    ("last", "state"), [({}, "RUNNING"), ({"last": True}, "COMPLETE"), ({"finite": False}, "FAIL")]
)
def test_a_trial_that_a_budget_cuts_keeps_its_full_states_and_continues_under_its_number(search: Search, last, state):
    with search.session() as searcher:
        number = searcher.suggest("a")["number"]
        rows = search.train(number, 2, **last)
        searcher.on_trial_result("a", rows[0].to_json())
        searcher.spent = lambda: True  # the time is over during the second round
        searcher.on_trial_complete("a", rows[1].to_json())
        assert searcher.suggest("b") == Searcher.FINISHED
        searcher.close()
    states = [(search.run.trial_folder(number) / "checkpoints" / f"{round:05d}").exists("state.pt") for round in (1, 2)]
    assert states == ([True, True] if state == "RUNNING" else [False, False])
    assert search.study_trials()[0].state.name == search.run.trials()[0].state == state
    with search.session() as searcher:
        assert searcher.suggest("a")["number"] == (number if state == "RUNNING" else number + 1)
        assert searcher.suggest("b")["number"] == (number + 1 if state == "RUNNING" else number + 2)


def test_a_config_whose_rounds_do_not_compare_fails_with_that_reason(search: Search):
    with search.session(shape=replace(search.shape, rounds=5)) as searcher:
        assert searcher.suggest("a") is None
    assert search.study_trials()[0].state == TrialState.FAIL
    assert "do not compare" in str(search.run.trials()[0].reason)


@pytest.mark.parametrize(
    "line", ["trial.suggest_categorical('a', [(1, 2)])", "trial.set_user_attr('a', {1})", "raise ValueError('\\ud800')"]
)
def test_a_trial_that_draws_what_no_storage_keeps_fails_alone_and_every_resume_goes_on(search: Search, line: str):
    path = search.space.path
    path.write_text(
        path.read_text().replace("if trial.number == 3:", f"if trial.number == 2:\n        {line}\n    if False:")
    )
    changed = replace(search, space=load_space(path))
    with changed.session() as searcher:
        assert [params(searcher.suggest(name)) for name in "ab"] == [0.125, 0.25]
        assert searcher.suggest("c") is None
        assert searcher.suggest("d")["number"] == 3
    with changed.session() as searcher:
        assert [searcher.suggest(name)["number"] for name in "abcd"] == [0, 1, 3, 4]
    failed = changed.run.trials()[2]
    assert failed.state == "FAIL" and str(failed.reason).startswith(f"{path}: ")


def test_ended_trials_keep_the_weights_of_the_best_rounds_and_running_trials_keep_all(search: Search):
    with search.session() as searcher:
        trained = [search.train(searcher.suggest(name)["number"], 4, last=True) for name in "abc"]
        scores = {(number, row.round): row.score or 0.0 for number, rows in enumerate(trained) for row in rows}
        for name, rows in zip("ab", trained, strict=False):
            searcher.on_trial_complete(name, rows[-1].to_json())
        assert {(trial.number, round) for trial, round in search.run.rounds_with_weights()} == set(scores)
        searcher.on_trial_complete("c", trained[2][-1].to_json())
    share = search.run.keep.count // 2  # score and metric are equal, so both shares hold the same rounds
    best = sorted(scores, key=scores.__getitem__)[-share:]
    assert len(scores) > share
    assert {(trial.number, round) for trial, round in search.run.rounds_with_weights()} == set(best)


def test_a_lost_study_is_rebuilt_with_the_same_numbers_even_with_a_gap(search: Search):
    def comparable(trials: list[FrozenTrial]) -> dict[int, Any]:
        return {
            frozen.number: (frozen.state, frozen.value, frozen.params, frozen.distributions, frozen.intermediate_values)
            for frozen in trials
        }

    with search.session() as searcher:
        for name, rounds, last in [("a", 3, {"last": True}), ("b", 1, {}), ("c", 2, {"finite": False, "score": None})]:
            rows = search.train(searcher.suggest(name)["number"], rounds, **last)
            for row in rows[:-1]:
                searcher.on_trial_result(name, row.to_json())
            searcher.on_trial_complete(name, rows[-1].to_json())
        assert searcher.suggest("d") is None
        running = searcher.suggest("e")
        assert running["number"] == 4
        for row in search.train(4, 2):
            searcher.on_trial_result("e", row.to_json())
    before = comparable(search.study_trials())
    search.run.folder.delete(STUDY)
    assert comparable(search.study_trials()) == before

    search.run.folder.delete(STUDY)
    (search.run.folder / "trials").delete("00001")
    with search.session() as searcher:
        assert comparable(searcher.study.get_trials())[4] == before[4]
        assert searcher.suggest("f") == running
        assert searcher.suggest("g")["number"] == 1, "the number of the missing trial is used for the next one"
    del before[1]
    after = comparable(search.study_trials())
    assert {number: after[number] for number in before} == before


def test_a_pickled_searcher_is_empty(search: Search):
    with search.session() as searcher:
        assert pickle.loads(pickle.dumps(searcher)).__dict__ == {}
