"""Fixtures and helpers for all tests: a tiny encoder, its tokenised corpus, and configs for short trainings."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import settings
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from model.bert import Bert, BertConfig
from model.errors import InputError
from model.pretrained import Pretrained, read_pretrained
from model.public import bert_names
from search.tune.ray_environment import set_ray_environment
from trainers.config.train_config import DURATIONS, Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.generated_sample import sample_corpus
from trainers.data.prepare import prepare
from trainers.folder import Folder
from trainers.methods.surgery import check_surgery
from trainers.training.checkpoint import WEIGHTS
from trainers.trial import read_rows

set_ray_environment(None)  # before any test module imports Ray, which reads its environment only once

ROWS = 48
"""Number of training rows of each task."""
FAST = 100
"""Factor by which learning rates are raised: a small random encoder needs larger rates than a pretrained encoder."""
NO_CLOCK = {"train_seconds": 0.0, "eval_seconds": 0.0, "save_seconds": 0.0, "ended": ""}
"""The fields of a round's row that hold times, set to the same value for all rows."""

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of the documents: they take longest, and one worker runs them one after another."""
    items.sort(key=lambda item: item.path.name != "test_documents.py")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random BERT checkpoint of 2 layers and width 32; its vocabulary has all words of the sample corpus."""
    sample = sample_corpus()
    rows = [*(split for splits in sample.splits.values() for split in splits.values()), *sample.texts.values()]
    sides = chain.from_iterable(found.texts for found in rows)
    words = sorted({word for text in chain.from_iterable(sides) for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    shape = BertConfig(vocabulary=len(words), width=32, layers=2, heads=4, feed_forward=64)
    torch.manual_seed(0)
    tensors = {name: _initial_scale(name, value) * value for name, value in Bert(shape).state_dict().items()}
    directory = tmp_path_factory.mktemp("tiny")
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    public = {bert_names.FIELDS[field]: value for field, value in asdict(shape).items()}
    (directory / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_act": "gelu", **public}))
    named = {bert_names.public_name(name): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(named, directory / "model.safetensors")
    return directory


@pytest.fixture(scope="session")
def pretrained(tiny_encoder: Path) -> Pretrained:
    """Return the tiny encoder."""
    return read_pretrained(str(tiny_encoder))


@pytest.fixture(scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for XDG_CACHE_HOME, in which commands find the tokenised corpus."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def corpus(pretrained: Pretrained, user_cache: Path) -> Corpus:
    """Return the sample corpus with `ROWS` training rows per task, tokenised for the tiny encoder."""
    cache = user_cache / "minbert-tune" / "corpora"
    return Corpus.open(prepare("sample", pretrained.tokenizer, rows=ROWS, seed=0, cache=cache)[0])


def small_stage(**changes: Any) -> Stage:
    """Return a stage of 6 steps with small batches on three tasks, with some fields changed."""
    duration = {} if changes.keys() & set(DURATIONS) else {"steps": 6}
    return Stage(**{"learning_rate": FAST * 5e-5, "batch_size": 8, "rounds": 2, **duration, **changes})


def small_config(*stages: Stage, **changes: Any) -> TrainConfig:
    """Return a config with the given stages, by default one small stage."""
    return TrainConfig(stages=stages or (small_stage(),), **changes)


def surgeries(*names: str) -> pytest.MarkDecorator:
    """Parametrise a test by names of surgeries; skip a surgery if its library is not installed."""
    return pytest.mark.parametrize("name", [pytest.param(name, marks=_needs(name)) for name in names])


@contextmanager
def interrupted(steps: int) -> Iterator[None]:
    """Raise KeyboardInterrupt right after the given number of optimiser steps, and expect it from the block."""
    left = itertools.count(steps - 1, -1)

    def interrupt(*step: Any) -> None:
        if next(left) == 0:
            raise KeyboardInterrupt

    hook = register_optimizer_step_post_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        hook.remove()


def outcome(folder: Folder) -> dict[str, Any]:
    """Return the results of a trial: rows without times, digests of predictions and of each round's weights."""
    rows = read_rows(folder)
    predictions, checkpoints = folder / "predictions", folder / "checkpoints"
    return {
        "rows": [replace(row, **NO_CLOCK) for row in rows],
        "predictions": {name: _digest(predictions.read(name)) for name in predictions.names()},
        "weights": {name: _digest((checkpoints / name).read(WEIGHTS)) for name in checkpoints.names()},
    }


def _needs(surgery: str) -> tuple[pytest.MarkDecorator, ...]:
    try:
        check_surgery(surgery)
    except InputError as error:
        return (pytest.mark.skip(reason=str(error)),)
    return ()


def _initial_scale(name: str, value: Tensor) -> int:
    """Return the factor of an initial weight.

    With BERT's initial weights, the output of the first token of a narrow encoder hardly depends on the other tokens.
    """
    if value.ndim == 1:
        return 1
    return 8 if name.startswith(("word", "position", "segment")) else 32


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
