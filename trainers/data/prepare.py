"""Read rows from a source, tokenise them once and cache them as Arrow files under a hash of their content."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa
from tokenizers import Tokenizer

from model.errors import InputError, unknown
from model.tokenizer import find_special_tokens, library_errors
from model.whole_files import whole_directory
from trainers.data.corpus import Corpus
from trainers.data.corpus_record import CORPUS_FILE, FORMAT, corpus_json, split_file, text_file
from trainers.data.course_files import read_directory
from trainers.data.generated_sample import TEXT_SETS, sample_corpus
from trainers.data.hub import read_hub
from trainers.data.ragged import SIDE_LIMIT, Ragged, tokenize, write_rows
from trainers.data.raw_rows import RawCorpus, Sides, TextColumn
from trainers.data.stratified import sample_training_rows
from trainers.data.text_files import text_set_names
from trainers.tasks import task_to_json

SOURCES = {"sample": (sample_corpus, tuple(TEXT_SETS)), "hub": (read_hub, ())}
"""Name of a source -> the function that reads it, and the names of its text sets."""

TOKENIZER_SOURCE = "The encoder's tokenizer.json"
DIGESTED_AT_ONCE = 10_000
"""Number of rows whose text in JSON is in memory at the same time."""


def text_sets(source: str) -> list[str]:
    """Return the names of a source's text sets."""
    return list(SOURCES[source][1]) if source in SOURCES else text_set_names(Path(source))


def prepare(
    source: str,
    tokenizer: str,
    *,
    rows: int | None,
    seed: int,
    texts: Collection[str] = (),
    cache: Path | None = None,
) -> tuple[Path, list[str]]:
    """Read, check and tokenise a corpus; tokenise only if the cache does not have it.

    Args:
        source: "sample", "hub", or a directory with tables in the format of the course.
        tokenizer: the text of a tokenizer.json.
        rows: number of training rows to sample from each task, stratified by label, and from each text set; None for
            all rows.
        seed: the seed of the sample.
        texts: names of the needed text sets. Other text sets of a directory are not read.
        cache: the directory of all corpora; None for the user's cache.

    Returns:
        The directory of the corpus, for `Corpus.open`, and notes for the user about the data.

    Raises:
        InputError: the data are faulty, or the cache cannot be written.
    """
    raw = _read(source, texts)
    notes = raw.notes()
    if rows is not None:
        each = "task and text set" if raw.texts else "task"
        notes.append(f"Sampled at most {rows:,} train rows per {each}, stratified by label (seed {seed}).")
    chosen = sample_training_rows(raw, rows, seed)
    fingerprint = _fingerprint(chosen, tokenizer)
    cache = cache or platformdirs.user_cache_path("minbert-tune") / "corpora"
    if not _is_cached(cache / fingerprint):
        _write(chosen, _tokenizer(tokenizer), fingerprint, cache)
    return cache / fingerprint, notes


def _is_cached(directory: Path) -> bool:
    """Return whether the cache has a corpus; one that cannot be opened is removed, to be made again."""
    if not directory.exists():
        return False
    try:
        Corpus.open(directory)
    except InputError:
        damaged = directory.with_name(f".damaged-{directory.name}-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):  # another process may remove it, too
            directory.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        return False
    return True


def _read(source: str, texts: Collection[str]) -> RawCorpus:
    if source not in SOURCES:
        return read_directory(Path(source), texts)
    read, known = SOURCES[source]
    for name in texts:
        if name not in known:
            fault = unknown(f"text set of --data {source}", name, known)
            raise InputError(f"{fault} Pass a directory as --data that has {name}.txt, with one text per line.")
    return read()


def _fingerprint(raw: RawCorpus, tokenizer: str) -> str:
    # The names of a task's files do not change its content.
    tasks = {name: task_to_json(replace(task, files={})) for name, task in sorted(raw.tasks.items())}
    digest = hashlib.blake2b(json.dumps([FORMAT, SIDE_LIMIT, tokenizer, tasks]).encode(), digest_size=16)
    for task, splits in sorted(raw.splits.items()):
        for name, split in sorted(splits.items()):
            _digest_rows(digest, [task, name], [split.ids, *split.texts, split.labels])
    for name, text_set in sorted(raw.texts.items()):
        _digest_rows(digest, [name], text_set.texts)
    return digest.hexdigest()


def _digest_rows(digest: hashlib.blake2b, names: list[str], columns: Sequence[TextColumn | np.ndarray]) -> None:
    """Add rows to a digest, some at a time: their text in JSON is larger than the data."""
    digest.update(json.dumps([*names, len(columns[0])]).encode())
    for start in range(0, len(columns[0]), DIGESTED_AT_ONCE):
        parts = [column[start : start + DIGESTED_AT_ONCE] for column in columns]
        values = [part.tolist() if isinstance(part, np.ndarray) else part for part in parts]
        digest.update(json.dumps(values).encode())


def _tokenizer(text: str) -> Tokenizer:
    with library_errors(TOKENIZER_SOURCE):
        tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _write(raw: RawCorpus, tokenizer: Tokenizer, fingerprint: str, cache: Path) -> None:
    """Write a corpus to the directory `fingerprint` of `cache`, which appears when it is complete."""
    description = {
        "fingerprint": fingerprint,
        "specials": asdict(find_special_tokens(tokenizer)),
        "tasks": {name: task_to_json(task) for name, task in raw.tasks.items()},
        "splits": {task: list(splits) for task, splits in raw.splits.items()},
        "texts": list(raw.texts),
    }
    checksums: dict[str, int] = {}
    try:
        with whole_directory(cache / fingerprint) as partial:
            for task, splits in raw.splits.items():
                for split_name, split in splits.items():
                    columns = {"id": pa.array(split.ids, pa.string()), "label": pa.array(split.labels, pa.float32())}
                    name = split_file(task, split_name)
                    checksums[name] = write_rows(partial / name, _sides(split.texts, tokenizer), columns)
            for text_name, text_set in raw.texts.items():
                name = text_file(text_name)
                checksums[name] = write_rows(partial / name, _sides(text_set.texts, tokenizer), {})
            (partial / CORPUS_FILE).write_bytes(corpus_json(description | {"checksums": checksums}))
    except OSError as error:
        remedy = "Free space there, or set XDG_CACHE_HOME to a writable directory"
        raise InputError(f"Cannot write the tokenised corpus to {cache}: {error}. {remedy}.") from error


def _sides(texts: Sides, tokenizer: Tokenizer) -> list[Ragged]:
    with library_errors(TOKENIZER_SOURCE):
        return [tokenize(side, tokenizer) for side in texts]
