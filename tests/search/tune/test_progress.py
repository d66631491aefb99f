"""Test what the progress lines say about the number of trials."""

import pytest
from optuna.trial import TrialState

from search.tune.budgets import Budget, Limits
from search.tune.progress import Progress
from trainers.folder import Folder


@pytest.mark.parametrize(("trials", "expected"), [(3, "(1 of 3 ended)"), (None, "(1 ended)")])
def test_the_end_of_a_trial_tells_how_many_have_ended(
    tmp_path, capsys: pytest.CaptureFixture[str], trials: int | None, expected: str
):
    budget = Budget(Limits(seconds=60), [], 0)
    progress = Progress(trials, 2, [], budget, {}, ["score"], folder=lambda number: Folder.at(tmp_path))
    progress.ended(0, TrialState.PRUNED, "stopped early after round 1")
    assert capsys.readouterr().out.endswith(f"trial 0 stopped early after round 1 {expected}\n")
