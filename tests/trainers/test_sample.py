"""The generated corpus: what its readers rely on."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from trainers.sample import SIZES, sample_corpus
from trainers.tasks import TASKS

CORPUS = sample_corpus()


def test_it_has_every_task_and_split_at_its_size():
    sizes = {task: {name: len(split.ids) for name, split in splits.items()} for task, splits in CORPUS.items()}
    assert sizes == dict.fromkeys(TASKS, SIZES)


def test_it_is_the_same_in_another_process():
    program = (
        "import json; from trainers.sample import sample_corpus; print(json.dumps(sample_corpus()['qqp']['dev'].texts))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert other.strip() == json.dumps(CORPUS["qqp"]["dev"].texts)


@pytest.mark.parametrize("task", TASKS)
def test_ids_are_unique_and_of_25_characters(task: str):
    ids = [identifier for split in CORPUS[task].values() for identifier in split.ids]
    assert len(set(ids)) == len(ids)
    assert {len(identifier) for identifier in ids} == {25}


@pytest.mark.parametrize("task", TASKS)
def test_no_text_occurs_twice_so_that_no_split_leaks_into_another(task: str):
    rows = [row for split in CORPUS[task].values() for row in zip(*split.texts, strict=True)]
    assert len(set(rows)) == len(rows) == sum(SIZES.values())


@pytest.mark.parametrize("task", TASKS)
def test_every_split_is_labelled_in_range_and_no_class_is_rare(task: str):
    for split in CORPUS[task].values():
        assert ((split.labels >= TASKS[task].low) & (split.labels <= TASKS[task].high)).all()
        if TASKS[task].kind != "regression":
            classes = Counter(split.labels.tolist())
            assert sorted(classes) == list(range(int(TASKS[task].low), int(TASKS[task].high) + 1))
            assert min(classes.values()) > 0.5 * len(split.ids) / len(classes)


def test_similarities_have_fractions_and_cover_the_range():
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
