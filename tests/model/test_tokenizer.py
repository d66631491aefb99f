"""Special tokens by what they do, whatever their names."""

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
def test_the_special_tokens_are_found_by_what_they_do(kind: str):
    assert find_special_tokens(KINDS[kind].tokenizer()) == FOUND[kind]


def test_what_stands_around_sentences_needs_no_known_name():
    tokenizer = words("[UNK]", "[PAD]", "[CLS]", "begin", "end", "and")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="begin $A end", pair="begin $A and $B:1 end:1", special_tokens=[("begin", 3), ("end", 4), ("and", 5)]
    )
    assert find_special_tokens(tokenizer) == SpecialTokens(3, 4, 1, None, between=(5,), second=1)


def test_a_tokenizer_without_a_template_has_bert_s_layout():
    tokenizer = words("[UNK]", "[PAD]", "[CLS]", "[SEP]")
    assert find_special_tokens(tokenizer) == SpecialTokens(2, 3, 1, None, between=(3,), second=1)


@pytest.mark.parametrize("missing", ["[PAD]", "[CLS]", "[SEP]"])
def test_a_special_token_that_is_needed_and_missing_is_bad_input(missing: str):
    tokens = [token for token in ("[UNK]", "[PAD]", "[CLS]", "[SEP]") if token != missing]
    with pytest.raises(InputError, match=rf"has no \{missing}"):
        find_special_tokens(words(*tokens))


@pytest.mark.parametrize(
    ("single", "pair"), [("$A e", "$A e $B e"), ("b b $A e", "b b $A e $B e"), ("b $A e", "e $A e $B b")]
)
def test_the_tokenizer_of_another_sort_of_model_is_bad_input(single: str, pair: str):
    tokenizer = words("[UNK]", "[PAD]", "b", "e")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("b", 2), ("e", 3)]
    )
    with pytest.raises(InputError, match="of two empty sentences, not one token before them and one behind"):
        find_special_tokens(tokenizer)
