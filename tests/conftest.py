"""What tests share: an encoder that trains in milliseconds, the sample corpus tokenised for it, configs to train it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from model import weights
from model.bert import Bert, BertConfig
from model.weights import Pretrained, read_public
from trainers.checkpoint import WEIGHTS
from trainers.config import Stage, TrainConfig
from trainers.data import Corpus, prepare
from trainers.files import Folder
from trainers.sample import sample_corpus
from trainers.trial import read_rows, round_name, run_trial

ROWS = 48
"""Training rows of each task."""
DEV_ROWS = 40
FAST = 100
"""How much larger the learning rate of a small, random encoder is than a pretrained one's."""
WALL_CLOCK = ("train_seconds", "eval_seconds", "save_seconds", "ended")

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random encoder of 2 layers and width 32 as the hub lays it out, with every word of the sample corpus."""
    sides = chain.from_iterable(split.texts for splits in sample_corpus().values() for split in splits.values())
    words = sorted({word for text in chain.from_iterable(sides) for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    shape = BertConfig(vocabulary=len(words), width=32, layers=2, heads=4, feed_forward=64)
    torch.manual_seed(0)
    # Larger than BERT's own start, where the first token of an encoder that narrow hardly knows of the others.
    tensors = {name: 8 * value if value.ndim > 1 else value for name, value in Bert(shape).state_dict().items()}
    directory = tmp_path_factory.mktemp("tiny")
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    public = {weights._FIELDS[field]: value for field, value in asdict(shape).items()}
    (directory / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_act": "gelu", **public}))
    named = {weights._public_name(name): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(named, directory / "model.safetensors")
    return directory


@pytest.fixture(scope="session")
def pretrained(tiny_encoder: Path) -> Pretrained:
    """Read the tiny encoder."""
    return read_public(str(tiny_encoder))


@pytest.fixture(scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory to be XDG_CACHE_HOME; the corpus lies in it where the commands look for it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def corpus(pretrained: Pretrained, user_cache: Path) -> Corpus:
    """Tokenise the sample corpus, a few rows of it for training."""
    cache = user_cache / "minbert-tune" / "corpora"
    return Corpus.open(prepare("sample", pretrained.tokenizer, rows=ROWS, seed=0, cache=cache)[0])


def small_stage(**changes: Any) -> Stage:
    """Return a stage of a few steps on three tasks."""
    lasting = {} if changes.keys() & {"passes", "epochs", "steps", "examples"} else {"steps": 6}
    return Stage(learning_rate=FAST * 5e-5, batch_size=8, rounds=2).replace(**lasting, **changes)
