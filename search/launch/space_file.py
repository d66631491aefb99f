"""Find the file of a search space by the name or the path that was typed."""

from pathlib import Path

from model.errors import InputError, unknown
from trainers.start import ROOT

FOLDERS = (ROOT / "search" / "spaces", ROOT / "spaces")
"""Where the project's spaces lie: in an installed package, in a checkout."""


def space_file(space: str) -> Path:
    """Return the file of a space.

    Args:
        space: the name of one of the project's spaces, or the path of a file.

    Raises:
        InputError: there is no such space, or no such file.
    """
    path, known = Path(space), own_spaces()
    if path.is_file():
        return path
    if space in known:
        return known[space]
    if path.suffix == ".py" or len(path.parts) > 1:
        raise InputError(f"There is no space file {path}. Pass the path of one, or a name: {', '.join(known)}.")
    error = unknown("space", space, known)
    raise InputError(f"{error} Pass one of these names, or the path of a file that defines suggest(trial).")


def own_spaces() -> dict[str, Path]:
    """Return the project's spaces: name -> file."""
    folder = next(filter(Path.is_dir, FOLDERS), FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}
