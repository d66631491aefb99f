"""Test which stopped trials continue near the end of a search, and that they end as if nothing had stopped them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from model.pretrained import load_encoder
from search.finish.best_configs import best_configs
from search.runs.run import Run
from search.runs.study import enqueue, opened_study
from search.runs.trial_record import RUNNING, Clone, Trial, clone_of, end_trial
from search.tune.searcher import StudySearcher
from search.tune.trials.continuations import ContinuingQueue, Stopped, by_value, new_trial_seconds
from search.tune.trials.order import Next
from tests.example_row import example_row
from tests.search.searching import SPACE, command
from tests.search.tune.searched_run import Search
from trainers.config.train_config import TrainConfig
from trainers.folder import Folder
from trainers.trial import ROUNDS, read_config, run_trial

ROUND_COUNT = 4
SECONDS = 1.2
"""Seconds of an example round."""


def trial(number: int, state: str, scores: list[float], clone: Clone | None = None) -> Trial:
    rows = [example_row(place, score=score) for place, score in enumerate(scores, 1)]
    return Trial(Folder.at("nowhere"), number, {}, {}, state, None, None, rows, clone)


FINISHED = trial(0, "COMPLETE", [0.1, 0.4, 0.6, 0.5])


def test_the_best_stopped_trial_that_can_end_in_time_continues():
    stopped = [Stopped(FINISHED, value, seconds) for value, seconds in ((0.3, 1.0), (0.5, 2.0), (0.7, 9.0))]
    assert by_value(stopped, 2.0) == [stopped[1], stopped[0]]
    assert by_value(stopped, 0.5) == []


def test_a_new_trial_is_expected_to_take_as_long_as_the_finished_ones():
    running = trial(1, RUNNING, [0.1, 0.2])
    running.rows[1] = replace(running.rows[1], train_seconds=10.0)
    continued = trial(2, "COMPLETE", [0.2], Clone(1, 1, 100, 1))  # its rows are a part of a training only
    assert new_trial_seconds([FINISHED, running, continued], ROUND_COUNT) == pytest.approx(4 * SECONDS)
    assert new_trial_seconds([running], ROUND_COUNT) == pytest.approx(4 * (SECONDS + 10.2) / 2)


class Queue:
    """A queue on a real run, and the time that is left."""

    def __init__(self, search: Search, study: Any):
        """Begin without a time budget."""
        self.search, self.study = search, study
        self.left: float | None = None
        self.order = ContinuingQueue(search.space, search.run, study, ROUND_COUNT, lambda: self.left)
        self.searcher = StudySearcher(
            study,
            search.run,
            self.order,
            search.shape,
            trials=20,
            spent=lambda: False,
            **search.listener.arguments,
        )

    def train(self, number: int, scores: list[float], *, last: bool = False, **changes: Any) -> None:
        """Begin the next trial, which must have this number; let it finish, or stop it after its last score."""
        assert self.searcher.suggest(str(number))["number"] == number
        rows = self.search.train(number, len(scores))
        folder = self.search.run.trial_folder(number)
        folder.delete(ROUNDS)
        rows = [replace(row, score=score, **changes) for row, score in zip(rows, scores, strict=True)]
        rows[-1] = replace(rows[-1], last=last)
        for row in rows:
            folder.append_json(ROUNDS, row.to_json())
            self.searcher.on_trial_result(str(number), row.to_json())
        self.searcher.on_trial_complete(str(number), rows[-1].to_json())

    def continued(self, *, may_begin: bool = True) -> int | None:
        """Return the trial that the next one continues; None for a new trial."""
        chosen = self.order.next(may_begin=may_begin)
        clone = chosen and chosen.trial and clone_of(chosen.trial)
        return clone.trial if clone else None


@pytest.fixture
def queue(search: Search, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Return a queue after one finished trial and two stopped ones; the space refuses trial 3."""
    monkeypatch.setattr("search.tune.trials.continuations.LOOK_EVERY", 0.0)
    with opened_study(search.run, None) as study:
        enqueue(study, search.space.start)
        found = Queue(search, study)
        found.train(0, [0.3, 0.4, 0.5, 0.6], last=True)
        found.train(1, [0.2])
        found.train(2, [0.25, 0.1])
        yield found


