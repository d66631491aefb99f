"""Read the tokenizer of a checkpoint, without truncation and padding, and find its special tokens."""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from model.checkpoint_files import TOKENIZER, VOCABULARY_FILES
from model.errors import InputError, first_line
from model.files.regular_files import open_file

TOKEN_NAMES = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "pad": ("[PAD]", "<pad>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
"""Role of a special token -> its possible names."""

CASED = 0.05
"""Smallest share of words with upper-case letters in a cased vocabulary; BERT's has a third."""


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of an encoder's special tokens, by role."""

    cls: int
    """The token before a sentence or pair."""
    sep: int
    """The token after a sentence or pair."""
    pad: int
    mask: int | None
    """None if the tokenizer has no mask token; then the encoder cannot be trained as a masked language model."""
    between: tuple[int, ...]
    """The tokens between the sides of a pair: [SEP] in BERT, </s></s> in RoBERTa."""
    second: int
    """The segment of the second side: 1, or 0 if the tokenizer gives both sides the same segment."""

    @property
    def ids(self) -> list[int]:
        """All special tokens. Every other token is text."""
        return [self.cls, self.sep, self.pad, *([] if self.mask is None else [self.mask]), *self.between]


def find_special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """Return the special tokens of a tokenizer.

    The tokens around and between sentences are those that the tokenizer inserts; the others are found by name.

    Raises:
        InputError: a needed token is missing, or the tokenizer does not insert one token before and one after a
            sentence.
    """
    single, pair = tokenizer.encode("").ids, tokenizer.encode("", "")
    if not single:  # a tokenizer without a template, as some BERT checkpoints have
        cls, sep = _required_token(tokenizer, "cls"), _required_token(tokenizer, "sep")
        between, second = (sep,), 1
    elif len(single) == 2 and [pair.ids[0], pair.ids[-1]] == single:
        cls, sep = single
        between, second = tuple(pair.ids[1:-1]), pair.type_ids[-1]
    else:
        raise InputError(
            f"The encoder's tokenizer turns two empty sentences into {' '.join(pair.tokens)!r}; expected one token "
            "before and one after them. Pass an encoder with the tokenizer of a masked language model."
        )
    return SpecialTokens(cls, sep, _required_token(tokenizer, "pad"), _find_token(tokenizer, "mask"), between, second)


def read_tokenizer(directory: Path, vocabulary: int, build: Callable[[Path], Tokenizer]) -> tuple[str, list[str]]:
    """Return the text of a tokenizer.json that neither truncates nor pads, and notes for the user.

    Args:
        directory: the checkpoint.
        vocabulary: number of rows in the word table of the weights.
        build: builds the tokenizer from the files in a directory.

    Raises:
        InputError: the checkpoint has no tokenizer, or it cannot be read, or it gives one id to two
            words, or a word has an id beyond the word table.
    """
    path = next((path for file in (TOKENIZER, *VOCABULARY_FILES) if (path := directory / file).exists()), None)
    if path is None:
        raise InputError(f"{directory} has neither {TOKENIZER} nor {' nor '.join(VOCABULARY_FILES)}. Add one of them.")
    open_file(path).close()
    with library_errors(str(path)):
        tokenizer = build(directory)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        special_tokens = find_special_tokens(tokenizer)
        tokenizer.encode("x" * 300 + " \u16a0 \U00010348")  # fails if no token stands for unknown words
        vocabulary_ids = tokenizer.get_vocab(with_added_tokens=True)
    largest = max([*vocabulary_ids.values(), *special_tokens.ids])
    if largest >= vocabulary:
        fault = f"{path} has a token with the id {largest}, but the weights have {vocabulary} rows of words"
        raise InputError(f"{fault}. Pass files of the same checkpoint.")
    if len(set(vocabulary_ids.values())) < len(vocabulary_ids):  # the library would keep any one of them
        raise InputError(f"{path} gives one id to two words. Download it again.")
    with library_errors(str(path)):
        text = tokenizer.to_str()  # last: it lists all unused ids below the largest one
    return text, _notes(path, tokenizer, vocabulary_ids)


def read_tokenizer_json(directory: Path, convert: Callable[[Path], Tokenizer]) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json; without that file, `convert` the older files."""
    path = directory / TOKENIZER
    return Tokenizer.from_file(str(path)) if path.exists() else convert(directory)


@contextmanager
def library_errors(source: str) -> Iterator[None]:
    """Report what the tokenizers library says as an InputError that names the source.

    The library raises plain `Exception`, and a `PanicException`, which is no `Exception`, where it fails itself.
    """
    try:
        yield
    except MemoryError:
        raise
    except InputError as error:
        place = source.rpartition("/")[0]
        raise (error if place and place in str(error) else InputError(f"{source}: {error}")) from None
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{source} is not a tokenizer: {first_line(error)}. Download it again.") from None


def _notes(path: Path, tokenizer: Tokenizer, vocabulary: Collection[str]) -> list[str]:
    """Return a note if texts lose their upper-case letters, but the vocabulary has many words with such letters."""
    normalizer = getattr(tokenizer, "normalizer", None)
    cased = sum(word != word.lower() for word in vocabulary if not word.startswith("["))
    if normalizer is None or normalizer.normalize_str("A") != "a" or cased < CASED * len(vocabulary):
        return []
    return [
        f"The tokenizer lowers the case of texts, but {cased:,} of the {len(vocabulary):,} words of {path} have "
        "upper-case letters. If the encoder is cased, set do_lower_case to false in its tokenizer_config.json."
    ]


def _required_token(tokenizer: Tokenizer, role: str) -> int:
    token = _find_token(tokenizer, role)
    if token is None:
        raise InputError(
            f"The encoder's tokenizer has no {TOKEN_NAMES[role][0]}. "
            "Pass an encoder with the tokenizer of a masked language model."
        )
    return token


def _find_token(tokenizer: Tokenizer, role: str) -> int | None:
    # A template may name a token by its role, as `build_bert_tokenizer` writes it.
    processor = getattr(tokenizer, "post_processor", None)
    template = json.loads(processor.__getstate__()) if processor else {}
    named = template.get("special_tokens", {}) if template.get("type") == "TemplateProcessing" else {}
    if role in named:
        return named[role]["ids"][0]
    numbers = (tokenizer.token_to_id(name) for name in TOKEN_NAMES[role])
    return next((number for number in numbers if number is not None), None)
