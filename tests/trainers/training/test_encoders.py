"""Test training with every kind of encoder: the layout of pairs, and training on the sample."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from model.encoder import Pretrained
from model.pretrained import read_pretrained
from model.tokenizer import find_special_tokens
from tests.conftest import ROWS, small_stage
from tests.model.checkpoints import KINDS, write_checkpoint
from trainers.data.batches import inputs
from trainers.data.corpus import Corpus, Split
from trainers.data.prepare import prepare
from trainers.data.ragged import Ragged
from trainers.folder import Folder
from trainers.recipes.joint import smart
from trainers.tasks import TASKS
from trainers.training.training import Training

PAIRS = [("The film is dull.", "What a dull film!"), ("", "a"), ("Two words", ""), ("long " * 9, "short")]


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp(request.param)
    write_checkpoint(request.param, directory)
    return directory


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Pretrained:
    return read_pretrained(str(checkpoint))


def ragged(texts: list[str], tokenizer: Tokenizer) -> Ragged:
    sides = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    values = np.array([token for side in sides for token in side], np.int32)
    return Ragged(values, np.cumsum([0, *map(len, sides)]))


def test_sentences_and_pairs_have_the_layout_of_the_model_s_own_tokenizer(checkpoint: Path, encoder: Pretrained):
    ours, theirs = Tokenizer.from_str(encoder.tokenizer), AutoTokenizer.from_pretrained(checkpoint)
    first, second = ([pair[side] for pair in PAIRS] for side in (0, 1))
    empty = np.full(len(PAIRS), np.nan, np.float32)
    splits = {
        "sst": {"train": Split(first, (ragged(first, ours),), empty)},
        "qqp": {"train": Split(first, (ragged(first, ours), ragged(second, ours)), empty)},
    }
    rows = {task: np.arange(len(PAIRS)) for task in splits}
    corpus = Corpus(Path(), "", find_special_tokens(ours), TASKS, splits, {})
    found = inputs(corpus, "train", rows, dict.fromkeys(rows, "concatenated"), 512)
    expected = [theirs(*sides, return_token_type_ids=True) for sides in ((first,), (first, second))]
    assert found.tokens.tolist() == [token for part in expected for row in part["input_ids"] for token in row]
    assert found.segments.tolist() == [token for part in expected for row in part["token_type_ids"] for token in row]


def test_an_encoder_trains_with_surgery_and_smart_and_a_resumed_run_ends_with_the_same_bits(
    encoder: Pretrained, user_cache: Path, tmp_path: Path
):
    cache = user_cache / "minbert-tune" / "corpora"
    corpus = Corpus.open(prepare("sample", encoder.tokenizer, rows=ROWS, seed=0, cache=cache)[0])
    config = smart().replace(stages=(small_stage(surgery="pcgrad", steps=4, rounds=2),))
    training = Training(config, corpus, encoder, dev_limit=20)
    before = [parameter.clone() for parameter in training.model.encoder.parameters()]
    results = iter(training)
    assert next(results).finite
    training.save(Folder.at(str(tmp_path)))
    assert next(results).finite
    after = list(training.model.encoder.parameters())
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    resumed = Training(config, corpus, encoder, resume=Folder.at(str(tmp_path)), dev_limit=20)
    assert len(list(resumed)) == 1
    assert all(torch.equal(*pair) for pair in zip(after, resumed.model.encoder.parameters(), strict=True))
