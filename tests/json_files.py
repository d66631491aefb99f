"""Read the JSON files of runs in tests, as strictly as the project reads them."""

from typing import Any

from model.files.json_text import parse_json
from trainers.folder import Folder


def read_json(folder: Folder, name: str) -> Any:
    """Return the value of a JSON file."""
    return parse_json(folder.read(name))
