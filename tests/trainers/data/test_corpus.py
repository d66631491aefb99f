"""Test opening a corpus: its rows, tasks and text sets, and input errors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from model.errors import InputError
from tests.trainers.data.corpora import TOKENIZER, opened, resealed, with_texts, write
from tests.trainers.user_data import USER_TASKS, declarations, write_user_data
from trainers.data.corpus import Corpus, corpus_tasks
from trainers.data.corpus_record import corpus_json
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


def edited(directory: Path, **changes: Any) -> str:
    """Change fields of `corpus.json`, with a right checksum; return the error of opening the corpus."""
    description = json.loads((directory / "corpus.json").read_text())
    fields = {name: value for name, value in (description | changes).items() if name not in ("format", "checksum")}
    (directory / "corpus.json").write_bytes(corpus_json(fields))
    for read in (lambda: Corpus.open(directory), lambda: corpus_tasks(Folder.at(directory))):
        with pytest.raises(InputError) as caught:
            read()
    return str(caught.value)


def test_a_corpus_of_another_format_version_is_an_input_error(tmp_path: Path):
    directory, _ = prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path)
    description = json.loads((directory / "corpus.json").read_text())
    for other in (3, None, [4]):
        (directory / "corpus.json").write_text(json.dumps(description | {"format": other}))
        with pytest.raises(InputError, match="Another version of this program"):
            Corpus.open(directory)


NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "a name that is a path": ({"name": "../up", "submission": "../up"}, "a name may contain letters, digits, _ and -"),
    "a prediction file elsewhere": ({"submission": "../../up"}, "submission and submission_header are not those of"),
    "markup in a header": ({"submission_header": "<script>"}, "submission and submission_header are not those of"),
    "a reserved name": ({"name": "score", "submission": "score"}, "the name is reserved"),
    "a built-in task that differs": ({"name": "sst", "submission": "sst"}, "it differs from the built-in task"),
    "an unknown metric": ({"metric": "pearson"}, "metric 'pearson' is none of a binary's"),
    "a metric that is no name": ({"metric": ["accuracy"]}, "metric: Input should be a valid string"),
    "an endless range": ({"high": 1e300}, "high: Input should be less than or equal to"),
}


@pytest.mark.parametrize(("changes", "words"), NAMES.values(), ids=NAMES)
def test_a_corpus_has_only_names_that_a_user_may_declare(changes: dict[str, Any], words: str, tmp_path: Path):
    directory = prepare(str(write_user_data(tmp_path / "data")), TOKENIZER, rows=None, seed=0, cache=tmp_path)[0]
    tasks = json.loads((directory / "corpus.json").read_text())["tasks"]
    name = changes.get("name", "spam")
    fields = {task: record for task, record in tasks.items() if task != "spam"} | {name: tasks["spam"] | changes}
    message = edited(directory, tasks=fields)
    assert f"{directory}/corpus.json cannot be used: " in message and words in message and "\n" not in message


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "a text set that is a path": ({"texts": ["../films"]}, "texts: '../films' is no name of a text set"),
    "a text set that is a task": ({"texts": ["qqp"]}, "texts: 'qqp' is no name of a text set"),
    "an unknown split": ({"splits": {"qqp": ["train", "dev", "../x"]}}, "splits.qqp: not train, dev and possibly test"),
    "no dev split": ({"splits": {"qqp": ["train"]}}, "splits.qqp: not train, dev and possibly test"),
    "splits of another task": ({"splits": {"sst": ["train", "dev"]}}, "splits and tasks have different names"),
    "no checksums": ({"checksums": {}}, "checksums: not those of the corpus's files"),
    "a checksum in words": ({"checksums": {"qqp-dev.arrow": "x"}}, "checksums.qqp-dev.arrow: Input should be a valid"),
    "a fingerprint that is a path": ({"fingerprint": "../x"}, "fingerprint: String should match pattern"),
    "special tokens in a list": ({"specials": [1]}, "specials: "),
    "an unknown field": ({"more": 1}, "Unknown key 'more'"),
}


@pytest.mark.parametrize(("changes", "words"), FIELDS.values(), ids=FIELDS)
def test_a_faulty_field_of_a_corpus_is_an_input_error(changes: dict[str, Any], words: str, tmp_path: Path):
    directory = prepare(str(write(tmp_path / "data")), TOKENIZER, rows=None, seed=0, cache=tmp_path)[0]
    assert f"{directory}/corpus.json cannot be used: {words}" in edited(directory, **changes)


def test_one_changed_byte_of_any_file_is_an_input_error_with_its_name(tmp_path: Path):
    source = with_texts(tmp_path / "data", films="a b\n")
    directory = prepare(str(source), TOKENIZER, rows=None, seed=0, texts=["films"], cache=tmp_path)[0]
    files = {path: path.read_bytes() for path in directory.iterdir()}
    assert len(files) == 4
    for path, content in files.items():
        for place in range(0, len(content), max(1, len(content) // 40)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(InputError) as caught:
                Corpus.open(directory)
            assert path.name in str(caught.value) or "Another version" in str(caught.value)
        for damaged in (b"", content[:-1], content + b"x"):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=path.name):
                Corpus.open(directory)
        path.write_bytes(content)
    assert Corpus.open(directory).train_sizes(["qqp", "films"]) == {"qqp": 2, "films": 1}


def test_rows_that_do_not_fit_their_schema_are_an_input_error_even_with_a_right_checksum(tmp_path: Path):
    directory = prepare(str(write(tmp_path / "data")), TOKENIZER, rows=None, seed=0, cache=tmp_path)[0]
    path = directory / "qqp-train.arrow"
    text = pa.LargeListArray.from_arrays(pa.array([0, 2, 3], pa.int64()), pa.array(range(3), pa.int32()))
    columns = {"id": pa.array(["x", "y"]), "label": pa.array([1, 0], pa.float32()), "text1": text, "text2": text}
    for changes, words in [
        ({"text2": pa.array(["a", "b"])}, "its columns are"),
        ({"label": pa.array([1, None], pa.float32())}, "its columns are"),
        ({"text3": text}, "its columns are"),
    ]:
        batch = pa.record_batch(columns | changes)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        resealed(directory, path.name)
        with pytest.raises(InputError, match=f"qqp-train.arrow is no file of a corpus: {words}"):
            Corpus.open(directory)
    batch = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    within, beyond = (np.array([0, 2, end], np.int64).tobytes() for end in (3, 99))
    for content in (b"no Arrow file", path.read_bytes().replace(within, beyond)):
        path.write_bytes(content)
        resealed(directory, path.name)
        with pytest.raises(InputError, match=r"qqp-train.arrow is no file of a corpus: "):
            Corpus.open(directory)
