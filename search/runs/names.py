"""Check the names of runs: a run is a folder directly inside its storage."""

from datetime import UTC, datetime

from model.errors import InputError

LONGEST = 200
"""The largest number of bytes of a name; file systems allow 255, and unfinished files have a suffix."""
SIGNS = "._- "


def check_run_name(name: str) -> None:
    """Check that a name can be that of a run.

    Raises:
        InputError: it is a path, it has other characters than the allowed ones, or it is too long.
    """
    if name in (".", "..") or name != name.strip() or not name or not all(map(_allowed, name)):
        raise InputError(
            f"--name {name!r} is no name of a run. Use letters, digits, '.', '_', '-' and blanks inside; --storage "
            "names the folder of the run."
        )
    if len(name.encode()) > LONGEST:
        raise InputError(f"--name has {len(name.encode())} bytes; use at most {LONGEST}.")


def derived_name(stem: str) -> str:
    """Return a name from that of a space and the time (UTC); characters that no name may have become "-"."""
    time = f"-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    legal = "".join(sign if _allowed(sign) else "-" for sign in stem).strip() or "run"
    return legal.encode()[: LONGEST - len(time)].decode(errors="ignore") + time


def _allowed(sign: str) -> bool:
    return sign.isalnum() or sign in SIGNS
