"""The readers that `benchmarks.fuzz` tests: real files, the one that is damaged, and the function that reads it."""

import contextlib
import json
import zlib
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
from transformers.utils import logging

from benchmarks.fuzz_reader import Reader
from benchmarks.fuzz_run_readers import RUN_READERS
from model.encoder import build_encoder
from model.pretrained import read_pretrained
from tests.model.test_pretrained import write_checkpoint
from tests.trainers.data.corpora import TOKENIZER
from tests.trainers.user_data import write_user_data
from trainers.data.corpus import Corpus
from trainers.data.corpus_record import corpus_json
from trainers.data.course_files import read_directory
from trainers.data.prepare import prepare


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


def write_shards(place: Path) -> None:
    """Write a BERT checkpoint with an index of its weights."""
    write_checkpoint(place)
    (place / "model.safetensors").rename(place / "model-00001-of-00001.safetensors")
    names = safetensors.torch.load_file(place / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))


def write_torch_file(place: Path) -> None:
    """Write a BERT checkpoint with a pytorch_model.bin."""
    write_checkpoint(place)
    torch.save(safetensors.torch.load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()


def read_data(place: Path) -> object:
    """Read a data directory with its text set."""
    return read_directory(place, ["notes"])


def read_sealed_corpus(place: Path) -> object:
    """Open a corpus after giving its files the checksums of their damaged contents, as a hostile writer would."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        description = json.loads((place / "corpus.json").read_bytes())
        for name in list(description["checksums"]):
            description["checksums"][name] = zlib.crc32((place / name).read_bytes())
        fields = {name: value for name, value in description.items() if name not in ("format", "checksum")}
        (place / "corpus.json").write_bytes(corpus_json(fields))
    return Corpus.open(place)


def read_checkpoint(place: Path) -> object:
    """Read a public checkpoint, and compute the features of a sentence with it."""
    pretrained = read_pretrained(str(place))
    encoder = build_encoder(pretrained, 0.0, 0.0)
    ids = tokenizers.Tokenizer.from_str(pretrained.tokenizer).encode("a bad day, [NEW] and [MASK]").ids
    tokens = torch.tensor(ids[: encoder.positions])
    with torch.no_grad():
        first = encoder.encode_first(encoder.embed(tokens), torch.tensor([0, len(tokens)]), torch.zeros_like(tokens))
    return encoder.pool(first)


logging.disable_progress_bar()

READERS = {
    "tasks": Reader(write_data, "tasks.json", read_data),
    "table": Reader(write_data, "nli.train.tsv", read_data),
    "text-set": Reader(write_data, "notes.txt", read_data),
    "corpus": Reader(write_corpus, "corpus.json", Corpus.open),
    "corpus-rows": Reader(write_corpus, "nli-train.arrow", Corpus.open),
    "corpus-texts": Reader(write_corpus, "notes-text.arrow", Corpus.open),
    "sealed-corpus": Reader(write_corpus, "corpus.json", read_sealed_corpus),
    "sealed-corpus-rows": Reader(write_corpus, "nli-train.arrow", read_sealed_corpus),
    "config": Reader(write_checkpoint, "config.json", read_checkpoint),
    "weights": Reader(write_checkpoint, "model.safetensors", read_checkpoint),
    "weights-index": Reader(write_shards, "model.safetensors.index.json", read_checkpoint),
    "torch-weights": Reader(write_torch_file, "pytorch_model.bin", read_checkpoint),
    "tokenizer": Reader(write_tokenizer, "tokenizer.json", read_checkpoint),
    "vocabulary": Reader(write_vocabulary, "vocab.txt", read_checkpoint),
    "tokenizer-config": Reader(write_vocabulary, "tokenizer_config.json", read_checkpoint),
    "special-tokens": Reader(write_vocabulary, "special_tokens_map.json", read_checkpoint),
    "added-tokens": Reader(write_vocabulary, "added_tokens.json", read_checkpoint),
    **RUN_READERS,
}
"""Readers, by name."""
