"""Test which rows a batch has, and their token sequences in one flat list."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.multitask import Inputs
from model.tokenizer import SpecialTokens
from trainers.data.batches import inputs, labels, next_rows
from trainers.data.corpus import Corpus, Split
from trainers.data.ragged import Ragged
from trainers.tasks import TASKS

SPECIALS = SpecialTokens(cls=1, sep=2, pad=0, mask=3, between=(2,), second=1)
LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=8)
CONCATENATED = {"sst": "concatenated", "qqp": "concatenated"}
SEPARATE = {"sst": "concatenated", "qqp": "separate"}
PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8)


def ragged(lengths: list[int], first: int) -> Ragged:
    """Return rows of these lengths; no token id occurs twice."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(np.arange(first, first + offsets[-1], dtype=np.int32), offsets)


def corpus_of(lengths: list[int], pairs: list[tuple[int, int]]) -> Corpus:
    first, second = zip(*pairs, strict=True)
    sst = Split(
        [str(row) for row in range(len(lengths))], (ragged(lengths, 10),), np.arange(len(lengths), dtype=np.float32)
    )
    sides = (ragged(list(first), 1_000), ragged(list(second), 2_000))
    qqp = Split([str(row) for row in range(len(pairs))], sides, np.full(len(pairs), np.nan, np.float32))
    return Corpus(Path(), "", SPECIALS, TASKS, {"sst": {"train": sst}, "qqp": {"train": qqp}}, {})


def triples(lengths: list[tuple[int, int, int]]) -> Corpus:
    """Return a corpus of rows with three sides of these lengths."""
    sides = tuple(ragged(list(column), 1_000 * (place + 1)) for place, column in enumerate(zip(*lengths, strict=True)))
    split = Split([str(row) for row in range(len(lengths))], sides, np.full(len(lengths), np.nan, np.float32))
    return Corpus(Path(), "", SPECIALS, {}, {"nli": {"train": split}}, {})


def sequences_of(found: Inputs) -> list[list[int]]:
    return [part.tolist() for part in torch.tensor_split(found.tokens, found.offsets[1:-1])]


@given(size=st.integers(1, 50), counts=st.lists(st.integers(1, 20), min_size=1, max_size=30), seed=st.integers(0, 9))
def test_every_epoch_is_a_permutation_of_all_rows_for_any_batch_sizes(size: int, counts: list[int], seed: int):
    taken: list[int] = []
    for count in counts:
        batch = next_rows(size, seed, "sst", len(taken), count)
        assert 1 <= len(batch) <= count
        assert len(taken) // size == (len(taken) + len(batch) - 1) // size, "a batch lies in one epoch"
        taken += batch.tolist()
    for start in range(0, len(taken) - size + 1, size):
        assert sorted(taken[start : start + size]) == list(range(size))


def test_the_next_rows_depend_on_seed_task_and_rows_taken_only():
    place = next_rows(100, 5, "sst", 0, 100)
    assert next_rows(100, 5, "sst", 40, 20).tolist() == place[40:60].tolist()
    others = [next_rows(100, 6, "sst", 0, 100), next_rows(100, 5, "qqp", 0, 100), next_rows(100, 5, "sst", 100, 100)]
    assert all(other.tolist() != place.tolist() for other in others)


@given(lengths=LENGTHS, pairs=PAIRS, draw=st.randoms(use_true_random=False))
def test_a_flat_batch_has_the_rows_in_the_given_order(lengths: list[int], pairs: list, draw):
    corpus = corpus_of(lengths, pairs)
    rows = {
        "qqp": np.array(draw.choices(range(len(pairs)), k=5)),
        "sst": np.array(draw.choices(range(len(lengths)), k=3)),
    }
    found = inputs(corpus, "train", rows, CONCATENATED, 512)
    first, second = corpus.splits["qqp"]["train"].texts
    (single,) = corpus.splits["sst"]["train"].texts
    expected = [[1, *first[row], 2, *second[row], 2] for row in rows["qqp"]]
    expected += [[1, *single[row], 2] for row in rows["sst"]]
    assert sequences_of(found) == expected
    assert found.sequences == {"qqp": 5, "sst": 3}
    assert {found.tokens.dtype, found.segments.dtype, found.offsets.dtype} == {torch.int64}


@given(lengths=LENGTHS, pairs=PAIRS)
def test_separate_pairs_are_all_first_sides_then_all_second_sides(lengths: list[int], pairs: list):
    corpus = corpus_of(lengths, pairs)
    rows = {"qqp": np.arange(len(pairs)), "sst": np.arange(len(lengths))}
    found = inputs(corpus, "train", rows, SEPARATE, 512)
    sides = (*corpus.splits["qqp"]["train"].texts, *corpus.splits["sst"]["train"].texts)
    assert sequences_of(found) == [[1, *side[row], 2] for side in sides for row in range(len(side))]
    assert found.sequences == {"qqp": 2 * len(pairs), "sst": len(lengths)}
    assert not found.segments.any()


