"""Test the number of dev rows on which rounds are scored: hand-calculated values, bounds, and the share of the time."""

import pytest

from model.errors import InputError
from search.session.scored_rows import (
    EVALUATION_SHARE,
    FEWEST,
    TRAIN_COST,
    affordable_rows,
    dev_row_limit,
    example_cost,
)
from search.suggest.space import TrialShape
from trainers.methods.smart import SmartConfig
from trainers.recipes.joint import plain, smart
from trainers.training.training import DEV_ROWS

MANY = 10_000
SHAPE = TrialShape(("sst", "qqp"), rounds=4, examples=1000, slack=8)


def share(limit: int, examples: int, labelled: list[int]) -> float:
    evaluated = sum(min(limit, count) for count in labelled)
    return evaluated / (TRAIN_COST * examples + evaluated)


@pytest.mark.parametrize("labelled", [[MANY], [MANY] * 3, [MANY, 150, 300]])
@pytest.mark.parametrize("examples", [700, 900, 1100])
def test_evaluation_keeps_to_its_share_and_would_exceed_it_with_one_more_row(examples: int, labelled: list[int]):
    limit = affordable_rows(TRAIN_COST * examples, labelled)
    assert FEWEST < limit < DEV_ROWS
    assert share(limit, examples, labelled) <= EVALUATION_SHARE < share(limit + 1, examples, labelled)


def test_limits_equal_those_calculated_by_hand():
    # 1.5 epochs of 1,500 rows of 3 tasks in 6 rounds need 3 x 1,125 forward passes per round; evaluation has a third.
    assert affordable_rows(TRAIN_COST * 1125, [MANY] * 3) == 375
    # A task with 95 rows leaves 1,030 passes to the two other tasks.
    assert affordable_rows(TRAIN_COST * 1125, [MANY, MANY, 95]) == 515


def test_the_limit_lies_between_the_fewest_rows_and_the_rows_of_a_single_run():
    assert affordable_rows(TRAIN_COST * 10, [MANY] * 3) == FEWEST
    assert affordable_rows(TRAIN_COST * 10**6, [MANY] * 3) == DEV_ROWS
    assert affordable_rows(TRAIN_COST * 1125, [20, 30, 40]) == DEV_ROWS, "all rows of a small dev split are cheap"


def test_a_requested_number_is_used_and_trainings_that_are_not_compared_use_the_number_of_a_single_run():
    labelled = {"sst": MANY, "qqp": MANY}
    assert dev_row_limit(None, SHAPE, [], labelled) == affordable_rows(TRAIN_COST * 1000, [MANY, MANY]) == 500
    assert dev_row_limit(700, SHAPE, [], labelled) == 700
    assert dev_row_limit(None, None, [], labelled) == DEV_ROWS


def test_too_few_rows_for_an_ensemble_are_an_error_that_names_the_task():
    with pytest.raises(InputError, match=r"3 labelled dev rows of qqp; the ensemble needs 5. Add dev rows"):
        dev_row_limit(None, SHAPE, [], {"sst": MANY, "qqp": 3})


def test_costlier_training_allows_more_rows_and_the_cheapest_config_decides():
    costly, lazy = smart(), plain().replace(smart=SmartConfig(lambda_s=1.0, every=4))
    assert [example_cost(config) for config in (plain(), lazy, costly)] == [3, 3, 8]
    labelled = dict.fromkeys(costly.tasks, MANY)
    rows = [dev_row_limit(None, SHAPE, configs, labelled) for configs in ([plain()], [costly], [costly, lazy])]
    assert rows == [333, 888, 333]
