"""Test checkpoints: exact reading, damaged files, code in files, and the choice of the best rounds."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.folder import Folder
from trainers.training.checkpoint import (
    STATE,
    WEIGHTS,
    CheckpointError,
    read_state,
    read_weights,
    write_state,
    write_weights,
)

NUMBERS = random.Random(0)
TENSORS = {
    "matrix": torch.randn(4, 3).T,
    "column of a matrix": torch.randn(6, 2)[:, 1],
    "scalar": torch.tensor(float("nan")),
    "integers": torch.arange(3),
    "no elements": torch.zeros(0, 2),
}
DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "absent": lambda content: None,
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all but a byte": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "another file": lambda content: b"a page of HTML" * 100,
    "noise": lambda content: NUMBERS.randbytes(len(content)),
    "zeros at the beginning": lambda content: bytes(200) + content[200:],
    # After a power failure: the file has its final name, but some of its pages were not written.
    "zeros inside": lambda content: b"".join(
        [content[: len(content) // 2], bytes(len(content) // 4), content[-len(content) // 4 :]]
    ),
}
every_damage = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder.at(tmp_path)


def damage_file(folder: Folder, name: str, damage: Callable[[bytes], bytes | None]) -> None:
    content = damage(folder.read(name))
    folder.delete(name)
    if content is not None:
        folder.write(name, content)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and left[name].numpy().tobytes() == right[name].numpy().tobytes()
        for name in left
    )


def test_weights_are_read_bit_for_bit(folder):
    write_weights(folder, TENSORS)
    assert same(read_weights(folder), TENSORS)


def test_a_state_is_read_bit_for_bit(folder):
    state = {
        "step": 3,
        "taken": {"sst": 8},
        "optimizer": {"state": {0: TENSORS}, "param_groups": [{"betas": (0.9, 1)}]},
    }
    write_state(folder, state)
    found = read_state(folder)
    assert same(found["optimizer"]["state"].pop(0), state["optimizer"]["state"].pop(0))
    assert found == state


@every_damage
def test_damaged_weights_raise_a_checkpoint_error(folder, damage):
    write_weights(folder, TENSORS)
    damage_file(folder, WEIGHTS, damage)
    with pytest.raises(CheckpointError, match=WEIGHTS):
        read_weights(folder)


@every_damage
def test_a_damaged_state_raises_a_checkpoint_error(folder, damage):
    write_state(folder, {"step": 3, "tensors": TENSORS})
    damage_file(folder, STATE, damage)
    with pytest.raises(CheckpointError, match=STATE):
        read_state(folder)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_truncated_anywhere_raises_a_checkpoint_error(folder, share):
    write_weights(folder, TENSORS)
    write_state(folder, {"step": 3, "tensors": TENSORS})
    for name in (WEIGHTS, STATE):
        damage_file(folder, name, lambda content: content[: int(share * len(content))])
    with pytest.raises(CheckpointError):
        read_weights(folder)
    with pytest.raises(CheckpointError):
        read_state(folder)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([WEIGHTS, STATE]), place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_anywhere_raises_a_checkpoint_error(folder, name, place, change):
    write_weights(folder, TENSORS)
    write_state(folder, {"step": 3, "tensors": TENSORS})
    content = bytearray(folder.read(name))
    content[int(place * len(content))] ^= change
    folder.write(name, bytes(content))
    with pytest.raises(CheckpointError, match=rf"{name}: its checksum is wrong|{name}: it has no checksum"):
        (read_weights if name == WEIGHTS else read_state)(folder)


def test_weights_of_another_program_raise_a_checkpoint_error(folder):
    folder.write(WEIGHTS, safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match="it has no checksum"):
        read_weights(folder)


def test_a_disk_that_cannot_be_read_is_no_damaged_checkpoint(folder):
    with pytest.raises(NotADirectoryError):
        read_weights(Folder.at(__file__))


class CodeOnUnpickling:
    """An object that touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_code_in_a_state_is_not_executed(folder, tmp_path):
    write_state(folder, {"step": CodeOnUnpickling(tmp_path / "executed")})
    with pytest.raises(CheckpointError):
        read_state(folder)
    assert not (tmp_path / "executed").exists()
