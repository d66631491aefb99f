"""Test that the special tokens of a tokenizer are found by their role."""

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, models, processors

from model.errors import InputError
from model.tokenizer import SpecialTokens, find_special_tokens
from tests.model.checkpoints import KINDS

BERT = SpecialTokens(cls=2, sep=3, pad=0, mask=4, between=(3,), second=1)
FOUND = {
    "bert": BERT,
    "roberta": SpecialTokens(cls=0, sep=2, pad=1, mask=4, between=(2, 2), second=0),
    "deberta-v2": BERT,
    "modernbert": replace(BERT, second=0),
    "electra": BERT,
}


def words(*tokens: str) -> Any:
    return Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="[UNK]"))


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_of_every_kind_of_encoder_are_found(kind: str):
    assert find_special_tokens(KINDS[kind].tokenizer()) == FOUND[kind]


def test_tokens_around_sentences_may_have_any_name():
    tokenizer = words("[UNK]", "[PAD]", "[CLS]", "begin", "end", "and")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="begin $A end", pair="begin $A and $B:1 end:1", special_tokens=[("begin", 3), ("end", 4), ("and", 5)]
    )
    assert find_special_tokens(tokenizer) == SpecialTokens(3, 4, 1, None, between=(5,), second=1)


def test_a_tokenizer_without_a_template_gets_the_layout_of_bert():
    tokenizer = words("[UNK]", "[PAD]", "[CLS]", "[SEP]")
    assert find_special_tokens(tokenizer) == SpecialTokens(2, 3, 1, None, between=(3,), second=1)


@pytest.mark.parametrize("missing", ["[PAD]", "[CLS]", "[SEP]"])
def test_a_missing_special_token_is_an_input_error(missing: str):
    tokens = [token for token in ("[UNK]", "[PAD]", "[CLS]", "[SEP]") if token != missing]
    with pytest.raises(InputError, match=rf"has no \{missing}"):
        find_special_tokens(words(*tokens))


@pytest.mark.parametrize(
    ("single", "pair"), [("$A e", "$A e $B e"), ("b b $A e", "b b $A e $B e"), ("b $A e", "e $A e $B b")]
)
def test_a_tokenizer_without_one_token_on_each_side_is_an_input_error(single: str, pair: str):
    tokenizer = words("[UNK]", "[PAD]", "b", "e")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("b", 2), ("e", 3)]
    )
    with pytest.raises(
        InputError, match=r"turns two empty sentences into .*; expected one token before and one after them"
    ):
        find_special_tokens(tokenizer)
