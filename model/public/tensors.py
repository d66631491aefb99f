"""Read the tensors of a public checkpoint: from one file or from several, in safetensors or torch format."""

import pickle
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from model.errors import InputError, first_line, shortened
from model.files.json_text import parse_json
from model.files.regular_files import open_file, read_file

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of a file with all weights, the preferred one first."""
INDEX = ".index.json"
"""End of the name of a file that says in which of several files each tensor lies."""


def weights_files(names: set[str]) -> tuple[str, list[str]]:
    """Return the file that holds a checkpoint's weights, or their index, and patterns for all files that belong to it.

    Args:
        names: the names of the checkpoint's files.
    """
    for whole in WEIGHTS:
        stem, _, kind = whole.partition(".")
        for name, pattern in ((whole, whole), (whole + INDEX, f"{stem}-*.{kind}")):
            if name in names:
                return name, list(dict.fromkeys([name, pattern]))
    return WEIGHTS[0], [WEIGHTS[0]]


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, under their public names.

    Raises:
        InputError: the directory has no weights, or they cannot be read.
    """
    name, _ = weights_files({path.name for path in directory.iterdir()})
    path = directory / name
    if not path.exists():
        raise InputError(f"{directory} has neither {' nor '.join(WEIGHTS)}. Add one of them.")
    files = _shards(path) if name.endswith(INDEX) else [path]
    return {name: tensor for file in files for name, tensor in _read(file).items()}


def _shards(index: Path) -> list[Path]:
    """Return the files that an index names; all of them lie beside it."""
    try:
        found = parse_json(read_file(index), repeats=True)
    except ValueError as error:
        raise InputError(f"{index}: {error}. Download it again.") from None
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index}: weight_map is no object with a file for each tensor. Download it again.")
    suffix = Path(index.name.removesuffix(INDEX)).suffix
    for tensor, name in places.items():
        if not isinstance(name, str) or Path(name).name != name or Path(name).suffix != suffix or "\0" in name:
            fault = f"weight_map: {shortened(tensor)} lies in {shortened(name)}, which is no {suffix} file beside it"
            raise InputError(f"{index}: {fault}. Download it again.")
    return [index.with_name(name) for name in dict.fromkeys(places.values())]


def _read(path: Path) -> dict[str, Tensor]:
    open_file(path).close()
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        # `weights_only` runs no code that a file brings along.
        found = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # both libraries raise errors of many classes for a damaged file
        fault = "it holds more than tensors" if isinstance(error, pickle.UnpicklingError) else first_line(error)
        raise InputError(f"{path} cannot be read: {fault}. Download it again.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, not tensors by name. Save a state_dict().")
    tensors = {name: tensor for name, tensor in found.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    if not tensors:
        names = ", ".join(shortened(name, 40) for name in list(found)[:3]) or "nothing"
        raise InputError(f"{path} holds no tensors by name; found {names}. Save a state_dict() at the top level.")
    return tensors
