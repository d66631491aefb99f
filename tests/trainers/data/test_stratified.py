"""Test that stratified samples are nested, repeat no row, and have the proportions of the labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data.stratified import stratified_sample


@given(labels=st.lists(st.floats(0, 5), max_size=60), count=st.integers(0, 70), seed=st.integers(0, 5))
def test_a_sample_repeats_no_row_and_is_a_subset_of_a_larger_sample(labels: list[float], count: int, seed: int):
    small = stratified_sample(np.array(labels), count, np.random.default_rng(seed))
    large = stratified_sample(np.array(labels), count + 3, np.random.default_rng(seed))
    assert len(small) == min(count, len(labels))
    assert (np.diff(small) > 0).all()
    assert set(small) <= set(large)


@pytest.mark.parametrize("count", [7, 100, 1_000, 5_000])
def test_a_sample_of_sorted_labels_has_the_proportions_of_all_rows(count: int):
    sizes = np.array([1_092, 2_218, 1_624, 2_322, 1_288])
    labels = np.repeat(np.arange(5.0)[::-1], sizes[::-1])
    found = np.bincount(labels[stratified_sample(labels, count, np.random.default_rng(0))].astype(int), minlength=5)
    assert np.abs(found - count * sizes / sizes.sum()).max() < 1