@given(lengths=LENGTHS, pairs=PAIRS, limit=st.integers(5, 40))
def test_rows_encoded_both_ways_are_the_concatenated_then_the_separate_sequences(lengths, pairs, limit):
    corpus, rows = corpus_of(lengths, pairs), {"qqp": np.arange(len(pairs)), "sst": np.arange(len(lengths))}
    both = inputs(corpus, "train", rows, {"sst": "concatenated", "qqp": "both"}, limit)
    parts = [
        inputs(corpus, "train", {task: rows[task]}, encodings, limit)
        for task, encodings in (("qqp", CONCATENATED), ("qqp", SEPARATE), ("sst", CONCATENATED))
    ]
    assert sequences_of(both) == [tokens for part in parts for tokens in sequences_of(part)]
    assert torch.equal(both.segments, torch.cat([part.segments for part in parts]))
    assert both.sequences == {"qqp": 3 * len(pairs), "sst": len(lengths)}


@given(rows=st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=8), limit=st.integers(7, 60))
@settings(max_examples=300)
def test_rows_with_three_sides_are_encoded_like_pairs(rows: list[tuple[int, int, int]], limit: int):
    corpus, numbers = triples(rows), {"nli": np.arange(len(rows))}
    sides = corpus.splits["nli"]["train"].texts
    apart = inputs(corpus, "train", numbers, {"nli": "separate"}, 64)
    assert sequences_of(apart) == [[1, *side[row], 2] for side in sides for row in range(len(rows))]
    whole = inputs(corpus, "train", numbers, {"nli": "concatenated"}, limit)
    for row, tokens in enumerate(sequences_of(whole)):
        kept = [[token for token in tokens if token in set(side[row].tolist())] for side in sides]
        assert tokens == [1, *kept[0], 2, *kept[1], 2, *kept[2], 2]
        assert len(tokens) == min(limit, sum(rows[row]) + 4)
        longest = max(map(len, kept))
        for side, part in zip(sides, kept, strict=True):
            assert part == side[row].tolist()[: len(part)]
            assert len(part) == len(side[row]) or len(part) >= longest - 1, "only the longest sides lose tokens"


def test_the_remainder_of_an_even_truncation_goes_to_the_first_sides():
    corpus = triples([(9, 9, 9), (1, 9, 30)])
    tokens = inputs(corpus, "train", {"nli": np.arange(2)}, {"nli": "concatenated"}, 15)
    kept = [
        [sum(1000 * side <= token < 1000 * (side + 1) for token in row) for side in (1, 2, 3)]
        for row in sequences_of(tokens)
    ]
    assert kept == [[4, 4, 3], [1, 5, 5]]
    assert tokens.segments[:15].tolist() == [0] * 6 + [1] * 9


@given(pairs=PAIRS, limit=st.integers(5, 40))
@settings(max_examples=300)
def test_truncation_fills_the_limit_and_shortens_the_longer_side_first(pairs: list, limit: int):
    corpus = corpus_of([1], pairs)
    found = inputs(corpus, "train", {"qqp": np.arange(len(pairs))}, CONCATENATED, limit)
    texts = corpus.splits["qqp"]["train"].texts
    for row, tokens in enumerate(sequences_of(found)):
        middle = tokens.index(2)
        kept = [tokens[1:middle], tokens[middle + 1 : -1]]
        before = [side[row].tolist() for side in texts]
        assert tokens.count(2) == 2 and tokens[-1] == 2
        assert all(whole[: len(part)] == part for whole, part in zip(before, kept, strict=True))
        assert all(part for whole, part in zip(before, kept, strict=True) if whole)
        assert len(tokens) == min(limit, len(before[0]) + len(before[1]) + 3)
        for whole, part, other in zip(before, kept, reversed(kept), strict=True):
            assert part == whole or len(part) >= len(other) - 1


@given(lengths=LENGTHS, limit=st.integers(5, 40))
def test_a_single_sentence_is_truncated_to_the_limit(lengths: list[int], limit: int):
    found = inputs(corpus_of(lengths, [(1, 1)]), "train", {"sst": np.arange(len(lengths))}, CONCATENATED, limit)
    assert np.diff(found.offsets).tolist() == [min(limit, length + 2) for length in lengths]


@given(pairs=PAIRS, limit=st.integers(5, 70))
def test_segments_are_0_up_to_the_first_separator_and_1_after_it(pairs: list, limit: int):
    found = inputs(corpus_of([1], pairs), "train", {"qqp": np.arange(len(pairs))}, CONCATENATED, limit)
    for tokens, segments in zip(
        sequences_of(found), torch.tensor_split(found.segments, found.offsets[1:-1]), strict=True
    ):
        first = tokens.index(2) + 1
        assert segments.tolist() == [0] * first + [1] * (len(tokens) - first)


def test_labels_have_the_order_of_the_rows_and_are_float32():
    found = labels(corpus_of([1, 1, 1], [(1, 1)]), "train", {"sst": np.array([2, 0, 2]), "qqp": np.array([0])})
    assert found["sst"].tolist() == [2, 0, 2]
    assert found["sst"].dtype == torch.float32
    assert found["qqp"].isnan().all()
