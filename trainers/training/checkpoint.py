"""What a run must remember between two rounds, as files that hold no code."""

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
UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)
"""What the readers of a damaged archive raise."""

Key = TypeVar("Key", bound=Hashable)


class CheckpointError(Exception):
    """A checkpoint cannot be read: it is absent, cut short or damaged."""


def write_weights(folder: Folder, weights: dict[str, Tensor]) -> None:
    """Write a model's weights, with a checksum."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    # Not synced, and neither is the state: hundreds of MB a round. A loss of power may leave holes in them; they are
    # noticed, and the checkpoint before gives the same bits.
    with folder.writing(WEIGHTS, sync=False) as file:
        file.write(safetensors.torch.save(weights, {CHECKSUM: _checksum(weights)}))


def read_weights(folder: Folder) -> dict[str, Tensor]:
    """Read a model's weights.

    Raises:
        CheckpointError: they are absent or damaged.
    """
    try:
        content = folder.read(WEIGHTS)
        weights = safetensors.torch.load(content)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}/{WEIGHTS}: {error}") from error
    length = int.from_bytes(content[:8], "little")  # of the header, which starts every safetensors file
    if json.loads(content[8 : 8 + length])["__metadata__"][CHECKSUM] != _checksum(weights):
        raise CheckpointError(f"{folder}/{WEIGHTS}: the weights are not those that were written")
    return weights


def write_state(folder: Folder, state: dict[str, Any]) -> None:
    """Write what training needs beside the weights: tensors, numbers and containers of them."""
    with folder.writing(STATE, sync=False) as file:
        torch.save(state, file)


def read_state(folder: Folder) -> dict[str, Any]:
    """Read what `write_state` wrote; no code in it is run.

    Raises:
        CheckpointError: it is absent or damaged.
    """
    try:
        content = folder.read(STATE)
        if damaged := zipfile.ZipFile(io.BytesIO(content)).testzip():  # torch writes checksums, but does not read them
            raise zipfile.BadZipFile(f"{damaged} is not what was written")
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except UNREADABLE as error:
        raise CheckpointError(f"{folder}/{STATE}: {error}") from error


def best_rounds(rows: Mapping[Key, RoundRow], count: int = BEST) -> set[Key]:
    """Choose the rounds whose weights an ensemble may want: the best `count` by score and by each task's metric.

    Args:
        rows: any key -> a round's row; of equals the earlier one is better.
    """
    finite = {key: row for key, row in rows.items() if row.finite}
    figures: dict[str, dict[Key, float]] = {}
    for key, row in finite.items():
        for name, value in row.metrics.items():
            figures.setdefault(name, {})[key] = value
        if row.score is not None:
            figures.setdefault("score", {})[key] = row.score
    return {key for values in figures.values() for key in sorted(values, key=values.__getitem__, reverse=True)[:count]}


def _checksum(weights: dict[str, Tensor]) -> str:
    total = 0
    for name in sorted(weights):
        total = zlib.crc32(weights[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return str(total)
