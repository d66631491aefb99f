"""Test which rounds keep their weights, and the disk space that is counted for a trial."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import small_config, small_stage
from tests.example_row import example_row
from trainers.methods.averaging import AveragingConfig
from trainers.methods.bregman import BregmanConfig
from trainers.training.kept_rounds import LIMIT_BYTES, ROUNDS_PER_SHARE, Keep, state_bytes, training_bytes
from trainers.training.rounds import RoundRow

METRICS = ("sst", "qqp", "sts")
MINILM, BERT_BASE, LARGE = (count * 4 for count in (22_700_000, 109_500_000, 335_000_000))
"""Bytes of the weights of three encoders."""

# Few different values, so that many are equal.
VALUES = st.integers(0, 6).map(lambda value: value / 6)
ROUNDS = st.builds(
    lambda finite, score, metrics: example_row(finite=finite, score=score if finite else None, metrics=metrics),
    st.booleans() | st.just(True),
    st.none() | VALUES,
    st.dictionaries(st.sampled_from(METRICS), VALUES, min_size=1),
)
TRIALS = st.lists(st.lists(ROUNDS, max_size=8), max_size=6)
COUNTS = st.integers(1, 18)
Rows = dict[tuple[int, int], RoundRow]


def rows_of(trials: list[list[RoundRow]]) -> Rows:
    return {(trial, number): row for trial, rounds in enumerate(trials) for number, row in enumerate(rounds)}


def finite_values(rows: Rows, name: str) -> dict[tuple[int, int], float]:
    values = {key: row.score if name == "score" else row.metrics.get(name) for key, row in rows.items()}
    return {key: value for key, value in values.items() if value is not None and rows[key].finite}


@given(TRIALS, COUNTS)
def test_the_best_rounds_of_a_run_are_among_the_best_rounds_of_its_trials(trials, count):
    """Therefore a trial may delete the weights of its own rounds without reading other trials."""
    rows, keep = rows_of(trials), Keep(count, METRICS)
    of_trials = [keep.best({key: row for key, row in rows.items() if key[0] == trial}) for trial in range(6)]
    assert keep.best(rows) <= set().union(*of_trials)


@given(TRIALS, COUNTS)
def test_no_more_rounds_than_requested_are_kept_and_none_that_was_deleted_is_better(trials, count):
    rows = rows_of(trials)
    kept = Keep(count, METRICS).best(rows)
    for place, name in enumerate(("score", *METRICS)):
        values = finite_values(rows, name)
        share = len(range(place, count, 4))  # counts dealt to the score and the metrics in turn
        best = sorted(values, key=lambda key: (-values[key], key))[:share]
        assert set(best) <= kept, "of two equal values, the earlier counts as better"
    assert len(kept) <= count
    assert all(rows[key].finite for key in kept)


@given(TRIALS, COUNTS)
def test_a_round_that_is_not_kept_early_is_not_kept_later(trials, count):
    """Therefore early deletions lose no weights that are needed later."""
    rows, keep = rows_of(trials), Keep(count, METRICS)
    early = dict(list(rows.items())[: len(rows) // 2])
    assert keep.best(rows) & early.keys() <= keep.best(early)


def test_a_lower_count_keeps_a_part_of_the_rounds_of_a_higher_one():
    rows = {number: example_row(score=number / 100, metrics={"sst": -number}) for number in range(50)}
    assert Keep(20, ("sst",)).best(rows) == {*range(40, 50), *range(10)}
    assert Keep(3, ("sst",)).best(rows) == {48, 49, 0}
    assert Keep(1, ("sst",)).best(rows) == {49}


@pytest.mark.parametrize(
    ("weight_bytes", "count"),
    [(0, 40), (MINILM, 40), (BERT_BASE, 16), (LARGE, 4), (3 * 2**30, 4), (LIMIT_BYTES // 8, 8)],
)
def test_by_default_ten_rounds_of_each_kind_are_kept_or_as_many_as_the_limit_holds(weight_bytes, count):
    assert Keep.of(METRICS, None, weight_bytes) == Keep(count, METRICS)
    assert ROUNDS_PER_SHARE == 10
    assert count == 4 or count * weight_bytes <= LIMIT_BYTES
    assert Keep.of(METRICS, 3, weight_bytes) == Keep(3, METRICS)
    assert Keep.of(METRICS, None, weight_bytes, minimum=count + 1) == Keep(count + 1, METRICS)
    assert Keep.of(METRICS, None, weight_bytes, minimum=count - 1) == Keep(count, METRICS)
    assert Keep.of(METRICS, 3, weight_bytes, minimum=4) == Keep(3, METRICS)


@pytest.mark.parametrize(("count", "states"), [(1, 0), (2, 0), (3, 1), (16, 5), (40, 13)])
def test_the_full_states_of_stopped_trials_take_no_more_space_than_the_weights_of_the_kept_rounds(count, states):
    assert Keep.of(METRICS, count, stops_early=True) == Keep(count, METRICS, states)
    assert states * state_bytes([small_config()], 100) <= count * 100
    assert Keep.of(METRICS, count).states == 0


def test_a_trial_needs_its_best_rounds_and_three_full_states():
    plain, several = small_config(small_stage(rounds=6)), small_config(small_stage(rounds=1), small_stage(rounds=2))
    averaged = plain.replace(averaging=AveragingConfig(kind="ema"), bregman=BregmanConfig(mu=1.0))
    keep = Keep(4, METRICS)
    assert training_bytes([plain], 100, keep) == 4 * 100 + 3 * 300
    assert training_bytes([several], 100, keep) == 3 * 100 + 3 * 300
    assert training_bytes([several, averaged], 100, keep) == 4 * 100 + 3 * 500
