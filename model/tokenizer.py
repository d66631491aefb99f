"""A checkpoint's tokenizer -> the text of a tokenizer.json that neither truncates nor pads, and its special tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

from model.checkpoint_files import TOKENIZER, VOCABULARIES, read_json
from model.errors import InputError, first_line

SPELLINGS = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "pad": ("[PAD]", "<pad>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
"""What a special token may be called, by what it does."""


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of an encoder, by what they do; ids."""

    cls: int
    """Before a sentence or pair."""
    sep: int
    """Behind it."""
    pad: int
    mask: int | None
    """None where the tokenizer has none: no masked language model can be trained then."""
    between: tuple[int, ...]
    """Between the sides of a pair: BERT's [SEP], RoBERTa's </s></s>."""
    second: int
    """The segment of the second side: 1, or 0 where the tokenizer tells no sides apart."""

    @property
    def ids(self) -> list[int]:
        """All of them: what is no text."""
        return [self.cls, self.sep, self.pad, *([] if self.mask is None else [self.mask]), *self.between]


def find_special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """Find a tokenizer's special tokens: by what it puts around and between sentences, the others by their names.

    Raises:
        InputError: it lacks one that is needed, or puts something else around a sentence.
    """
    single, pair = tokenizer.encode("").ids, tokenizer.encode("", "")
    if not single:  # it has no template; those of BERT may lack one
        cls, sep = _named(tokenizer, "cls"), _named(tokenizer, "sep")
        between, second = (sep,), 1
    elif len(single) == 2 and [pair.ids[0], pair.ids[-1]] == single:
        cls, sep = single
        between, second = tuple(pair.ids[1:-1]), pair.type_ids[-1]
    else:
        raise InputError(
            f"The encoder's tokenizer makes {' '.join(pair.tokens)!r} of two empty sentences, not one token before "
            "them and one behind. Give that of a masked language model."
        )
    return SpecialTokens(cls, sep, _named(tokenizer, "pad"), _find(tokenizer, "mask"), between, second)


def read_tokenizer(directory: Path, vocabulary: int, convert: Callable[[Path], Tokenizer]) -> str:
    """Read or build a tokenizer; that of a checkpoint may truncate or pad, ours never does.

    Args:
        vocabulary: tokens that the weights know.
        convert: builds one from the older files in a directory.

    Raises:
        InputError: there is none, it cannot be read, or it does not fit.
    """
    path = next((path for file in (TOKENIZER, *VOCABULARIES) if (path := directory / file).exists()), None)
    if path is None:
        raise InputError(f"{directory} holds neither {TOKENIZER} nor {' nor '.join(VOCABULARIES)}. Add one.")
    tokenizer = _read(path) if path.name == TOKENIZER else convert(directory)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    find_special_tokens(tokenizer)
    if (count := tokenizer.get_vocab_size()) > vocabulary:
        raise InputError(f"{path} has {count} tokens, the weights {vocabulary}. Give those of one checkpoint.")
    return tokenizer.to_str()


def convert_wordpiece(directory: Path) -> Tokenizer:
    """Build from BERT's vocab.txt, with the options of a tokenizer_config.json, what its tokenizer.json would say."""
    path, config = directory / "vocab.txt", directory / "tokenizer_config.json"
    options = read_json(config) if config.exists() else {}
    try:
        tokenizer = tokenizers.BertWordPieceTokenizer(
            str(path),
            lowercase=options.get("do_lower_case", True),
            strip_accents=options.get("strip_accents"),
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        )
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise _broken(path, error) from None
    return Tokenizer.from_str(tokenizer.to_str())


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # as above
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a tokenizer: {first_line(error)}. Download it again.")


def _named(tokenizer: Tokenizer, role: str) -> int:
    number = _find(tokenizer, role)
    if number is None:
        raise InputError(f"The encoder's tokenizer has no {SPELLINGS[role][0]}. Give that of a masked language model.")
    return number


def _find(tokenizer: Tokenizer, role: str) -> int | None:
    numbers = (tokenizer.token_to_id(name) for name in SPELLINGS[role])
    return next((number for number in numbers if number is not None), None)
