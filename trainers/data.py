"""Sources of rows -> a corpus: checked, tokenised once, kept as Arrow files under a key of its content."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import platformdirs
import pyarrow as pa
from tokenizers import Tokenizer

from model.errors import InputError
from trainers.course_files import RawSplit, read_course
from trainers.hub import read_hub
from trainers.sample import sample_corpus
from trainers.seeds import numpy_generator

FORMAT = 1
"""Version of the Arrow directory; raised when what `prepare` writes changes."""
SIDE_LIMIT = 510
"""Tokens kept of a sentence: what fits beside [CLS] and [SEP] into 512 positions."""
TOKENIZED_AT_ONCE = 10_000
"""Sentences; bounds the memory that the tokenizer's own records take."""
SOURCES = {"sample": sample_corpus, "hub": read_hub}


@dataclass(frozen=True)
class Ragged:
    """Token ids of many sentences, end to end."""

    values: np.ndarray
    """[tokens], int32."""
    offsets: np.ndarray
    """[count + 1], int64."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class Split:
    """Rows of one task, tokenised."""

    ids: list[str]
    texts: tuple[Ragged, ...]
    """One for sentences, two for pairs; without special tokens."""
    labels: np.ndarray
    """[rows], float32; NaN where there is none."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Specials:
    """Ids of the special tokens."""

    cls: int
    sep: int
    pad: int
    mask: int


@dataclass(frozen=True)
class Corpus:
    """All splits of all tasks, mapped into memory: processes of a machine share its pages."""

    directory: Path
    fingerprint: str
    """Hash of the rows, the tokenizer and the format."""
    specials: Specials
    splits: dict[str, dict[str, Split]]
    """Task -> "train", "dev" and, where there is one, "test"."""

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open what `prepare` wrote.

        Raises:
            InputError: it is not there.
        """
        try:
            about = json.loads((directory / "corpus.json").read_bytes())
        except FileNotFoundError:
            raise InputError(f"No tokenised corpus at {directory}. Start again from its source with --data.") from None
        splits = {
            task: {split: _open_split(directory / f"{task}-{split}.arrow") for split in names}
            for task, names in about["splits"].items()
        }
        return cls(directory, about["fingerprint"], Specials(**about["specials"]), splits)

    def train_sizes(self, tasks: Iterable[str]) -> dict[str, int]:
        """Count the training rows of `tasks`, in their order.

        Raises:
            InputError: the corpus lacks a task.
        """
        for task in tasks:
            if task not in self.splits:
                known = ", ".join(self.splits)
                raise InputError(f"The data has no rows of task {task!r}, only of {known}. Pass other data or tasks.")
        return {task: len(self.splits[task]["train"]) for task in tasks}


def prepare(
    source: str, tokenizer: str, *, rows: int | None, seed: int, cache: Path | None = None
) -> tuple[Path, list[str]]:
    """Read, check and tokenise a corpus, or find it tokenised already.

    Args:
        source: "sample", "hub", or a directory with the course's files.
        tokenizer: the text of a tokenizer.json.
        rows: training rows to sample of each task, in the labels' proportions; None for all.
        seed: of that sample.
        cache: where corpora are kept; None for the user's cache.

    Returns:
        The directory that `Corpus.open` takes, and lines that tell the user what was found.

    Raises:
        InputError: bad input, or the cache cannot be written.
    """
    raw = SOURCES[source]() if source in SOURCES else read_course(Path(source))
    notes = [note for task, splits in raw.items() for note in _notes(task, splits)]
    chosen = {task: _choose(task, splits, rows, seed) for task, splits in raw.items()}
    if rows is not None:
        notes.append(f"At most {rows:,} train rows of each task, sampled in the labels' proportions (seed {seed}).")
    fingerprint = _fingerprint(chosen, tokenizer)
    cache = cache or platformdirs.user_cache_path("minbert-tune") / "corpora"
    if not (cache / fingerprint).exists():
        _write(chosen, _tokenizer(tokenizer), fingerprint, cache)
    return cache / fingerprint, notes


def stratified(labels: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Sample `count` rows in the proportions of their rounded labels [rows]; return row numbers, ascending.

    A smaller sample of the same draw lies within a larger one.
    """
    order = draw.permutation(len(labels))
    strata = np.rint(labels[order])
    place = np.empty(len(labels))
    for stratum in np.unique(strata):
        members = strata == stratum
        # Spread each stratum evenly over 0 to 1: what lies below any cut is then in proportion (Sainte-Lague).
        place[members] = (np.arange(members.sum()) + 0.5) / members.sum()
    return np.sort(order[np.argsort(place, kind="stable")[:count]])


