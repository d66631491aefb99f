"""Test properties of the generated corpus."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from trainers.data.generated_sample import LINES, SCENE, SIZES, sample_corpus
from trainers.tasks import TASKS

SAMPLE = sample_corpus()
CORPUS = SAMPLE.splits
DIGESTS = {
    "sst": "a4e4b4c2f6b7266c",
    "qqp": "6a4656f0be79dd79",
    "sts": "3640a174b42666a7",
    "cfimdb": "32d27ae5d0f69aad",
}


def test_every_task_has_every_split_with_its_size():
    sizes = {task: {name: len(split.ids) for name, split in splits.items()} for task, splits in CORPUS.items()}
    assert sizes == dict.fromkeys(TASKS, SIZES)


def test_the_corpus_is_the_same_in_another_process():
    program = (
        "import json; from trainers.data.generated_sample import sample_corpus; corpus = sample_corpus(); "
        "sides = *corpus.splits['qqp']['dev'].texts, *corpus.texts['snli'].texts; "
        "print(json.dumps([list(side) for side in sides]))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    sides = (*CORPUS["qqp"]["dev"].texts, *SAMPLE.texts["snli"].texts)
    assert other.strip() == json.dumps([list(side) for side in sides])


@pytest.mark.parametrize("task", TASKS)
def test_ids_are_unique_and_of_25_characters(task: str):
    ids = [identifier for split in CORPUS[task].values() for identifier in split.ids]
    assert len(set(ids)) == len(ids)
    assert {len(identifier) for identifier in ids} == {25}


@pytest.mark.parametrize("task", TASKS)
def test_no_row_occurs_twice_in_a_task(task: str):
    rows = [row for split in CORPUS[task].values() for row in zip(*split.texts, strict=True)]
    assert len(set(rows)) == len(rows) == sum(SIZES.values())


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_in_range_and_no_class_is_rare(task: str):
    for split in CORPUS[task].values():
        assert ((split.labels >= TASKS[task].low) & (split.labels <= TASKS[task].high)).all()
        if TASKS[task].kind != "regression":
            classes = Counter(split.labels.tolist())
            assert sorted(classes) == list(range(int(TASKS[task].low), int(TASKS[task].high) + 1))
            assert min(classes.values()) > 0.5 * len(split.ids) / len(classes)


def test_similarities_are_fractional_and_cover_the_range():
    labels = np.concatenate([split.labels for split in CORPUS["sts"].values()])
    assert (labels % 1 > 0).mean() > 0.5
    assert len(np.unique(labels)) > 20
    assert labels.min() == 0 and labels.max() == 5


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_short_english_sentences(task: str):
    for side in CORPUS[task]["train"].texts:
        words = [len(text.split()) for text in side]
        assert min(words) >= 4 and max(words) <= 35
        assert all(text.isascii() and text == text.strip() and "{" not in text for text in side)


def test_the_text_sets_have_one_and_three_sides_of_different_rows():
    sides = {name: [len(side) for side in found.texts] for name, found in SAMPLE.texts.items()}
    assert sides == {"imdb": [LINES], "snli": [LINES] * 3}
    for found in SAMPLE.texts.values():
        rows = list(zip(*found.texts, strict=True))
        assert len(set(rows)) == LINES
        assert all(text == text.strip() and "{" not in text and "/" not in text for row in rows for text in row)


def test_text_sets_contain_no_text_of_dev_or_test():
    held_out = [split for parts in CORPUS.values() for name, split in parts.items() if name != "train"]
    hidden = {text for split in held_out for side in split.texts for text in side}
    assert hidden.isdisjoint(text for found in SAMPLE.texts.values() for side in found.texts for text in side)


def test_positives_are_paraphrases_and_negatives_have_another_meaning():
    meanings = [meaning.split("/") for _, part in SCENE for meaning in part.split(", ")]
    number = {word: place for place, synonyms in enumerate(meanings) for word in synonyms}
    longest_first = re.compile("|".join(sorted(map(re.escape, number), key=len, reverse=True)))
    for row in zip(*SAMPLE.texts["snli"].texts, strict=True):
        words = [longest_first.findall(text) for text in row]
        own, positive, negative = ([number[word] for word in part] for part in words)
        assert len(own) == len(SCENE) and own == positive != negative
        assert not set(words[0]) & set(words[1])


@pytest.mark.parametrize("task", TASKS)
def test_the_rows_of_every_task_have_not_changed(task: str):
    splits = CORPUS[task].values()
    rows = [[list(split.ids), [list(side) for side in split.texts], split.labels.tolist()] for split in splits]
    assert hashlib.blake2b(json.dumps(rows).encode(), digest_size=8).hexdigest() == DIGESTS[task]
