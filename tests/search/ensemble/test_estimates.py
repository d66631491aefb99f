"""Test that `ensemble/metrics.json` is written and read without loss."""

from search.ensemble.estimates import read_estimates
from tests.json_files import read_json
from tests.search.declared_run import DECLARED_NAMES
from tests.search.example_run import TASK_NAMES
from trainers.data.declared_tasks import RESERVED_NAMES


def test_estimates_are_read_back_as_they_were_written(run, chosen):
    assert read_estimates(run) == chosen.estimates


def test_the_file_has_one_entry_per_task_with_values_and_intervals(run, chosen):
    record, estimates = read_json(run.folder, "ensemble/metrics.json"), chosen.estimates.tasks["sst"]
    assert record.keys() == {*TASK_NAMES, "score", "strategy", "seed", "soup", "rows", "candidates", "strategies"}
    assert record["sst"]["cross_fitted"] == estimates.cross_fitted.value
    assert record["sst"]["cross_fitted_interval"] == [estimates.cross_fitted.low, estimates.cross_fitted.high]
    single = estimates.best_single
    assert single is not None
    assert record["sst"]["best_single"].items() >= {"trial": single.candidate.trial, "dev": single.dev.value}.items()
    assert {name for name in record if name not in TASK_NAMES} <= RESERVED_NAMES


def test_no_declared_task_can_have_the_name_of_another_column_or_entry(declared, declared_chosen):
    entries = {*declared.table().columns, *read_json(declared.folder, "ensemble/metrics.json")} - set(DECLARED_NAMES)
    assert {name for name in entries if "." not in name} <= RESERVED_NAMES
