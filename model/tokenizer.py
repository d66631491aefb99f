"""Read the tokenizer of a checkpoint, without truncation and padding, and find its special tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

from model.checkpoint_files import TOKENIZER, VOCABULARY_FILES, read_json
from model.errors import InputError, first_line

TOKEN_NAMES = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "pad": ("[PAD]", "<pad>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
"""Role of a special token -> its possible names."""


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


def read_tokenizer(directory: Path, vocabulary: int, convert: Callable[[Path], Tokenizer]) -> str:
    """Return the text of a tokenizer.json that neither truncates nor pads, from the files of a checkpoint.

    Args:
        directory: the checkpoint.
        vocabulary: number of tokens in the word table of the weights.
        convert: builds a tokenizer from the older files in a directory.

    Raises:
        InputError: the checkpoint has no tokenizer, or it cannot be read, or it has more tokens than the word table.
    """
    path = next((path for file in (TOKENIZER, *VOCABULARY_FILES) if (path := directory / file).exists()), None)
    if path is None:
        raise InputError(f"{directory} has neither {TOKENIZER} nor {' nor '.join(VOCABULARY_FILES)}. Add one of them.")
    tokenizer = _read(path) if path.name == TOKENIZER else convert(directory)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    find_special_tokens(tokenizer)
    if (count := tokenizer.get_vocab_size()) > vocabulary:
        raise InputError(f"{path} has {count} tokens, the weights {vocabulary}. Pass files of the same checkpoint.")
    return tokenizer.to_str()


def convert_wordpiece(directory: Path) -> Tokenizer:
    """Build the tokenizer of a BERT checkpoint from its vocab.txt and the options in its tokenizer_config.json."""
    path, config = directory / "vocab.txt", directory / "tokenizer_config.json"
    options = read_json(config) if config.exists() else {}
    try:
        tokenizer = tokenizers.BertWordPieceTokenizer(
            str(path),
            lowercase=options.get("do_lower_case", True),
            strip_accents=options.get("strip_accents"),
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        )
    except Exception as error:  # the tokenizers library raises plain `Exception`
        raise _unreadable(path, error) from None
    return Tokenizer.from_str(tokenizer.to_str())


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # as in `convert_wordpiece`
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a tokenizer: {first_line(error)}. Download it again.")


def _required_token(tokenizer: Tokenizer, role: str) -> int:
    token = _find_token(tokenizer, role)
    if token is None:
        raise InputError(
            f"The encoder's tokenizer has no {TOKEN_NAMES[role][0]}. "
            "Pass an encoder with the tokenizer of a masked language model."
        )
    return token


def _find_token(tokenizer: Tokenizer, role: str) -> int | None:
    numbers = (tokenizer.token_to_id(name) for name in TOKEN_NAMES[role])
    return next((number for number in numbers if number is not None), None)
