"""How many dev rows rounds are scored on: by hand, at the bounds, and as a share of the work."""

import pytest

from model.errors import InputError
from search.session.scored_rows import FEWEST, SHARE, TRAINED, affordable_rows, passes_of, settled_rows
from search.suggest.space import Shape
from trainers.methods.smart import SmartConfig
from trainers.recipes.joint import plain, smart
from trainers.training.training import DEV_ROWS

MANY = 10_000
SHAPE = Shape(("sst", "qqp"), rounds=4, examples=1000, slack=8)


def share(limit: int, examples: int, labelled: list[int]) -> float:
    evaluated = sum(min(limit, count) for count in labelled)
    return evaluated / (TRAINED * examples + evaluated)


@pytest.mark.parametrize("labelled", [[MANY], [MANY] * 3, [MANY, 150, 300]])
@pytest.mark.parametrize("examples", [900, 1500, 2000])
def test_evaluation_keeps_to_its_share_and_a_row_more_would_not(examples: int, labelled: list[int]):
    limit = affordable_rows(TRAINED * examples, labelled)
    assert FEWEST < limit < DEV_ROWS
    assert share(limit, examples, labelled) <= SHARE < share(limit + 1, examples, labelled)


def test_limits_by_hand():
    # A pass and a half over 1,500 rows of three tasks in six rounds: 3 x 1,125 passes a round, 15 / 85 of them is 595.
    assert affordable_rows(TRAINED * 1125, [MANY] * 3) == 198
    # A task of 95 rows leaves 500 to the two others.
    assert affordable_rows(TRAINED * 1125, [MANY, MANY, 95]) == 250


def test_no_fewer_rows_than_tell_trials_apart_and_no_more_than_a_single_run_has():
    assert affordable_rows(TRAINED * 10, [MANY] * 3) == FEWEST
    assert affordable_rows(TRAINED * 10**6, [MANY] * 3) == DEV_ROWS
    assert affordable_rows(TRAINED * 1125, [20, 30, 40]) == DEV_ROWS, "all rows of a small dev split are cheap"


def test_what_was_asked_for_wins_and_trainings_that_are_not_compared_have_a_single_runs_rows():
    labelled = {"sst": MANY, "qqp": MANY}
    assert settled_rows(None, SHAPE, [], labelled) == affordable_rows(TRAINED * 1000, [MANY, MANY]) == 264
    assert settled_rows(700, SHAPE, [], labelled) == 700
    assert settled_rows(None, None, [], labelled) == DEV_ROWS


def test_too_few_rows_to_choose_an_ensemble_on_are_refused_by_the_task_that_lacks_them():
    with pytest.raises(InputError, match=r"3 labelled dev rows of qqp; the ensemble needs 5. Add dev rows"):
        settled_rows(None, SHAPE, [], {"sst": MANY, "qqp": 3})


def test_what_trains_with_more_work_affords_more_rows_and_the_cheapest_config_counts():
    dear, lazy = smart(), plain().replace(smart=SmartConfig(lambda_s=1.0, every=4))
    assert [passes_of(config) for config in (plain(), lazy, dear)] == [3, 3, 8]
    labelled = dict.fromkeys(dear.tasks, MANY)
    rows = [settled_rows(None, SHAPE, configs, labelled) for configs in ([plain()], [dear], [dear, lazy])]
    assert rows == [176, 470, 176]
