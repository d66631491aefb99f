"""Test the values of rounds and trials, and the checks of objective names."""

import pytest

from model.errors import InputError
from search.runs.objectives import (
    check_objectives,
    last_round_values,
    round_values,
    study_directions,
    trial_values,
    values_to_maximize,
)
from tests.example_row import example_row
from trainers.training.rounds import RoundRow

SEVERAL = ["score", "seconds", "parameters"]


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
def test_the_values_of_a_trial_ignore_rounds_that_were_not_judged(names, best, last):
    assert trial_values(ROWS, names) == best
    assert last_round_values(ROWS, names) == last


def test_objectives_to_minimize_are_negated_for_early_stopping():
    assert study_directions(SEVERAL) == ["maximize", "minimize", "minimize"]
    assert round_values(ROWS[1], SEVERAL) == (0.5, 1.0, 7)
    assert values_to_maximize(ROWS[1], SEVERAL) == (0.5, -1.0, -7)
    assert values_to_maximize(ROWS[0], ["seconds"]) is None, "a round that was not judged has no values"
    assert values_to_maximize(ROWS[1], ["sst", "qqp"]) is None


def test_unknown_and_repeated_objectives_are_errors():
    check_objectives(["score", "qqp", "parameters"], ["sst", "qqp"])
    with pytest.raises(InputError, match="Unknown objective 'secnds'; did you mean 'seconds'"):
        check_objectives(["secnds"], ["sst"])
    with pytest.raises(InputError, match="Unknown objective 'qqp'"):
        check_objectives(["qqp"], ["sst"])
    with pytest.raises(InputError, match="--objective score is given 2 times"):
        check_objectives(["score", "score"], ["sst"])
