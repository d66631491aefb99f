"""A corpus: what goes in comes out, once, whole, under a key of its content."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from model.errors import InputError
from trainers.data import SIDE_LIMIT, Corpus, prepare, stratified
from trainers.tasks import TASKS

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = list("abcdef")


def tokenizer_of(tokens: list[str]) -> str:
    """Return a tokenizer.json that cuts and pads, as those of some public checkpoints do."""
    tokenizer = Tokenizer(models.WordLevel({token: place for place, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=2)
    return tokenizer.to_str()


TOKENIZER = tokenizer_of([*SPECIAL_TOKENS, *WORDS])


def write(directory: Path, train: str = "", dev: str = "") -> Path:
    header = "\tid\tsentence1\tsentence2\tis_duplicate\n"
    directory.mkdir()
    (directory / "quora-train.csv").write_text(header + "0\tx\ta b c\tf\t1.0\n1\ty\td\t\t0.0\n" + train)
    (directory / "quora-dev.csv").write_text(header + "0\tz\tb\tc c\t1\n" + dev)
    return directory


def fingerprint(source: Path, tokenizer: str = TOKENIZER, rows: int | None = None, cache: str = "cache") -> str:
    return prepare(str(source), tokenizer, rows=rows, seed=0, cache=source.parent / cache)[0].name


def test_rows_come_back_in_order_as_token_ids_without_special_tokens_padding_or_cuts(tmp_path: Path):
    directory, _ = prepare(str(write(tmp_path / "data")), TOKENIZER, rows=None, seed=0, cache=tmp_path)
    corpus = Corpus.open(directory)
    train = corpus.splits["qqp"]["train"]
    assert (train.ids, train.labels.tolist()) == (["x", "y"], [1, 0])
    assert [[side[row].tolist() for row in range(len(side))] for side in train.texts] == [[[5, 6, 7], [8]], [[10], []]]
    assert (corpus.specials.cls, corpus.specials.sep, corpus.specials.pad, corpus.specials.mask) == (2, 3, 0, 4)
    assert {name: len(split) for name, split in corpus.splits["qqp"].items()} == {"train": 2, "dev": 1}
    assert train.texts[0].values.dtype == np.int32 and train.labels.dtype == np.float32
    assert corpus.fingerprint == directory.name


def test_a_sentence_is_cut_to_what_fits_beside_the_special_tokens(tmp_path: Path):
    source = write(tmp_path / "data", train=f"2\tlong\t{'e ' * 600}\t{'f ' * 510}\t1\n")
    texts = (
        Corpus.open(prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path)[0]).splits["qqp"]["train"].texts
    )
    assert [len(side[2]) for side in texts] == [SIDE_LIMIT, SIDE_LIMIT]


def test_opening_maps_the_files_and_copies_nothing(tmp_path: Path):
    directory, _ = prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path)
    before = pa.total_allocated_bytes()
    corpus = Corpus.open(directory)
    assert pa.total_allocated_bytes() - before < 10_000
    values = corpus.splits["sst"]["train"].texts[0].values
    assert not values.flags.owndata and not values.flags.writeable


def test_the_sample_has_all_tasks(tmp_path: Path):
    corpus = Corpus.open(prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path)[0])
    assert corpus.train_sizes(TASKS) == dict.fromkeys(TASKS, 256)


def test_the_key_changes_with_the_content_and_with_nothing_else(tmp_path: Path):
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


def test_what_is_tokenised_already_is_not_written_again(tmp_path: Path):
    source = write(tmp_path / "data")
    directory, _ = prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    assert prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path / "cache")[0] == directory
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_several_that_prepare_the_same_corpus_at_once_end_with_one_whole_one(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        found = set(
            pool.map(lambda _: prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path / "cache")[0], range(8))
        )
    assert list((tmp_path / "cache").iterdir()) == list(found)
    assert Corpus.open(found.pop()).train_sizes(TASKS) == dict.fromkeys(TASKS, 256)


def test_a_tokenizer_without_the_special_tokens_or_that_is_none_is_refused_and_leaves_nothing(tmp_path: Path):
    for text, words in [
        (tokenizer_of(["[UNK]", "[CLS]", "[SEP]", "a"]), r"no \[PAD\], \[MASK\]"),
        ("{}", "cannot be read"),
    ]:
        with pytest.raises(InputError, match=words):
            prepare("sample", text, rows=None, seed=0, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_told_with_its_remedy(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        prepare("sample", TOKENIZER, rows=None, seed=0, cache=tmp_path / "file" / "cache")


def test_rows_without_a_label_are_counted_and_only_those_of_dev_stay(tmp_path: Path):
    source = write(tmp_path / "data", train="2\tp\ta\tb\t\n3\tq\ta\t\t\n", dev="1\tr\ta\tb\t\n")
    directory, notes = prepare(str(source), TOKENIZER, rows=None, seed=0, cache=tmp_path)
    splits = Corpus.open(directory).splits["qqp"]
    assert splits["train"].ids == ["x", "y"]
    assert splits["dev"].ids == ["z", "r"]
    np.testing.assert_array_equal(splits["dev"].labels, [1, np.nan])
    assert notes == [
        "qqp: 4 train and 2 dev rows.",
        "qqp: 2 of the train rows with an empty label: skipped.",
        "qqp: 2 empty sentences in train: kept.",
        "qqp: 1 of the dev rows with an empty label: predicted, not scored.",
    ]


def test_a_sample_of_rows_takes_from_training_alone_and_its_seed_decides_which(tmp_path: Path):
    def rows(seed: int, count: int) -> dict[str, list[str]]:
        directory, _ = prepare("sample", TOKENIZER, rows=count, seed=seed, cache=tmp_path)
        return {name: split.ids for name, split in Corpus.open(directory).splits["sst"].items()}

    assert {name: len(ids) for name, ids in rows(0, 20).items()} == {"train": 20, "dev": 128, "test": 128}
    assert rows(0, 20) == rows(0, 20) != rows(1, 20)
    assert set(rows(0, 20)["train"]) < set(rows(0, 50)["train"])
    assert len(rows(0, 10_000)["train"]) == 256


@given(labels=st.lists(st.floats(0, 5), max_size=60), count=st.integers(0, 70), seed=st.integers(0, 5))
def test_a_stratified_sample_repeats_no_row_and_lies_within_a_larger_one(labels: list[float], count: int, seed: int):
    small = stratified(np.array(labels), count, np.random.default_rng(seed))
    large = stratified(np.array(labels), count + 3, np.random.default_rng(seed))
    assert len(small) == min(count, len(labels))
    assert (np.diff(small) > 0).all()
    assert set(small) <= set(large)


@pytest.mark.parametrize("count", [7, 100, 1_000, 5_000])
def test_a_stratified_sample_has_the_shares_of_the_whole_even_if_it_is_sorted(count: int):
    sizes = np.array([1_092, 2_218, 1_624, 2_322, 1_288])
    labels = np.repeat(np.arange(5.0)[::-1], sizes[::-1])
    found = np.bincount(labels[stratified(labels, count, np.random.default_rng(0))].astype(int), minlength=5)
    assert np.abs(found - count * sizes / sizes.sum()).max() < 1


def test_a_corpus_that_is_gone_and_a_task_that_it_lacks_are_told(tmp_path: Path):
    with pytest.raises(InputError, match="No tokenised corpus"):
        Corpus.open(tmp_path / "gone")
    corpus = Corpus.open(prepare(str(write(tmp_path / "data")), TOKENIZER, rows=None, seed=0, cache=tmp_path)[0])
    with pytest.raises(InputError, match="no rows of task 'sst', only of qqp"):
        corpus.train_sizes(["qqp", "sst"])
