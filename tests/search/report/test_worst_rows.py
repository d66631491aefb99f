"""Test the texts of dev rows and their most similar training rows."""

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from search.report.dev_predictions import DevPredictions
from search.report.worst_rows import SHOWN, examples, nearest
from trainers.data.corpus import Split
from trainers.data.ragged import Ragged

TEXTS = st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=6)


def ragged(texts: list[list[int]]) -> Ragged:
    values = np.array([token for text in texts for token in text], np.int32)
    return Ragged(values, np.cumsum([0, *map(len, texts)]).astype(np.int64))


def overlap(first: set[int], second: set[int]) -> float:
    return len(first & second) / len(first | second) if first | second else 0.0


def test_the_nearest_row_has_the_largest_overlap_of_distinct_tokens():
    train = ragged([[1, 2, 3, 4], [1, 2], [9], [2, 1, 1]])
    found, overlaps = nearest([train], [ragged([[7], [1, 2, 5]])], np.array([1]), 3)
    assert found.tolist() == [[1, 3, 0]]  # of equal overlaps the first; repeated tokens count once
    assert overlaps.tolist() == [pytest.approx([2 / 3, 2 / 3, 2 / 5])]


@given(train=TEXTS, dev=TEXTS)
def test_overlaps_equal_those_of_sets(train, dev):
    found, overlaps = nearest([ragged(train)], [ragged(dev)], np.arange(len(dev)), 2)
    for row, text in enumerate(dev):
        known = [overlap(set(text), set(other)) for other in train]
        assert overlaps[row].tolist() == pytest.approx(sorted(known, reverse=True)[:2])
        assert [known[near] for near in found[row]] == pytest.approx(overlaps[row].tolist())


def test_the_tokens_of_both_sides_of_a_pair_count_together():
    train, dev = [ragged([[1, 2]]), ragged([[3]])], [ragged([[3]]), ragged([[1, 2]])]
    assert nearest(train, dev, np.array([0]), 1)[1].tolist() == [[1.0]]


@pytest.fixture
def tokenizer() -> tokenizers.Tokenizer:
    words = {name: number for number, name in enumerate(["[UNK]", "a", "good", "film", "bad", "x" * 100])}
    return tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))


def split(texts: list[list[int]], labels: list[float]) -> Split:
    return Split([str(row) for row in range(len(texts))], (ragged(texts),), np.array(labels, np.float32))


def test_an_example_has_its_text_label_prediction_and_neighbours(tokenizer):
    splits = {"train": split([[1, 2, 3], [4]], [4, 0]), "dev": split([[0], [1, 4, 3]], [2, 1])}
    model = DevPredictions("it", np.array([1, 0]), np.array([1.0, 2.0]), np.array([3.0, 2.0]), np.array([0.75, 0.5]))
    (example,) = examples(model, np.array([0]), splits, tokenizer, neighbours=2)
    assert (example.texts, example.label, example.value, example.confidence) == (["a bad film"], 1, 3, 0.75)
    assert [(near.texts, near.label) for near in example.neighbours] == [(["a good film"], 4), (["bad"], 0)]
    assert [near.overlap for near in example.neighbours] == pytest.approx([2 / 4, 1 / 3])


def test_a_training_row_without_a_shared_token_is_no_neighbour(tokenizer):
    splits = {"train": split([[1]], [0]), "dev": split([[2]], [0])}
    model = DevPredictions("it", np.array([0]), np.zeros(1), np.ones(1), np.ones(1))
    assert examples(model, np.array([0]), splits, tokenizer, neighbours=2)[0].neighbours == []


def test_a_long_text_is_cut(tokenizer):
    splits = {"train": split([[1]], [0]), "dev": split([[5] * 9], [0])}
    model = DevPredictions("it", np.array([0]), np.zeros(1), np.ones(1), np.ones(1))
    (example,) = examples(model, np.array([0]), splits, tokenizer, neighbours=0)
    assert example.texts[0].endswith(" ...")
    assert len(example.texts[0]) == SHOWN + 4
