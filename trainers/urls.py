"""Hide the secrets of URLs wherever URLs are shown or recorded, and read URLs from environment variables."""

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

from model.errors import InputError

MASK = "***"
"""The text that replaces a secret."""
ENVIRONMENT = "env:"
"""`env:NAME` in place of a URL means the value of the environment variable NAME. Environments do not appear in the list
of processes."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WITHOUT_USER = re.compile(r"(sqlite|file)(\+\w+)?:///")
"""URLs of local files, whose paths may hold ":" and "@"."""
_SECRET_NAME = re.compile("pass|pwd|secret|token|key|cred|auth|sig|sas", re.IGNORECASE)
"""What the names of secret options contain, such as password, secret_key and sas_token."""
_SECRET_INSIDE = re.compile(r"(pass|pwd|secret|token|key)\w*\s*=", re.IGNORECASE)
"""A secret option inside the value of another, such as odbc_connect."""
_SHORTEST = 3
"""Characters of the shortest text that is hidden outside its URL; a shorter one would be a part of ordinary words."""


def is_url(text: str) -> bool:
    """Return whether a text is a URL; any other text that names a place is a local path, whatever is in it."""
    return _SCHEME.match(text) is not None


def shown(text: str) -> str:
    """Return a text with the secrets of its URL replaced by `MASK`: the password and the values of secret options.

    A password ends at the last "@", so that "@", "/", ":" and "?" in it are hidden, too.

    Args:
        text: a URL, or a text that ends with one, such as the argument --study=URL. Other text is returned unchanged.
    """
    start, parts = 0, []
    for begin, end in _secret_spans(text):
        parts += [text[start:begin], MASK]
        start = end
    return "".join([*parts, text[start:]])


def without_secrets(message: str, url: str) -> str:
    """Return a library's message with the secrets of a URL hidden, as they were typed and as libraries decode them."""
    message = message.replace(url, shown(url))
    secrets = {text for begin, end in _secret_spans(url) for text in _readings(url[begin:end])}
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, MASK)
    return message


def resolved(text: str) -> str:
    """Return the URL that an argument means: for `env:NAME` the value of the environment variable.

    Raises:
        InputError: the variable is not set.
    """
    if not text.startswith(ENVIRONMENT):
        return text
    name = text.removeprefix(ENVIRONMENT)
    if not os.environ.get(name):
        raise InputError(f"{text}: the environment variable {name!r} is not set. Export it with the URL as its value.")
    return os.environ[name]


def _secret_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the positions of a URL's secrets."""
    scheme = _SCHEME.search(text)
    if not scheme:
        return
    user_end = -1 if _WITHOUT_USER.match(scheme[0] + text[scheme.end() :]) else text.rfind("@")
    password = text.find(":", scheme.end())
    if scheme.end() <= password < user_end:
        yield password + 1, user_end
    options = text.find("?", max(scheme.end(), user_end))
    if options < 0:
        return
    for option in re.finditer(r"([^&=]*)=([^&]*)", text[options + 1 :]):
        name, value = map(unquote, option.groups())
        if value and (_SECRET_NAME.search(name) or _SECRET_INSIDE.search(value)):
            yield options + 1 + option.start(2), options + 1 + option.end(2)


def _readings(secret: str) -> set[str]:
    """Return a secret as typed, decoded, and in the pieces that a parser takes for a host or a path."""
    whole = {secret, unquote(secret), unquote_plus(secret)}
    pieces = {piece for text in whole for piece in re.split(r"[@/:?#&]", text)}
    return {text for text in whole | pieces if len(text) >= _SHORTEST}