def _notes(task: str, splits: dict[str, RawSplit]) -> list[str]:
    counts = [f"{len(split.ids):,} {name}" for name, split in splits.items()]
    notes = [f"{task}: {', '.join(counts[:-1])} and {counts[-1]} rows."]
    for name, split in splits.items():
        unlabelled = int(np.isnan(split.labels).sum())
        if unlabelled and name != "test":
            fate = "skipped" if name == "train" else "predicted, not scored"
            notes.append(f"{task}: {unlabelled:,} of the {name} rows with an empty label: {fate}.")
        empty = sum(side.count("") for side in split.texts)
        if empty:
            notes.append(f"{task}: {empty:,} empty sentences in {name}: kept.")
    return notes


def _choose(task: str, splits: dict[str, RawSplit], rows: int | None, seed: int) -> dict[str, RawSplit]:
    """Leave out training rows without a label, and all but `rows` of the others."""
    train = splits["train"].take(np.flatnonzero(~np.isnan(splits["train"].labels)))
    if rows is not None:
        train = train.take(stratified(train.labels, rows, numpy_generator(seed, "rows", task)))
    return {**splits, "train": train}


def _fingerprint(raw: dict[str, dict[str, RawSplit]], tokenizer: str) -> str:
    digest = hashlib.blake2b(json.dumps([FORMAT, SIDE_LIMIT, tokenizer]).encode(), digest_size=16)
    for task, splits in sorted(raw.items()):
        for name, split in sorted(splits.items()):
            digest.update(json.dumps([task, name, split.ids, split.texts, split.labels.tolist()]).encode())
    return digest.hexdigest()


def _tokenizer(text: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"The encoder's tokenizer.json cannot be read: {error}. Download it again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _specials(tokenizer: Tokenizer) -> Specials:
    found = {name: tokenizer.token_to_id(f"[{name.upper()}]") for name in ("cls", "sep", "pad", "mask")}
    missing = [f"[{name.upper()}]" for name, number in found.items() if number is None]
    if missing:
        raise InputError(f"The encoder's tokenizer has no {', '.join(missing)}. Use an encoder of the BERT family.")
    return Specials(**{name: number for name, number in found.items() if number is not None})


def _write(raw: dict[str, dict[str, RawSplit]], tokenizer: Tokenizer, fingerprint: str, cache: Path) -> None:
    """Write the directory `fingerprint` of `cache`: whole or not at all."""
    about = {
        "fingerprint": fingerprint,
        "specials": asdict(_specials(tokenizer)),
        "splits": {task: list(splits) for task, splits in raw.items()},
    }
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=cache, ignore_cleanup_errors=True) as name:
            # One level down: the directory that is moved has the permissions of an ordinary one.
            partial = Path(name) / fingerprint
            partial.mkdir()
            for task, splits in raw.items():
                for split, rows in splits.items():
                    _write_split(partial / f"{task}-{split}.arrow", rows, tokenizer)
            (partial / "corpus.json").write_text(json.dumps(about, indent=2) + "\n")
            _move(partial, cache / fingerprint)
    except OSError as error:
        remedy = "Free space there, or set XDG_CACHE_HOME to a directory that can be written"
        raise InputError(f"Cannot write the tokenised corpus to {cache}: {error}. {remedy}.") from error


def _move(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError:
        if not target.exists():  # else another process was faster, with the same content
            raise


def _write_split(path: Path, split: RawSplit, tokenizer: Tokenizer) -> None:
    columns = {"id": pa.array(split.ids, pa.string()), "label": pa.array(split.labels, pa.float32())}
    for number, side in enumerate(split.texts, start=1):
        tokens = _tokenize(side, tokenizer)
        columns[f"text{number}"] = pa.LargeListArray.from_arrays(tokens.offsets, tokens.values)
    batch = pa.record_batch(columns)
    with open(path, "wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        os.fsync(file.fileno())


def _tokenize(texts: list[str], tokenizer: Tokenizer) -> Ragged:
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    for start in range(0, len(texts), TOKENIZED_AT_ONCE):
        batch = tokenizer.encode_batch_fast(texts[start : start + TOKENIZED_AT_ONCE], add_special_tokens=False)
        tokens = [encoding.ids[:SIDE_LIMIT] for encoding in batch]
        lengths += map(len, tokens)
        parts.append(np.fromiter(chain.from_iterable(tokens), np.int32))
    return Ragged(np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _open_split(path: Path) -> Split:
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    sides = [batch.column(name) for name in batch.schema.names if name.startswith("text")]
    texts = tuple(Ragged(side.values.to_numpy(), side.offsets.to_numpy()) for side in sides)
    return Split(batch.column("id").to_pylist(), texts, batch.column("label").to_numpy())
