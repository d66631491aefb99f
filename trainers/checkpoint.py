"""What a run must remember between two rounds, as files that hold no code."""

import io
import pickle
import zipfile
import zlib
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from trainers.files import Folder

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
BEST = 10
UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)
"""What the readers of a damaged archive raise."""

Key = TypeVar("Key", bound=Hashable)


class CheckpointError(Exception):
    """A checkpoint cannot be read: it is absent, cut short or damaged."""


def write_weights(folder: Folder, weights: dict[str, Tensor]) -> None:
    """Write a model's weights."""
    # Not synced, and neither is the state: hundreds of MB a round, and after a loss of power the checkpoint before it
    # gives the same bits.
    with folder.writing(WEIGHTS, sync=False) as file:
        file.write(safetensors.torch.save({name: tensor.contiguous() for name, tensor in weights.items()}))


def read_weights(folder: Folder) -> dict[str, Tensor]:
    """Read a model's weights.

    Raises:
        CheckpointError: they are absent or damaged.
    """
    try:
        return safetensors.torch.load(folder.read(WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}/{WEIGHTS}: {error}") from error


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


def best_rounds(rows: Mapping[Key, dict[str, Any]], count: int = BEST) -> set[Key]:
    """Choose the rounds whose weights an ensemble may want: the best `count` by score and by each task's metric.

    Args:
        rows: any key -> a round's row; of equals the earlier one is better.
    """
    finite = {key: row for key, row in rows.items() if row["finite"]}
    figures: dict[str, dict[Key, float]] = {}
    for key, row in finite.items():
        for name, value in row["metrics"].items():
            figures.setdefault(name, {})[key] = value
        if row["score"] is not None:
            figures.setdefault("score", {})[key] = row["score"]
    return {key for values in figures.values() for key in sorted(values, key=values.__getitem__, reverse=True)[:count]}
