"""Test the notes at the top of the report."""

import pytest

from search.report.header import CONTAMINATED, GENERATED, LEAKS
from search.report.page import render
from tests.search.example_run import example_run
from tests.search.report.pages import Page


@pytest.mark.parametrize(
    ("encoder", "data", "expected"),
    [
        ("minilm", "sample", {GENERATED, CONTAMINATED}),
        ("minilm:3", "../data", {LEAKS, CONTAMINATED}),
        ("bert-base-uncased", "hub", set()),
    ],
)
def test_notes_name_the_limits_of_the_metrics(tmp_path, sample_corpus_directory, encoder, data, expected):
    run = example_run(tmp_path / "noted", sample_corpus_directory, encoder=encoder, data=data)
    shown = Page(render(run)).text
    assert {note for note in (GENERATED, LEAKS, CONTAMINATED) if note in shown} == expected
