"""Build the tokenizer of a BERT checkpoint from any of its files, as transformers 5 builds it, without transformers.

Every directory gives the same tokens as `transformers.AutoTokenizer`: the normaliser follows tokenizer_config.json even
if there is a tokenizer.json, and special and added tokens come from tokenizer_config.json or the older files.
"""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from model.errors import InputError, shortened
from model.files.json_text import read_json_object

TOKENIZER, VOCABULARY, OPTIONS = "tokenizer.json", "vocab.txt", "tokenizer_config.json"
SPECIAL_TOKENS, ADDED_TOKENS = "special_tokens_map.json", "added_tokens.json"
DEFAULTS = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
ROLES = ("bos", "eos", *DEFAULTS)
"""Roles of special tokens; an option such as `cls_token` names the token."""
CLASSES = (None, "BertTokenizer", "DistilBertTokenizer")
"""Classes of tokenizers, without "Fast", that are built anew from the vocabulary."""
Token = str | AddedToken


def build_bert_tokenizer(directory: Path, named_class: object, rows: int) -> Tokenizer:
    """Return the tokenizer of a checkpoint that has a tokenizer.json or a vocab.txt.

    Args:
        directory: the checkpoint.
        named_class: the class that config.json names, for a tokenizer_config.json that names none.
        rows: number of rows of the word table. A usual special token that no file mentions is left out if the table
            has no row for it.

    Raises:
        InputError: a file cannot be read.
        Exception: a library refuses what a file says.
    """
    options, saved = _object(directory / OPTIONS), _object(directory / TOKENIZER)
    kind = options.get("tokenizer_class") or named_class
    model = saved.get("model") or {}
    plain_class = kind.removesuffix("Fast") if isinstance(kind, str) else kind
    rebuilt = plain_class in CLASSES and (not saved or model.get("type", "WordPiece") == "WordPiece")
    added = _added_tokens(directory, options, saved)
    named = {role: _token(options.get(f"{role}_token"), added) for role in ROLES}
    if rebuilt:
        unknown = str(named["unk"] or DEFAULTS["unk"])
        path = str(directory / VOCABULARY)
        words = _vocabulary(model["vocab"], unknown) if saved else models.WordPiece.from_file(path, unk_token=unknown)
        tokenizer = _wordpiece(words, options)
        named |= _usual(tokenizer, [role for role in DEFAULTS if f"{role}_token" not in options], added, rows)
    elif saved:
        tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    else:
        raise InputError(f"{directory} has a {shortened(kind)}, but no {TOKENIZER}. Add that file.")
    known = {role: token for role, token in named.items() if token is not None}
    _add(tokenizer, added, list(known.values()), _extra(options))
    if rebuilt:
        _lay_out(tokenizer, known)
    return tokenizer


def _usual(tokenizer: Tokenizer, roles: list[str], added: dict[int, AddedToken], rows: int) -> dict[str, Token | None]:
    """Return the usual special tokens of these roles, without those for which the word table has no row."""
    words = tokenizer.get_vocab()
    known = {*words, *map(str, added.values())}
    room = max(words.values(), default=-1) + 1 < rows
    return {role: _token(DEFAULTS[role], added) for role in roles if room or DEFAULTS[role] in known}


def _object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is no such file."""
    return read_json_object(path) if path.exists() else {}


def _added_tokens(directory: Path, options: dict[str, Any], saved: dict[str, Any]) -> dict[int, AddedToken]:
    """Return the added tokens by their number; options get what the older special_tokens_map.json says."""
    if "added_tokens_decoder" in options:
        return {int(number): AddedToken(**fields) for number, fields in options["added_tokens_decoder"].items()}
    for key, value in _object(directory / SPECIAL_TOKENS).items():
        fields: dict[str, Any] = value if isinstance(value, dict) and key != "extra_special_tokens" else {}
        options[key] = AddedToken(**{**fields, "special": True}) if fields else value
    special = {str(_token(options.get(f"{role}_token"), {})) for role in ROLES} | set(map(str, _extra(options)))
    found = {
        number: AddedToken(name, normalized=name not in special, special=name in special)
        for name, number in _object(directory / ADDED_TOKENS).items()
    }
    for fields in saved.get("added_tokens", []):
        found[fields["id"]] = AddedToken(**{key: value for key, value in fields.items() if key != "id"})
    return found


def _token(value: Any, added: dict[int, AddedToken]) -> Token | None:
    """Return a special token as its option says, or as the added tokens describe it."""
    if isinstance(value, dict):
        value = AddedToken(**{key: field for key, field in value.items() if key != "__type"})
    return next((token for token in added.values() if str(token) == str(value)), value)


def _extra(options: dict[str, Any]) -> list[Token]:
    """Return the further special tokens."""
    found = options.get("extra_special_tokens") or options.get("additional_special_tokens") or []
    named = [value for key, value in options.items() if key.endswith("_token") and key[:-6] not in ROLES]
    values = [*(found.values() if isinstance(found, dict) else found), *named]
    return [token for value in values if isinstance(token := _token(value, {}), Token)]


def _vocabulary(vocabulary: Any, unknown: str) -> models.WordPiece:
    if isinstance(vocabulary, list):
        vocabulary = {entry[0] if isinstance(entry, list) else entry: number for number, entry in enumerate(vocabulary)}
    return models.WordPiece(vocabulary, unk_token=unknown)


def _wordpiece(words: models.WordPiece, options: dict[str, Any]) -> Any:
    tokenizer: Any = Tokenizer(words)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _add(tokenizer: Tokenizer, added: dict[int, AddedToken], named: list[Token], extra: list[Token]) -> None:
    """Add tokens that the tokenizer does not know as such yet; one that its model knows keeps its number."""
    before = tokenizer.get_added_tokens_decoder().values()
    seen = {repr(token) for token in before}
    new: list[Token] = [token for _, token in sorted(added.items()) if repr(token) not in seen]
    names = {*map(str, before), *map(str, new)}
    for token in (*named, *extra):
        if str(token) not in names and token not in new:
            new.append(token)
    special = set(map(str, named))
    for place, token in enumerate(new):
        if isinstance(token, str):
            new[place] = AddedToken(token, special=True)
        elif str(token) in special:
            token.special = True
    tokenizer.add_tokens(new)


def _lay_out(tokenizer: Any, named: dict[str, Token]) -> None:
    """Put [CLS] and [SEP] around sentences. The template also says which tokens pad and mask, whatever their names."""
    roles = {role: str(token) for role, token in named.items() if role in DEFAULTS}
    numbers = {role: tokenizer.token_to_id(name) for role, name in roles.items()}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="cls $A sep",
        pair="cls $A sep $B:1 sep:1",
        special_tokens=[
            {"id": role, "ids": [number], "tokens": [roles[role]]}
            for role, number in numbers.items()
            if number is not None
        ],
    )
