"""Test the history of a trial."""

from typing import Any

from search.report.trial_history import ratio_series


def test_gradient_ratios_are_collected_over_rounds_with_gaps_for_rounds_that_measured_none():
    rows: list[dict[str, Any]] = [{}, {"ratios": {"sst.smart": 0.5}}, {"ratios": {"sst.smart": 0.1, "b": 2}}]
    found = {series.name: (series.ratios, series.median) for series in ratio_series(rows)}
    assert found == {"sst.smart": ([None, 0.5, 0.1], 0.3), "b": ([None, None, 2], 2)}
    assert ratio_series([{}, {}]) == []
