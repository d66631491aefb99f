"""Write and read checkpoints: a weights file and a state file, which never contain code."""

import contextlib
import io
from collections.abc import Iterator
from typing import IO, Any, cast

import safetensors.torch
import torch
from torch import Tensor

from model.errors import first_line
from model.files.checksum import BLANK, KEY, ChecksumWriter, check_checksum, write_with_checksum
from trainers.folder import Folder

WEIGHTS = "weights.safetensors"
STATE = "state.pt"


class CheckpointError(Exception):
    """A checkpoint cannot be read, because a file is missing, incomplete or damaged."""


def write_weights(folder: Folder, weights: dict[str, Tensor]) -> None:
    """Write a model's weights with a checksum."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    # Neither the weights nor the state are synced, because they have hundreds of MB per round. A power failure may
    # damage them. The damage is detected, and training from the checkpoint before ends with the same bits.
    with folder.writing(WEIGHTS, sync=False) as file:
        write_with_checksum(file, safetensors.torch.save(weights, {KEY: BLANK}), first=True)


def read_weights(folder: Folder) -> dict[str, Tensor]:
    """Read a model's weights.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _reading(folder, WEIGHTS):
        content = folder.read(WEIGHTS)
        check_checksum(content, first=True)
        return safetensors.torch.load(content)


def write_state(folder: Folder, state: dict[str, Any]) -> None:
    """Write the state of a training except its weights: tensors, numbers and containers of them; then a checksum."""
    with folder.writing(STATE, sync=False) as file:
        writer = ChecksumWriter(file)
        torch.save(state, cast("IO[bytes]", writer))  # it only writes and flushes
        writer.end()


def read_state(folder: Folder) -> dict[str, Any]:
    """Read the state that `write_state` wrote; code in the file is never executed.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _reading(folder, STATE):
        content = folder.read(STATE)
        check_checksum(content, first=False)
        archive = io.BytesIO(memoryview(content)[: -len(BLANK)])
        return torch.load(archive, weights_only=True, map_location="cpu")


@contextlib.contextmanager
def _reading(folder: Folder, name: str) -> Iterator[None]:
    """Raise CheckpointError if a file is missing or a library cannot read its content."""
    try:
        yield
    except (OSError, MemoryError) as error:  # the machine's fault, except that there is no file
        if not isinstance(error, FileNotFoundError):
            raise
        raise CheckpointError(f"{folder}/{name} does not exist") from error
    except Exception as error:
        raise CheckpointError(f"{folder}/{name}: {first_line(error)}") from error
