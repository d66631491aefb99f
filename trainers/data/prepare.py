"""Read rows from a source, tokenise them once, and keep them as Arrow files under a key of their content."""

import hashlib
import json
import tempfile
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

import platformdirs
import pyarrow as pa
from tokenizers import Tokenizer

from model.errors import InputError, unknown
from model.tokenizer import find_special_tokens
from trainers.data.corpus import CORPUS_FILE, FORMAT, split_file, text_file
from trainers.data.course_files import read_directory
from trainers.data.generated_sample import TEXT_SETS, sample_corpus
from trainers.data.hub import read_hub
from trainers.data.ragged import SIDE_LIMIT, Ragged, tokenize, write_rows
from trainers.data.raw_rows import RawCorpus, Sides
from trainers.data.stratified import sample_training_rows

SOURCES = {"sample": (sample_corpus, tuple(TEXT_SETS)), "hub": (read_hub, ())}
"""Name -> what reads it, and the text sets that it has."""


def text_sets(source: str) -> list[str]:
    """Name the text sets that a source has."""
    return list(SOURCES[source][1]) if source in SOURCES else [path.stem for path in Path(source).glob("*.txt")]


def prepare(
    source: str,
    tokenizer: str,
    *,
    rows: int | None,
    seed: int,
    texts: Collection[str] = (),
    cache: Path | None = None,
) -> tuple[Path, list[str]]:
    """Read, check and tokenise a corpus, or find it tokenised already.

    Args:
        source: "sample", "hub", or a directory with tables in the course's format.
        tokenizer: the text of a tokenizer.json.
        rows: training rows to sample of each task, in the labels' proportions, and of each text set; None for all.
        seed: of that sample.
        texts: the text sets that must be there; of a directory no other ones are read.
        cache: where corpora are kept; None for the user's cache.

    Returns:
        The directory that `Corpus.open` takes, and lines that tell the user what was found.

    Raises:
        InputError: bad input, or the cache cannot be written.
    """
    raw = _read(source, texts)
    notes = raw.notes()
    if rows is not None:
        each = "each task and text set" if raw.texts else "each task"
        notes.append(f"At most {rows:,} train rows of {each}, sampled in the labels' proportions (seed {seed}).")
    chosen = sample_training_rows(raw, rows, seed)
    fingerprint = _fingerprint(chosen, tokenizer)
    cache = cache or platformdirs.user_cache_path("minbert-tune") / "corpora"
    if not (cache / fingerprint).exists():
        _write(chosen, _tokenizer(tokenizer), fingerprint, cache)
    return cache / fingerprint, notes


def _read(source: str, texts: Collection[str]) -> RawCorpus:
    if source not in SOURCES:
        return read_directory(Path(source), texts)
    read, known = SOURCES[source]
    for name in texts:
        if name not in known:
            fault = unknown(f"text set of --data {source}", name, known)
            raise InputError(f"{fault} Pass a directory as --data that has {name}.txt, a text a line.")
    return read()


def _fingerprint(raw: RawCorpus, tokenizer: str) -> str:
    # Where a task's rows lie is not what they are.
    tasks = {name: asdict(replace(task, files={})) for name, task in sorted(raw.tasks.items())}
    digest = hashlib.blake2b(json.dumps([FORMAT, SIDE_LIMIT, tokenizer, tasks]).encode(), digest_size=16)
    for task, splits in sorted(raw.splits.items()):
        for name, split in sorted(splits.items()):
            digest.update(json.dumps([task, name, split.ids, split.texts, split.labels.tolist()]).encode())
    for name, found in sorted(raw.texts.items()):
        digest.update(json.dumps([name, found.texts]).encode())
    return digest.hexdigest()


def _tokenizer(text: str) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"The encoder's tokenizer.json cannot be read: {error}. Download it again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _write(raw: RawCorpus, tokenizer: Tokenizer, fingerprint: str, cache: Path) -> None:
    """Write the directory `fingerprint` of `cache`: whole or not at all."""
    about = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "specials": asdict(find_special_tokens(tokenizer)),
        "tasks": {name: asdict(task) for name, task in raw.tasks.items()},
        "splits": {task: list(splits) for task, splits in raw.splits.items()},
        "texts": list(raw.texts),
    }
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=cache, ignore_cleanup_errors=True) as name:
            # One level down: the directory that is moved has the permissions of an ordinary one.
            partial = Path(name) / fingerprint
            partial.mkdir()
            for task, splits in raw.splits.items():
                for name_of_split, split in splits.items():
                    columns = {"id": pa.array(split.ids, pa.string()), "label": pa.array(split.labels, pa.float32())}
                    write_rows(split_file(partial, task, name_of_split), _sides(split.texts, tokenizer), columns)
            for text_set, found in raw.texts.items():
                write_rows(text_file(partial, text_set), _sides(found.texts, tokenizer), {})
            (partial / CORPUS_FILE).write_text(json.dumps(about, indent=2) + "\n")
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


def _sides(texts: Sides, tokenizer: Tokenizer) -> list[Ragged]:
    return [tokenize(side, tokenizer) for side in texts]
