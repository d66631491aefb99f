"""Write small data directories, and make their tokenizer and their tokenised corpora."""

import json
import zlib
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from trainers.data.corpus import Corpus
from trainers.data.corpus_record import corpus_json
from trainers.data.prepare import prepare
from trainers.data.ragged import Ragged

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = list("abcdef")


def tokenizer_of(tokens: list[str]) -> str:
    """Return a tokenizer.json that truncates and pads, as in some public checkpoints."""
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


def fingerprint(source: Path, tokenizer: str = TOKENIZER, rows: int | None = None, **options: Any) -> str:
    return prepare(str(source), tokenizer, rows=rows, seed=0, cache=source.parent / "cache", **options)[0].name


def opened(source: Path | str, cache: Path, rows: int | None = None, **options: Any) -> Corpus:
    return Corpus.open(prepare(str(source), TOKENIZER, rows=rows, seed=0, cache=cache, **options)[0])


def words_of(sides: tuple[Ragged, ...]) -> list[tuple[str, ...]]:
    """Return the rows as text."""
    names = [*SPECIAL_TOKENS, *WORDS]
    return [tuple(" ".join(names[token] for token in side[row]) for side in sides) for row in range(len(sides[0]))]


def with_texts(directory: Path, **texts: str) -> Path:
    write(directory)
    for name, content in texts.items():
        (directory / f"{name}.txt").write_text(content)
    return directory


def resealed(directory: Path, name: str) -> None:
    """Write the checksum of a changed Arrow file into `corpus.json`."""
    description = json.loads((directory / "corpus.json").read_text())
    description["checksums"][name] = zlib.crc32((directory / name).read_bytes())
    fields = {name: value for name, value in description.items() if name not in ("format", "checksum")}
    (directory / "corpus.json").write_bytes(corpus_json(fields))
