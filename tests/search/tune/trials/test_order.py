"""Test the order of independent trials; `test_population.py` tests the order of a population's trials."""

from pathlib import Path

from optuna.trial import TrialState, create_trial

from search.suggest.space import Space
from search.tune.trials.order import Next, TrialQueue
from tests.conftest import small_config


def queue() -> TrialQueue:
    return TrialQueue(Space(Path("space.py"), "", lambda trial: small_config(), []))


def test_resumed_trials_come_in_their_order_and_before_new_trials():
    order, trials = queue(), [create_trial(state=TrialState.RUNNING) for _ in range(2)]
    for trial in trials:
        order.add(trial)
    found = [order.next(may_begin=True) for _ in range(3)]
    assert [chosen and chosen.trial for chosen in found] == [*trials, None]
    assert found[2] == Next(), "a new trial"


def test_a_queue_is_finished_when_no_trial_waits_and_none_may_begin():
    order = queue()
    assert not order.finished(may_begin=True, training=False)
    assert not order.finished(may_begin=False, training=True), "a trial in training may fail, and be resumed"
    assert order.finished(may_begin=False, training=False)
    assert order.next(may_begin=False) is None
    order.add(create_trial(state=TrialState.RUNNING))
    assert not order.finished(may_begin=False, training=False)
