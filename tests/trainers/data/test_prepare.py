"""Test preparing a corpus: content, fingerprint, cache, samples and input errors."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from model.errors import InputError
from tests.trainers.data.corpora import (
    SPECIAL_TOKENS,
    TOKENIZER,
    WORDS,
    fingerprint,
    opened,
    tokenizer_of,
    with_texts,
    words_of,
    write,
)
from tests.trainers.user_data import declarations, write_user_data
from trainers.data.corpus import Corpus
from trainers.data.generated_sample import sample_corpus
from trainers.data.prepare import prepare
from trainers.data.ragged import SIDE_LIMIT
from trainers.tasks import TASKS


def test_a_sentence_is_truncated_to_leave_room_for_the_special_tokens(tmp_path: Path):
    source = write(tmp_path / "data", train=f"2\tlong\t{'e ' * 600}\t{'f ' * 510}\t1\n")
    texts = (
        Corpus.open(prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path)[0]).splits["qqp"]["train"].texts
    )
    assert [len(side[2]) for side in texts] == [SIDE_LIMIT, SIDE_LIMIT]


def test_the_fingerprint_depends_on_the_content_only(tmp_path: Path):
    source = write(tmp_path / "data")
    (tmp_path / "other").mkdir()
    same = write(tmp_path / "other" / "place")
    renumbered = write(tmp_path / "renumbered")
    text = (renumbered / "quora-train.csv").read_text().replace("0\tx", "17\tx")
    (renumbered / "quora-train.csv").write_text(text)
    key = fingerprint(source)
    assert key == fingerprint(same) == fingerprint(renumbered) == fingerprint(source, rows=2)
    changes = {"text": "x\ta b d", "id": "w\ta b c", "label": "x\ta b c\tf\t0.0"}
    found = {key, fingerprint(source, rows=1), fingerprint(source, tokenizer_of([*SPECIAL_TOKENS, *WORDS[::-1]]))}
    for name, change in changes.items():
        changed = write(tmp_path / name)
        before = "x\ta b c\tf\t1.0" if name == "label" else "x\ta b c"
        (changed / "quora-train.csv").write_text((changed / "quora-train.csv").read_text().replace(before, change))
        found.add(fingerprint(changed))
    assert len(found) == 3 + len(changes)


def test_a_cached_corpus_is_not_written_again(tmp_path: Path):
    source = write(tmp_path / "data")
    directory, _ = prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    assert prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path / "cache")[0] == directory
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


@pytest.mark.parametrize("name", ["corpus.json", "qqp-dev.arrow"])
def test_a_damaged_cached_corpus_is_made_again(name: str, tmp_path: Path):
    source, cache = write(tmp_path / "data"), tmp_path / "cache"
    directory, notes = prepare(str(source), TOKENIZER, rows=None, seed=0, cache=cache)
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[:-30])
    assert prepare(str(source), TOKENIZER, rows=None, seed=0, cache=cache) == (directory, notes)
    assert (directory / name).read_bytes() == content
    assert list(cache.iterdir()) == [directory]


def test_concurrent_preparations_of_one_corpus_leave_one_complete_directory(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        found = set(
            pool.map(lambda _: prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path / "cache")[0], range(8))
        )
    assert list((tmp_path / "cache").iterdir()) == list(found)
    assert Corpus.open(found.pop()).train_sizes(TASKS) == dict.fromkeys(TASKS, 256)


def test_a_faulty_tokenizer_is_an_input_error_and_leaves_no_files(tmp_path: Path):
    for text, words in [
        (tokenizer_of(["[UNK]", "[CLS]", "[SEP]", "a"]), r"no \[PAD\]"),
        ("{}", "The encoder's tokenizer.json is not a tokenizer"),
    ]:
        with pytest.raises(InputError, match=words):
            prepare("sample", text, rows=None, seed=0, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_unwritable_cache_is_an_input_error_with_the_remedy(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path / "file" / "cache")


def test_unlabelled_rows_are_reported_and_kept_in_dev_only(tmp_path: Path):
    source = write(tmp_path / "data", train="2\tp\ta\tb\t\n3\tq\ta\t\t\n", dev="1\tr\ta\tb\t\n")
    directory, notes = prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path)
    splits = Corpus.open(directory).splits["qqp"]
    assert splits["train"].ids == ["x", "y"]
    assert splits["dev"].ids == ["z", "r"]
    np.testing.assert_array_equal(splits["dev"].labels, [1, np.nan])
    assert notes == [
        "qqp: 4 train and 2 dev rows.",
        "qqp: train rows with an empty label, which are skipped: 2.",
        "qqp: kept 2 empty sentences in train.",
        "qqp: dev rows with an empty label, which are predicted but not scored: 1.",
    ]


def test_rows_whose_texts_stand_in_train_too_are_counted_pairs_in_either_order(tmp_path: Path):
    shared = "1\tp\tf\t a b c \t1\n2\tq\td\t\t0\n"
    other = "3\tr\td\td\t0\n4\ts\ta b\tc f\t0\n5\tt\tno label\tin train\t0\n6\tu\td\t\t\n"
    source = write(tmp_path / "data", train="9\tw\tno label\tin train\t\n", dev=shared + other)
    _, notes = prepare(str(source), TOKENIZER, rows=1, seed=0, cache=tmp_path)
    assert notes[-2] == "qqp: dev rows whose texts stand in train too, which flatters the metrics: 2."


def test_sampling_rows_affects_training_rows_only_and_depends_on_the_seed(tmp_path: Path):
    def rows(seed: int, count: int) -> dict[str, list[str]]:
        directory, _ = prepare("sample", TOKENIZER, rows=count, seed=seed, cache=tmp_path)
        return {name: split.ids for name, split in Corpus.open(directory).splits["sst"].items()}

    assert {name: len(ids) for name, ids in rows(0, 20).items()} == {"train": 20, "dev": 128, "test": 128}
    assert rows(0, 20) == rows(0, 20) != rows(1, 20)
    assert set(rows(0, 20)["train"]) < set(rows(0, 50)["train"])
    assert len(rows(0, 10_000)["train"]) == 256


TRIPLES = "a\tb\tc\nd d\te\tf\n\nb c\tf\ta\n"


def test_text_sets_are_tokenised_with_the_tasks_and_have_training_rows_only(tmp_path: Path):
    source = with_texts(tmp_path / "data", nli=TRIPLES, films="c b a\n")
    directory, notes = prepare(str(source), TOKENIZER, rows=None, seed=0, texts=["nli", "films"], cache=tmp_path)
    corpus = Corpus.open(directory)
    assert words_of(corpus.sides("nli")) == [("a", "b", "c"), ("d d", "e", "f"), ("b c", "f", "a")]
    assert words_of(corpus.sides("films")) == [("c b a",)]
    assert words_of(corpus.sides("qqp")) == [("a b c", "f"), ("d", "")]
    assert words_of(corpus.sides("qqp", "dev")) == [("b", "c c")]
    assert corpus.train_sizes(["films", "qqp", "nli"]) == {"films": 1, "qqp": 2, "nli": 3}
    assert not corpus.texts["nli"][2].values.flags.owndata
    with pytest.raises(AssertionError):
        corpus.sides("nli", "dev")
    assert notes[-3:] == [
        "nli: 3 texts without labels.",
        "nli: 1 blank lines skipped.",
        "films: 1 texts without labels.",
    ]


def test_text_files_that_are_not_requested_are_not_read(tmp_path: Path):
    source = with_texts(tmp_path / "data", README="Files:\n\tone\ttwo\nthe end\n", nli=TRIPLES)
    (source / "binary.txt").write_bytes(b"\xff\0")
    assert opened(source, tmp_path).texts == {}
    assert list(opened(source, tmp_path, texts={"nli"}).texts) == ["nli"]


@pytest.mark.parametrize("name", ["qqp", "sst"])
def test_a_task_and_a_text_set_with_the_same_name_are_an_input_error(tmp_path: Path, name: str):
    source = with_texts(tmp_path / "data", **{name: "a\n"})
    with pytest.raises(InputError, match=f"'{name}' is the name of a task and of a text set. Rename"):
        opened(source, tmp_path, texts=[name])


def test_an_unknown_text_set_is_an_input_error_before_any_download(tmp_path: Path):
    with pytest.raises(InputError, match=r"Unknown text set of --data hub 'imdb'. Known: none. Pass .*has imdb\.txt"):
        opened("hub", tmp_path, texts=["imdb"])
    with pytest.raises(InputError, match=r"Unknown text set of --data sample 'imbd'; did you mean 'imdb'\?"):
        opened("sample", tmp_path, texts=["imbd"])
    with pytest.raises(InputError, match=r"Unknown text set 'imdb'.*Add .*data.imdb\.txt with one text per line"):
        opened(with_texts(tmp_path / "data"), tmp_path, texts=["imdb"])


def test_sampling_rows_of_a_text_set_depends_on_the_seed_and_keeps_the_order(tmp_path: Path):
    texts = sample_corpus().texts["snli"].texts
    words = sorted({word.strip(".") for side in texts for text in side for word in text.split()})
    tokenizer = tokenizer_of([*SPECIAL_TOKENS, *words])

    def rows(seed: int, count: int) -> list[str]:
        directory, _ = prepare("sample", tokenizer, rows=count, seed=seed, cache=tmp_path)
        sides = Corpus.open(directory).sides("snli")
        return [repr([side[row].tolist() for side in sides]) for row in range(len(sides[0]))]

    whole, few = rows(0, 10_000), rows(0, 20)
    places = [whole.index(row) for row in few]
    assert (len(whole), len(few)) == (256, 20)
    assert places == sorted(set(places)), "complete rows, in their order"
    assert few == rows(0, 20) != rows(1, 20)
    assert set(few) < set(rows(0, 50))


def test_the_fingerprint_covers_text_sets_and_tasks_but_not_file_names(tmp_path: Path):
    source = with_texts(tmp_path / "data", films="a b\n", more="a b\n")
    found = [fingerprint(source, texts=texts) for texts in ([], ["films"], ["more"], ["films", "more"])]
    assert fingerprint(source, texts=["more", "films"]) == found[-1]
    (source / "films.txt").write_text("a b\n\n")
    assert fingerprint(source, texts=["films"]) == found[1], "blank lines are not rows"
    (source / "films.txt").write_text("b a\n")
    found.append(fingerprint(source, texts=["films"]))
    (source / "films.txt").write_text("b\ta\n")
    found.append(fingerprint(source, texts=["films"]))
    user = write_user_data(tmp_path / "user")
    found.append(fingerprint(user))
    (user / "nli.dev.tsv").rename(user / "dev.txt")
    nli = declarations()["nli"]
    renamed = nli | {"files": nli["files"] | {"dev": "dev.txt"}}
    (user / "tasks.json").write_text(json.dumps(declarations() | {"nli": renamed}))
    assert fingerprint(user) == found[-1]
    wider = renamed | {"high": 3}
    (user / "tasks.json").write_text(json.dumps(declarations() | {"nli": wider}))
    found.append(fingerprint(user))
    assert len(set(found)) == len(found)


MARKS = {"train": "x", "dev": "y", "test": "z"}
LINES = st.lists(st.text("abcdef", min_size=1, max_size=4).map(" ".join), min_size=1, max_size=8)


@given(train=LINES, dev=LINES, test=LINES, lines=LINES, rows=st.none() | st.integers(1, 9))
@settings(max_examples=25)
def test_training_texts_contain_no_row_of_dev_or_test(train, dev, test, lines, rows, tmp_path_factory):
    place = tmp_path_factory.mktemp("leak")
    for split, end, texts in (("train", "train", train), ("dev", "dev", dev), ("test", "test-student", test)):
        table = [f"{split}{row}\t{text} {MARKS[split]}\t1" for row, text in enumerate(texts)]
        (place / f"ids-sst-{end}.csv").write_text("\n".join(["id\tsentence\tsentiment", *table]) + "\n")
    (place / "films.txt").write_text("\n".join(lines))
    tokenizer = tokenizer_of([*SPECIAL_TOKENS, *WORDS, *MARKS.values()])
    directory, _ = prepare(str(place), tokenizer, rows=rows, seed=0, texts=["films"], cache=place / "cache")
    corpus = Corpus.open(directory)
    marks = {Tokenizer.from_str(tokenizer).token_to_id(mark): split for split, mark in MARKS.items()}
    for source, expected in (("sst", ["train"]), ("films", [])):
        (side,) = corpus.sides(source)
        assert len(side) == corpus.train_sizes([source])[source] <= (rows or len(train + lines))
        assert sorted({marks[token] for token in side.values.tolist() if token in marks}) == expected
