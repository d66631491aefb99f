"""Test the remarks of a search: once per trial, and a summary of the last rounds."""

from dataclasses import dataclass, field

from search.tune.trials.remarks import Remarks
from search.tune.trials.results import row_of
from tests.example_row import example_row
from trainers.training.rounds import RoundRow


@dataclass
class Before:
    """A trial of an earlier session."""

    number: int
    rows: list[RoundRow] = field(default_factory=list)


def constant(round: int, **values: float) -> RoundRow:
    return example_row(round, metrics={"qqp": 0.6, "sst": 0.3}, constant=values)


def test_a_remark_is_new_once_per_trial():
    remarks = Remarks([], None)
    said = "qqp is not learnt: the model predicts 0 for every dev row."
    assert remarks.new(3, constant(1, qqp=0.0)) == [said]
    assert remarks.new(3, constant(2, qqp=0.0)) == []
    inert = example_row(3, metrics={"qqp": 0.6}, ratios={"sst.smart": 1e-5, "qqp.smart": 0.5})
    assert remarks.new(3, inert) == ["smart of sst is inert: its gradient is 1e-05 times the task loss's."]
    assert remarks.new(4, constant(1, qqp=0.0, sst=3.0)) == [
        said, "sst is not learnt: the model predicts 3 for every dev row."
    ]  # fmt: skip


def test_constant_predictions_are_remarked_in_the_second_half_of_a_trial():
    remarks = Remarks([], 4)
    assert [len(remarks.new(0, constant(round, qqp=0.0))) for round in (1, 2, 3, 4)] == [0, 0, 1, 0]
    remarks.new(1, constant(1, qqp=0.0))
    assert remarks.summary() == ["qqp is not learnt in trials 0, 1."]


def test_the_summary_names_the_trials_whose_last_round_has_a_remark():
    remarks = Remarks([Before(0, [constant(1), constant(2, qqp=0.0)])], None)  # pyright: ignore[reportArgumentType]
    assert remarks.new(0, constant(3, qqp=0.0)) == [], "an earlier session has printed it"
    remarks.new(1, constant(1, qqp=0.0))
    remarks.new(1, constant(2))
    remarks.new(2, constant(1, qqp=1.0, sst=3.0))
    remarks.new(2, example_row(2, judged=None, metrics={}))
    assert remarks.summary() == ["qqp is not learnt in trials 0, 2.", "sst is not learnt in trial 2."]
    assert Remarks([], None).summary() == []


def test_a_row_keeps_its_constant_predictions_on_the_way_through_tune():
    row = constant(1, qqp=0.0)
    flat = {key: value for key, value in row.to_json().items() if not isinstance(value, dict)}
    flat |= {f"{name}/{key}": value for name in ("metrics", "constant") for key, value in row.to_json()[name].items()}
    assert row_of(flat) == row == row_of(row.to_json())
    old = row.to_json()
    del old["constant"]
    assert row_of(old).constant == {}