def test_new_trials_begin_while_there_is_time_for_whole_ones(queue: Queue):
    assert queue.order.next(may_begin=True) == Next()
    queue.left = 4.1 * SECONDS
    assert queue.order.next(may_begin=True) == Next()


def test_stopped_trials_continue_in_the_order_of_their_estimated_ends_when_no_whole_trial_fits(queue: Queue):
    queue.left = 3.9 * SECONDS  # from their last rounds on, 1 would gain .3 and 2 .2
    assert queue.continued() == 1
    assert queue.continued() == 2
    assert queue.continued() is None, "each continues once"
    first, second = queue.search.study_trials()[3:5]
    assert clone_of(first) == Clone(1, 1, 100, replaced=1) and clone_of(second) == Clone(2, 2, 200, replaced=2)
    assert first.state == TrialState.RUNNING
    assert first.params == queue.search.study_trials()[1].params
    assert first.distributions == queue.search.study_trials()[1].distributions


def test_a_trial_that_cannot_end_in_time_does_not_continue(queue: Queue):
    queue.left = 2.5 * SECONDS
    assert queue.continued() == 2, "2 has two rounds left, 1 has three"
    assert queue.order.next(may_begin=True) == Next()


def test_a_trial_without_a_state_or_with_constant_predictions_does_not_continue(queue: Queue):
    queue.left = 3.9 * SECONDS
    (queue.search.run.trial_folder(1) / "checkpoints" / "00001").delete("state.pt")
    assert queue.continued() == 2
    queue.searcher.suggest("refused by the space")
    queue.left = None
    queue.train(5, [0.9], constant={"sst": 1.0})
    queue.left = 3.9 * SECONDS
    assert queue.order.next(may_begin=True) == Next()


def test_after_the_last_trial_has_begun_idle_slots_continue_trials_that_end_before_the_others(queue: Queue):
    assert queue.order.next(may_begin=False) is None, "no other trial is being trained"
    queue.searcher.suggest("refused by the space")
    queue.searcher.suggest("a")
    assert queue.continued(may_begin=False) == 1, "three rounds; trial 4 has all four before it"
    rows = queue.search.train(4, 2)
    assert queue.continued(may_begin=False) == 2, "two rounds, as many as trial 4 has left"
    queue.searcher.on_trial_complete("a", replace(rows[1], last=True).to_json())
    assert queue.continued(may_begin=False) is None, "each continues once"


def test_no_trial_continues_while_the_machine_may_need_a_pause(queue: Queue):
    queue.left = 3.9 * SECONDS
    assert queue.order.next(may_begin=True, held=True) is None
    assert queue.continued() == 1


def test_a_continued_trial_has_the_config_that_it_has_begun_with(queue: Queue):
    queue.left = 3.9 * SECONDS
    begun = read_config(queue.search.run.trial_folder(1)).replace(seed=99)  # as if the space used the trial's number
    queue.search.run.trial_folder(1).write("config.json", begun.model_dump_json())
    given = queue.searcher.suggest("a")
    assert TrainConfig.model_validate_json(given["train"]) == begun
    assert given["origin"] == {"folder": queue.search.run.trial_folder(1).uri, "round": 1}
    assert (3, "continues", 1) in queue.search.listener.events


def states(queue: Queue) -> set[int]:
    """Return the ended trials whose full states are on the disk."""
    return {one.number for one in queue.search.run.trials() if one.state == "PRUNED" and one.has_state(len(one.rows))}


