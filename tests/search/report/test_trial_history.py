"""Test the history of a trial."""

from search.report.trial_history import ratio_series
from tests.example_row import example_row


def test_gradient_ratios_are_collected_over_rounds_with_gaps_for_rounds_that_measured_none():
    measured = [{}, {"sst.smart": 0.5}, {"sst.smart": 0.1, "b": 2}]
    rows = [example_row(number, ratios=ratios) for number, ratios in enumerate(measured, 1)]
    found = {series.name: (series.ratios, series.median) for series in ratio_series(rows)}
    assert found == {"sst.smart": ([None, 0.5, 0.1], 0.3), "b": ([None, None, 2], 2)}
    assert ratio_series([example_row(1), example_row(2)]) == []
