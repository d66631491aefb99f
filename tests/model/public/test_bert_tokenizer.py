"""Test that a BERT checkpoint's tokens equal those of transformers, whatever files describe its tokenizer."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError
from model.public.bert_tokenizer import build_bert_tokenizer
from model.tokenizer import find_special_tokens, read_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *"abcdeABé", "##a", "##b", "the", "<s>", "</s>", "<pad>", "<m>", "ab"]
TEXTS = ["abAB the", "a[MASK]b <m> x", "the <new> New new ab", "É é <s>b</s> [CLS]", "日本 ab", "", "<E1>ab <E2> ab"]
ROWS = 100
Files = dict[str, Any]


def write(place: Path, files: Files) -> Path:
    """Write a checkpoint's config and its tokenizer's files; vocab.txt is a list of lines."""
    (place / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for name, content in files.items():
        (place / name).write_text("\n".join(content) + "\n" if name == "vocab.txt" else json.dumps(content))
    return place


def assert_equal_tokens(place: Path) -> None:
    """Compare the tokens of single texts, pairs and special tokens with those of transformers."""
    expected: Any = transformers.AutoTokenizer.from_pretrained(place, local_files_only=True)
    text, _ = read_tokenizer(place, ROWS, lambda directory: build_bert_tokenizer(directory, None, ROWS))
    found = tokenizers.Tokenizer.from_str(text)
    for text in TEXTS:
        assert found.encode(text).ids == expected(text)["input_ids"], text
        pair = expected(text, "b", return_token_type_ids=True)
        encoded = found.encode(text, "b")
        assert (encoded.ids, encoded.type_ids) == (pair["input_ids"], pair["token_type_ids"]), text
    assert find_special_tokens(found).pad == expected.pad_token_id
    assert find_special_tokens(found).mask == expected.mask_token_id


def template() -> Files:
    """Return a template with [CLS] and [SEP], as tokenizer.json has it."""
    tokens = {token: {"id": token, "ids": [WORDS.index(token)], "tokens": [token]} for token in ("[CLS]", "[SEP]")}
    first, last = ({"SpecialToken": {"id": token, "type_id": 0}} for token in tokens)
    left, right = ({"Sequence": {"id": side, "type_id": number}} for number, side in enumerate("AB"))
    sides = {"single": [first, left, last], "pair": [first, left, last, right, last]}
    return {"type": "TemplateProcessing", "special_tokens": tokens} | sides


def tokenizer_json(words: list[str], lowercase: bool, post_processor: Files | None = None, added: Any = ()) -> Files:
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    model |= {"max_input_chars_per_word": 100, "vocab": {word: number for number, word in enumerate(words)}}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    normalizer |= {"strip_accents": None, "lowercase": lowercase}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokens = [{"id": number, "content": token} | flags for token, number in added]
    fields = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer}
    fields |= {"pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": post_processor, "decoder": None}
    return {"tokenizer.json": fields | {"model": model}}


FLAGS = {"single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": True}
CASES: dict[str, Files] = {
    "a vocabulary": {"vocab.txt": WORDS},
    "a cased vocabulary": {"vocab.txt": WORDS, "tokenizer_config.json": {"do_lower_case": False}},
    "options": {"vocab.txt": WORDS, "tokenizer_config.json": {"strip_accents": True, "tokenize_chinese_chars": False}},
    "added tokens": {"vocab.txt": WORDS, "added_tokens.json": {"<new>": len(WORDS), "New": len(WORDS) + 1}},
    "added tokens out of order": {"vocab.txt": WORDS, "added_tokens.json": {"New": len(WORDS) + 1, "<new>": 90}},
    "an added token of the vocabulary": {"vocab.txt": WORDS, "added_tokens.json": {"the": WORDS.index("the")}},
    "a map of special tokens": {
        "vocab.txt": WORDS,
        "special_tokens_map.json": {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<m>"},
    },
    "a map with descriptions": {
        "vocab.txt": WORDS,
        "special_tokens_map.json": {
            "mask_token": {"content": "<m>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
        },
    },
    "further special tokens": {
        "vocab.txt": WORDS,
        "special_tokens_map.json": {"additional_special_tokens": ["<E1>", "<E2>"]},
        "added_tokens.json": {"<E1>": len(WORDS), "<E2>": len(WORDS) + 1},
    },
    "further special tokens in the options": {
        "vocab.txt": WORDS,
        "tokenizer_config.json": {"additional_special_tokens": ["<E1>", "<E2>"]},
    },
    "extra special tokens in the options": {
        "vocab.txt": WORDS,
        "tokenizer_config.json": {"extra_special_tokens": ["<E2>", "<E1>"]},
    },
    "other names in the options": {
        "vocab.txt": WORDS,
        "tokenizer_config.json": {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<m>"},
    },
    "numbered added tokens": {
        "vocab.txt": WORDS,
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                str(WORDS.index("<m>")): {"content": "<m>", **FLAGS},
                str(len(WORDS)): {"content": "<new>", **FLAGS, "normalized": True, "special": False},
            },
            "mask_token": "<m>",
        },
        "added_tokens.json": {"ignored": 50},
    },
    "duplicate lines": {"vocab.txt": [*WORDS, "a", "the"]},
    "a tokenizer.json": tokenizer_json(WORDS, True),
    "a tokenizer.json with other options beside it": {
        **tokenizer_json(WORDS, True),
        "tokenizer_config.json": {"do_lower_case": False, "tokenizer_class": "BertTokenizerFast"},
    },
    "a cased tokenizer.json without options": tokenizer_json(WORDS, False),
    "a tokenizer.json with added tokens": tokenizer_json(
        WORDS, True, added=[("<m>", WORDS.index("<m>")), ("<new>", 24)]
    ),
    "a tokenizer.json of no class": {
        **tokenizer_json(WORDS, False, template()),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")},
        },
    },
}


@pytest.mark.parametrize("files", CASES.values(), ids=CASES)
def test_tokens_equal_those_of_transformers(files: Files, tmp_path: Path):
    assert_equal_tokens(write(tmp_path, files))


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "do_lower_case": st.booleans(),
        "strip_accents": st.sampled_from([True, False, None]),
        "tokenize_chinese_chars": st.booleans(),
        "mask_token": st.sampled_from(["[MASK]", "<m>", "<new>"]),
        "pad_token": st.sampled_from(["[PAD]", "<pad>"]),
        "cls_token": st.sampled_from(["[CLS]", "<s>"]),
        "additional_special_tokens": st.lists(st.sampled_from(["<E1>", "<E2>", "ab"]), unique=True),
        "tokenizer_class": st.sampled_from(["BertTokenizer", "BertTokenizerFast"]),
    },
)


@given(
    options=OPTIONS | st.none(),
    special=st.fixed_dictionaries({}, optional={"sep_token": st.sampled_from(["</s>", "[SEP]", "<E1>"])}) | st.none(),
    added=st.lists(st.sampled_from(["<new>", "New", "the", "<E1>", "é"]), unique=True) | st.none(),
    saved=st.none() | st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_combination_of_files_gives_the_tokens_of_transformers(options, special, added, saved, tmp_path_factory):
    files: Files = {"vocab.txt": WORDS} if saved is None else tokenizer_json(WORDS, saved)
    files |= {} if options is None else {"tokenizer_config.json": options}
    files |= {} if special is None else {"special_tokens_map.json": special}
    files |= {} if added is None else {"added_tokens.json": {token: 30 + place for place, token in enumerate(added)}}
    assert_equal_tokens(write(tmp_path_factory.mktemp("tokenizer"), files))


def read(place: Path, rows: int = ROWS) -> tuple[str, list[str]]:
    return read_tokenizer(place, rows, lambda directory: build_bert_tokenizer(directory, None, rows))


def test_an_id_beyond_the_word_table_is_an_input_error(tmp_path: Path):
    write(tmp_path, {"vocab.txt": [*WORDS, "a", "z"]})  # as many words as rows, but the last has a greater id
    with pytest.raises(InputError, match=rf"vocab.txt has a token with the id {len(WORDS) + 1}, but the weights have"):
        read(tmp_path, len(WORDS) + 1)
    gap = tokenizer_json(WORDS, True)
    gap["tokenizer.json"]["model"]["vocab"]["z"] = 60
    write(tmp_path, gap)
    with pytest.raises(InputError, match=r"tokenizer.json has a token with the id 60, but the weights have 60 rows"):
        read(tmp_path, 60)
    assert '"z":60' in read(tmp_path, 61)[0]
    gap["tokenizer.json"]["model"]["vocab"]["z"] = 2**31
    write(tmp_path, gap)
    with pytest.raises(InputError, match="has a token with the id 2147483648, but the weights have 61 rows of words"):
        read(tmp_path, 61)


def test_two_words_with_one_id_are_an_input_error(tmp_path: Path):
    files = tokenizer_json(WORDS, True)
    files["tokenizer.json"]["model"]["vocab"]["z"] = WORDS.index("[UNK]")
    write(tmp_path, files)
    with pytest.raises(InputError, match=r"tokenizer\.json gives one id to two words"):
        read(tmp_path)


def test_a_usual_special_token_without_a_row_is_left_out(tmp_path: Path):
    words = [word for word in WORDS if word != "[MASK]"]
    write(tmp_path, {"vocab.txt": words})
    text, _ = read(tmp_path, len(words))
    assert find_special_tokens(tokenizers.Tokenizer.from_str(text)).mask is None


def test_a_cased_vocabulary_that_is_lower_cased_is_told(tmp_path: Path):
    _, notes = read(write(tmp_path, {"vocab.txt": [*WORDS, "The", "Cat"]}))
    assert len(notes) == 1
    assert (
        "lowers the case of texts, but 4 of the 23 words of " in notes[0] and "set do_lower_case to false" in notes[0]
    )
    write(tmp_path, {"tokenizer_config.json": {"do_lower_case": False}})
    assert read(tmp_path)[1] == []


BROKEN: dict[str, Files] = {
    "options in a list": {"tokenizer_config.json": [1]},
    "a number for a class": {"tokenizer_config.json": {"tokenizer_class": 7}},
    "a word for a flag": {"tokenizer_config.json": {"do_lower_case": "no"}},
    "added tokens with a wrong flag": {"tokenizer_config.json": {"added_tokens_decoder": {"1": {"rstrip": "x"}}}},
    "added tokens in a list": {"tokenizer_config.json": {"added_tokens_decoder": [1]}},
    "a word for a number": {"added_tokens.json": {"<new>": "x"}, "special_tokens_map.json": {"cls_token": [1]}},
    "a class that needs other files": {"tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}},
    "a vocabulary without a word for unknown words": {"vocab.txt": ["a", "b"]},
}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_a_faulty_file_is_an_input_error_that_names_the_directory(files: Files, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        read(write(tmp_path, {"vocab.txt": WORDS} | files))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
