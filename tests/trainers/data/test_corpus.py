"""Test opening a corpus: its rows, tasks and text sets, and input errors."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from model.errors import InputError
from tests.trainers.data.corpora import TOKENIZER, opened, with_texts, write
from tests.trainers.user_data import USER_TASKS, declarations, write_user_data
from trainers.data.corpus import Corpus, corpus_tasks
from trainers.data.prepare import prepare
from trainers.evaluation.scores import score
from trainers.folder import Folder
from trainers.tasks import TASKS


def test_rows_are_token_ids_in_order_without_special_tokens_padding_or_truncation(tmp_path: Path):
    directory, _ = prepare(str(write(tmp_path / "data")), TOKENIZER, rows=None, seed=0, cache=tmp_path)
    corpus = Corpus.open(directory)
    train = corpus.splits["qqp"]["train"]
    assert (train.ids, train.labels.tolist()) == (["x", "y"], [1, 0])
    assert [[side[row].tolist() for row in range(len(side))] for side in train.texts] == [[[5, 6, 7], [8]], [[10], []]]
    special = corpus.special_tokens
    assert (special.cls, special.sep, special.pad, special.mask) == (2, 3, 0, 4)
    assert {name: len(split) for name, split in corpus.splits["qqp"].items()} == {"train": 2, "dev": 1}
    assert train.texts[0].values.dtype == np.int32 and train.labels.dtype == np.float32
    assert corpus.fingerprint == directory.name


def test_opening_maps_the_files_into_memory_without_copies(tmp_path: Path):
    directory, _ = prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path)
    before = pa.total_allocated_bytes()
    corpus = Corpus.open(directory)
    assert pa.total_allocated_bytes() - before < 10_000
    values = corpus.splits["sst"]["train"].texts[0].values
    assert not values.flags.owndata and not values.flags.writeable


def test_the_sample_has_all_tasks(tmp_path: Path):
    corpus = Corpus.open(prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path)[0])
    assert corpus.train_sizes(TASKS) == dict.fromkeys(TASKS, 256)


def test_a_missing_corpus_and_a_missing_task_are_input_errors(tmp_path: Path):
    with pytest.raises(InputError, match="No tokenised corpus"):
        Corpus.open(tmp_path / "gone")
    with pytest.raises(InputError, match="No tokenised corpus"):
        corpus_tasks(Folder.at(tmp_path / "gone"))
    corpus = Corpus.open(prepare(str(write(tmp_path / "data")), TOKENIZER, rows=None, seed=0, cache=tmp_path)[0])
    with pytest.raises(InputError, match="Unknown task or text set of the data 'sst'"):
        corpus.train_sizes(["qqp", "sst"])


def test_an_unknown_name_is_reported_with_the_nearest_task_or_text_set(tmp_path: Path):
    corpus = opened(with_texts(tmp_path / "data", films="a\n"), tmp_path, texts=["films"])
    with pytest.raises(InputError, match=r"'filme'; did you mean 'films'\? Known: films, qqp.*filme\.txt"):
        corpus.train_sizes(["qqp", "filme"])


def test_corpora_that_declare_different_tasks_with_one_name_are_independent(tmp_path: Path):
    first = opened(write_user_data(tmp_path / "first"), tmp_path)
    other = declarations()["mood"] | {"high": 2}
    second = opened(write_user_data(tmp_path / "second", mood=other), tmp_path)
    assert (first.tasks["mood"].high, second.tasks["mood"].high) == (1, 2)
    metrics = {"mood": 0.5, "stars": 0.5}
    assert score(metrics, first.tasks) == 0.625
    assert corpus_tasks(Folder.at(first.directory)) == first.tasks != second.tasks
    assert "mood" not in TASKS


def test_a_corpus_has_only_the_tasks_of_its_data(tmp_path: Path):
    assert opened("sample", tmp_path).tasks == TASKS
    assert opened(write(tmp_path / "data"), tmp_path).tasks == {"qqp": TASKS["qqp"]}
    user = opened(write_user_data(tmp_path / "user"), tmp_path)
    assert list(user.tasks) == list(user.splits) == list(USER_TASKS)
    assert user.train_sizes(["near", "stars"]) == {"near": 12, "stars": 12}


def test_a_corpus_of_another_format_version_is_an_input_error(tmp_path: Path):
    directory, _ = prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path)
    description = json.loads((directory / "corpus.json").read_text())
    del description["format"]
    (directory / "corpus.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="Another version of this program"):
        Corpus.open(directory)
