"""Test budgets: each rule on hand-made cases, the use of earlier sessions, and a real search that two budgets end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from optuna.trial import TrialState

from model.errors import InputError
from search.runs.run import Run
from search.runs.trial_record import Trial as TrialFiles
from search.tune.budgets import (
    RULES,
    Budget,
    Limits,
    Used,
    budget_seconds,
    gpu_hours_are_used,
    is_on_plateau,
    score_is_reached,
    time_is_up,
)
from tests.example_row import example_row
from tests.search.searching import command
from trainers.folder import Folder
from trainers.training.rounds import RoundRow

HALF_AN_HOUR = {"train_seconds": 1700.0, "eval_seconds": 70.0, "save_seconds": 30.0}
EQUAL = """
from trainers.recipes.joint import plain

def suggest(trial):
    trial.suggest_float("nothing", 0, 1)
    return plain().replace(stages=(plain().stages[0].replace(passes=0.25, rounds=2, batch_size=8),))
"""


def row(round: int, score: float | None, *, ended: int = 0, last: bool = False) -> RoundRow:
    return example_row(round, score=score, last=last, ended=f"2026-01-02T03:04:{ended:02}+00:00", **HALF_AN_HOUR)


def reported(number: int, row: RoundRow) -> dict[str, Any]:
    """Return a round as Tune reports it."""
    return {**row.to_json(), "config": {"number": number}}


@dataclass(frozen=True)
class Case:
    """A rule, a search's use of its budgets, limits under which the search continues, and limits that end it."""

    rule: Any
    used: Used
    allow: Sequence[Limits]
    end: Sequence[Limits] = field(default=())


