"""Check that a disk has room for what a training will write."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from model.errors import InputError


def check_room(directory: Path, uses: Mapping[str, int], remedy: str) -> None:
    """Check that the disk of a directory, which need not exist, has room for all uses.

    Args:
        uses: what the space is for -> bytes; what is there already counts as free.
        remedy: a sentence for the user.

    Raises:
        InputError: the disk has too little room.
    """
    needed, free = sum(uses.values()), free_bytes(directory) + used_bytes(directory)
    if free < needed:
        parts = ", ".join(f"{as_text(count)} for {use}" for use, count in uses.items())
        raise InputError(
            f"{directory} has {as_text(free)} of disk space, but may need {as_text(needed)}: {parts}. {remedy}"
        )


def free_bytes(directory: Path) -> int:
    """Return the free bytes of the disk of a directory, which need not exist."""
    return shutil.disk_usage(next(place for place in (directory, *directory.parents) if place.exists())).free


def used_bytes(directory: Path) -> int:
    """Return the bytes of the files in a directory and its folders; 0 if it does not exist."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())


def as_text(count: int) -> str:
    """Return a number of bytes as a text, in MiB or GiB."""
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"
