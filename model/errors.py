"""The error for bad input, and functions that word its message."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Bad input. The message names the fault, what was found and the remedy."""


def unknown(what: str, name: str, known: Iterable[str], *, listed: str = "") -> InputError:
    """Return the error for a name that is not among the known names; the message suggests the nearest.

    Args:
        what: the kind of thing that has the name, such as "recipe".
        name: the unknown name.
        known: all known names.
        listed: a sentence that replaces the list of all known names, if they are too many.
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    guess = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return InputError(
        f"Unknown {what} {shortened(name)}{guess} {listed or 'Known: ' + (', '.join(known) or 'none') + '.'}"
    )


def shortened(value: object, length: int = 80) -> str:
    """Return a value as Python writes it, cut to `length` characters: for values that anybody may have written."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]} ..."


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error message, for use in a sentence; the class name if it is empty."""
    return str(error).strip().partition("\n")[0].rstrip(".:")[:300] or type(error).__name__
