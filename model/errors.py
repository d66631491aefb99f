"""The errors that all layers share: bad input is one sentence, never a traceback."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Bad input, told in one sentence: the fault, what was found, the remedy."""


def unknown(what: str, name: str, known: Iterable[str], *, listed: str = "") -> InputError:
    """Return the error for a `name` that is not among the `known` ones; it names the nearest.

    Args:
        listed: says where all are listed, if they are too many for a sentence.
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    guess = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return InputError(f"Unknown {what} {name!r}{guess} {listed or 'Known: ' + (', '.join(known) or 'none') + '.'}")


def first_line(error: Exception) -> str:
    """Return what an error of a library says first, to stand within a sentence; its kind, if it says nothing."""
    return str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__
