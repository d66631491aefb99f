"""Write and read checkpoints: a weights file and a state file, which never contain code; choose the best rounds."""

import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from trainers.folder import Folder
from trainers.training.rounds import RoundRow

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
CHECKSUM = "crc32"
BEST = 10
"""Number of best rounds per score and metric whose weights are kept."""
UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)
"""The exceptions that reading a damaged archive may raise."""

Key = TypeVar("Key", bound=Hashable)


class CheckpointError(Exception):
    """A checkpoint cannot be read, because a file is missing, incomplete or damaged."""


def write_weights(folder: Folder, weights: dict[str, Tensor]) -> None:
    """Write a model's weights with a checksum."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    # Neither the weights nor the state are synced, because they have hundreds of MB per round. A power failure may
    # damage them. The damage is detected, and training from the checkpoint before ends with the same bits.
    with folder.writing(WEIGHTS, sync=False) as file:
        file.write(safetensors.torch.save(weights, {CHECKSUM: _checksum(weights)}))


def read_weights(folder: Folder) -> dict[str, Tensor]:
    """Read a model's weights.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        content = folder.read(WEIGHTS)
        weights = safetensors.torch.load(content)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}/{WEIGHTS}: {error}") from error
    length = int.from_bytes(content[:8], "little")  # length of the header, at the start of every safetensors file
    if json.loads(content[8 : 8 + length])["__metadata__"][CHECKSUM] != _checksum(weights):
        raise CheckpointError(f"{folder}/{WEIGHTS}: the checksum of the weights is wrong")
    return weights


def write_state(folder: Folder, state: dict[str, Any]) -> None:
    """Write the state of a training except its weights: tensors, numbers and containers of them."""
    with folder.writing(STATE, sync=False) as file:
        torch.save(state, file)


def read_state(folder: Folder) -> dict[str, Any]:
    """Read the state that `write_state` wrote; code in the file is never executed.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        content = folder.read(STATE)
        if damaged := zipfile.ZipFile(io.BytesIO(content)).testzip():  # torch writes checksums but does not check them
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except UNREADABLE as error:
        raise CheckpointError(f"{folder}/{STATE}: {error}") from error


def best_rounds(rows: Mapping[Key, RoundRow], count: int = BEST) -> set[Key]:
    """Return the keys of the rounds whose weights are kept: the best `count` by score and by each task's metric.

    Args:
        rows: key -> row of a round; of two equal values, the earlier row counts as better.
    """
    finite = {key: row for key, row in rows.items() if row.finite}
    values: dict[str, dict[Key, float]] = {}
    for key, row in finite.items():
        for name, value in row.metrics.items():
            values.setdefault(name, {})[key] = value
        if row.score is not None:
            values.setdefault("score", {})[key] = row.score
    return {key for found in values.values() for key in sorted(found, key=found.__getitem__, reverse=True)[:count]}


def _checksum(weights: dict[str, Tensor]) -> str:
    total = 0
    for name in sorted(weights):
        total = zlib.crc32(weights[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return str(total)