CASES = {
    "time": Case(time_is_up, Used(seconds=60), [Limits(seconds=60.1)], [Limits(seconds=60), Limits(seconds=1)]),
    "score": Case(score_is_reached, Used(best=0.5), [Limits(score=0.51)], [Limits(score=0.5), Limits(score=0)]),
    "no score": Case(score_is_reached, Used(), [Limits(score=0)]),
    "GPU-hours": Case(gpu_hours_are_used, Used(gpu_hours=2), [Limits(gpu_hours=2.1)], [Limits(gpu_hours=2)]),
    "a plateau": Case(
        is_on_plateau,
        Used(ended=[0.3, 0.5, 0.5, 0.1, -math.inf]),
        [Limits(plateau=4), Limits(plateau=5), Limits(plateau=9)],
        [Limits(plateau=3), Limits(plateau=2), Limits(plateau=1)],
    ),
    "a score that rises from trial to trial": Case(
        is_on_plateau, Used(ended=[0.3, 0.4, 0.5]), [Limits(plateau=1), Limits(plateau=2)]
    ),
    "no trial with a score": Case(is_on_plateau, Used(ended=[-math.inf] * 9), [Limits(plateau=3)]),
    "one trial only": Case(is_on_plateau, Used(ended=[0.5]), [Limits(plateau=1)]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_rule_ends_a_search_at_its_limit_and_no_other_rule_does(case: Case):
    for limits in (*case.allow, Limits()):
        assert [rule(limits, case.used) for rule in RULES] == [None] * len(RULES)
    for limits in case.end:
        assert [rule for rule in RULES if rule(limits, case.used)] == [case.rule]


def test_a_time_budget_stops_trials_at_the_end_of_their_rounds():
    budget = Budget(Limits(seconds=3600), [], 0)
    assert not budget.spent(), "the clock has not been started"
    budget.start()
    assert not budget.spent() and 3590 < (budget.remaining() or 0) <= 3600
    assert not budget.stops("a", reported(0, row(1, 0.5)))
    budget.started -= 3600
    assert budget.stops("a", reported(0, row(2, 0.5)))
    assert not budget.stops("a", reported(0, row(3, 0.5, last=True))), "a trial that has finished is not stopped"
    assert "1:00:00" in str(budget.reason)


def test_a_budget_without_limits_is_never_used_up():
    budget = Budget(Limits(), [], 1)
    budget.start()
    for number in range(20):
        assert not budget.stops("a", reported(number, row(1, 0.5)))
        budget.add_ended(number)
    assert budget.remaining() is None and not budget.spent() and budget.reason is None


def test_a_used_up_budget_stays_used_up_when_the_last_round_of_a_stopped_trial_is_better():
    budget = Budget(Limits(plateau=1), [], 0)
    budget.start()
    for number, score in enumerate((0.5, 0.4, 0.3)):
        assert not budget.stops("a", reported(number, row(1, score)))
    budget.add_ended(0)
    assert not budget.spent()
    budget.add_ended(1)
    assert budget.stops("a", reported(2, row(2, 0.9)))
    budget.add_ended(2)
    assert budget.spent()


def trial(number: int, state: TrialState, *rows: RoundRow, reason: str = "") -> TrialFiles:
    return TrialFiles(Folder.at("nowhere"), number, {}, {}, state.name, None, reason, list(rows))


BEFORE = [
    trial(0, TrialState.COMPLETE, row(1, 0.4, ended=1), row(2, 0.3, ended=9)),
    trial(1, TrialState.PRUNED, row(1, 0.5, ended=2)),
    trial(2, TrialState.FAIL, row(1, None, ended=4)),
    trial(3, TrialState.FAIL),
    trial(4, TrialState.RUNNING, row(1, 0.1, ended=10)),
    trial(5, TrialState.RUNNING, row(1, 0.6, ended=11)),
]


def test_the_use_of_earlier_sessions_is_read_from_their_rows():
    used = Budget(Limits(), [BEFORE[number] for number in (3, 1, 2, 0, 4, 5)], 0.25).used
    assert used.ended == [0.5, -math.inf, 0.4], (
        "in the order of their ends, without trials that are unfinished or that have no round"
    )
    assert used.best == 0.6
    assert used.gpu_hours == pytest.approx(6 * 0.5 * 0.25)


def test_a_round_that_is_reported_again_counts_once():
    budget = Budget(Limits(), BEFORE, 1)
    budget.stops("a", reported(5, row(1, 0.6)))
    assert budget.used.gpu_hours == pytest.approx(3)
    budget.stops("a", reported(5, row(2, 0.7)))
    assert budget.used.gpu_hours == pytest.approx(3.5)
    budget.add_ended(5)
    assert budget.used.ended[-1] == 0.7


def test_gpu_hours_are_refused_where_there_are_no_gpus():
    with pytest.raises(InputError, match=r"--gpu-hours 5: a trial has 0 GPUs here. Leave it out"):
        Limits(gpu_hours=5).check(0)
    Limits(gpu_hours=5).check(0.5)
    Limits(seconds=5, score=0.5, plateau=3).check(0)


def test_a_search_that_has_reached_its_score_ends_and_resumes_under_another_budget(tmp_path, tiny_encoder, finish_here):
    """Train equal configs, whose scores are equal: the second trial that ends is no better than the first."""
    (tmp_path / "space.py").write_text(EQUAL)
    arguments = command(tmp_path / "space.py", tmp_path, tiny_encoder, "--trials", "5", "--concurrency", "1")
    done = finish_here([*arguments, "--stop-at", "0.01"])
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if "--stop-at 0.01" in line]) == 1
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run" / "report.html")
    run = Run(Folder.at(tmp_path / "run"))
    (cut,) = run.trials()
    assert (cut.state, cut.reason, len(cut.rows), cut.values) == ("RUNNING", None, 1, None)
    assert "trial 0 is unfinished after round 1; --resume continues it" in done.stdout
    assert "1: 1 unfinished" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "ensemble" / "members.json").exists()

    done = finish_here([*arguments, "--plateau", "1", "--resume"])
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if "none of the last 1 trials" in line]) == 1
    again, other = run.trials()
    assert again.rows[0] == cut.rows[0]
    assert [(one.state, one.reason, len(one.rows)) for one in (again, other)] == [("COMPLETE", "finished", 2)] * 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5h", 5400), ("2 days", 172800)]
)
def test_a_time_budget_is_a_number_with_a_unit(text, seconds):
    assert budget_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "90", " 90 ", "1.5", "0h", "-2h", "two hours", "2x", "nan", "NaT", "inf", "1e9h"])
def test_a_time_budget_that_is_no_duration_with_a_unit_is_an_error(text):
    with pytest.raises(InputError, match="Write it with a unit, such as 2h"):
        budget_seconds(text)
