"""The readers that `benchmarks.fuzz` tests: real files, the one that is damaged, and the function that reads it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from transformers.utils import logging

from model.pretrained import read_pretrained
from tests.model.test_pretrained import write_checkpoint
from tests.trainers.data.corpora import TOKENIZER
from tests.trainers.user_data import write_user_data
from trainers.data.corpus import Corpus
from trainers.data.course_files import read_directory
from trainers.data.prepare import prepare


@dataclass(frozen=True)
class Reader:
    """One kind of file, and the function that reads it."""

    write: Callable[[Path], object]
    """Writes the file, and all files that belong to it, into a directory that does not exist yet."""
    file: str
    """The damaged file, relative to the directory."""
    read: Callable[[Path], object]
    """Reads the directory. It may return anything, and may raise an InputError; all else is a fault."""


def write_data(place: Path) -> None:
    """Write a data directory with declared tasks of every kind and a text set."""
    write_user_data(place)
    (place / "notes.txt").write_text("one\ttwo\nthree\tfour\n")


def write_corpus(place: Path) -> None:
    """Write a tokenised corpus."""
    data = place.with_name("data")
    write_data(data)
    made, _ = prepare(str(data), TOKENIZER, rows=None, seed=0, texts=["notes"], cache=place.parent)
    made.rename(place)


def write_vocabulary(place: Path) -> None:
    """Write a BERT checkpoint with a vocab.txt and every file that describes its tokenizer."""
    write_checkpoint(place)
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    (place / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, **special}))
    (place / "special_tokens_map.json").write_text(json.dumps(special))
    (place / "added_tokens.json").write_text(json.dumps({"[NEW]": 24}))
    words = (place / "vocab.txt").read_text().splitlines()
    (place / "vocab.txt").write_text("\n".join(words[:-1]) + "\n")


def write_tokenizer(place: Path) -> None:
    """Write a BERT checkpoint with a tokenizer.json."""
    write_checkpoint(place)
    text = read_pretrained(str(place)).tokenizer
    (place / "tokenizer.json").write_text(text)


def write_torch_file(place: Path) -> None:
    """Write a BERT checkpoint with a pytorch_model.bin."""
    write_checkpoint(place)
    torch.save(safetensors.torch.load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()


def read_data(place: Path) -> object:
    """Read a data directory with its text set."""
    return read_directory(place, ["notes"])


def read_checkpoint(place: Path) -> object:
    """Read a public checkpoint."""
    return read_pretrained(str(place))


logging.disable_progress_bar()

READERS = {
    "tasks": Reader(write_data, "tasks.json", read_data),
    "table": Reader(write_data, "nli.train.tsv", read_data),
    "text-set": Reader(write_data, "notes.txt", read_data),
    "corpus": Reader(write_corpus, "corpus.json", Corpus.open),
    "corpus-rows": Reader(write_corpus, "nli-train.arrow", Corpus.open),
    "corpus-texts": Reader(write_corpus, "notes-text.arrow", Corpus.open),
    "config": Reader(write_checkpoint, "config.json", read_checkpoint),
    "weights": Reader(write_checkpoint, "model.safetensors", read_checkpoint),
    "torch-weights": Reader(write_torch_file, "pytorch_model.bin", read_checkpoint),
    "tokenizer": Reader(write_tokenizer, "tokenizer.json", read_checkpoint),
    "vocabulary": Reader(write_vocabulary, "vocab.txt", read_checkpoint),
    "tokenizer-config": Reader(write_vocabulary, "tokenizer_config.json", read_checkpoint),
    "special-tokens": Reader(write_vocabulary, "special_tokens_map.json", read_checkpoint),
    "added-tokens": Reader(write_vocabulary, "added_tokens.json", read_checkpoint),
}
"""Readers, by name."""