def test_the_value_of_a_continued_trial_is_that_of_its_whole_training_and_its_states_go(queue: Queue):
    queue.searcher.suggest("refused by the space")
    queue.train(4, [0.9])
    queue.left = 3.9 * SECONDS
    assert states(queue) == {1, 2, 4}
    given = queue.searcher.suggest("a")
    assert (given["number"], given["origin"]["round"]) == (5, 1)
    rows = [replace(row, score=0.5, last=row.round == ROUND_COUNT) for row in queue.search.train(5, ROUND_COUNT)[1:]]
    folder = queue.search.run.trial_folder(5)
    folder.delete(ROUNDS)
    for row in rows:
        folder.append_json(ROUNDS, row.to_json())
        queue.searcher.on_trial_result("a", row.to_json())
    queue.searcher.on_trial_complete("a", rows[-1].to_json())
    assert queue.search.study_trials()[5].value == 0.9, "the best round was one before the stop"
    assert states(queue) == {1, 2}


MOMENTS = ["begun in the study", "begun in the files", "after a round", "ended in the files"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_search_goes_on_with_the_continued_trial(queue: Queue, moment: str):
    queue.left = 3.9 * SECONDS
    if moment == MOMENTS[0]:
        queue.order.next(may_begin=True)
    else:
        queue.searcher.suggest("a")
    folder = queue.search.run.trial_folder(3)
    if moment in MOMENTS[2:]:
        last = moment == MOMENTS[3]
        folder.append_json(ROUNDS, replace(queue.search.train(3, 2)[1], last=last).to_json())
    if moment == MOMENTS[3]:
        end_trial(folder, TrialState.COMPLETE, [0.5], "finished")
    with opened_study(queue.search.run, None) as study:
        again = Queue(queue.search, study)
        assert again.searcher.kept.continuing == (set() if moment == MOMENTS[3] else {1})
        if moment == MOMENTS[3]:
            assert study.trials[3].state == TrialState.COMPLETE
            assert again.order.next(may_begin=True) == Next()
        else:
            given = again.searcher.suggest("a")
            assert (given["number"], given["origin"]["round"], given["replaced"]) == (3, 1, 1)
        assert {clone.trial for one in study.trials if (clone := clone_of(one))} == {1}, "it continues once"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, finish_here) -> tuple[Run, str]:
    """Run a search in which there is never time for a whole new trial."""
    place = tmp_path_factory.mktemp("continued")
    (place / "space.py").write_text(SPACE)
    options = ("--trials", "8", "--time-budget", "1h", "--concurrency", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.tune.trials.continuations.new_trial_seconds", lambda trials, rounds: math.inf)
        done = finish_here(command(place / "space.py", place, tiny_encoder, *options))
    assert done.returncode == 0, done.stdout + done.stderr
    run = Run(Folder.at(place / "run"))
    assert any(one.clone for one in run.trials())
    return run, done.stdout


def test_a_continued_trial_ends_with_the_bits_of_a_training_that_was_never_stopped(ended, tmp_path: Path):
    run, _ = ended
    for one in (one for one in run.trials() if one.clone):
        assert one.state == "COMPLETE" and one.clone
        assert [row.round for row in one.rows] == list(range(one.clone.round + 1, ROUND_COUNT + 1))
        pretrained, folder = load_encoder(run.local_path("encoder")), Folder.at(tmp_path / str(one.number))
        config, rows = read_config(one.folder), run.search.dev_rows
        assert config == read_config(run.trial_folder(one.clone.trial))
        *_, last = run_trial(folder, config, run.corpus(), pretrained, dev_limit=rows)
        assert (last.metrics, last.loss) == (one.rows[-1].metrics, one.rows[-1].loss)


def test_a_continued_trial_is_told_and_counted_once(ended):
    run, printed = ended
    for one in run.trials():
        if one.clone:
            assert f"trial {one.number} continues trial {one.clone.trial}, which early stopping had stopped" in printed
    assert "(8 of 8 ended)" in printed and "(9 of 8 ended)" not in printed
    assert run.ended_count == 8
    clones = sum(one.clone is not None for one in run.trials())
    assert f"; {clones} of them continue stopped trials" in run.folder.read("report.html").decode()


def test_finishing_a_run_takes_the_config_of_a_continued_trial_once(ended):
    run, _ = ended
    found = best_configs(run, 99, 1)
    assert len(found.configs) == 8
    continued = {one.clone.trial for one in run.trials() if one.clone}
    assert not continued & found.configs.keys(), "the finished trial stands for both"
