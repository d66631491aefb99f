"""Read and check public checkpoints; write the encoder of a run to its directory and read it back.

The code calls the names and configs of Hugging Face checkpoints public, and its own names ours.
"""

import json
import mmap
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from model.bert import Bert, BertConfig
from model.checkpoint_files import CONFIG, TOKENIZER, find_checkpoint
from model.encoder import Encoder, Pretrained, build_mlm_head
from model.errors import InputError, first_line
from model.files.checksum import BLANK, KEY, ChecksumError, check_checksum, write_with_checksum
from model.files.json_text import parse_json, read_json_object
from model.files.regular_files import open_file, read_file
from model.public.bert_names import bert_config, public_name
from model.public.bert_tokenizer import build_bert_tokenizer
from model.public.tensor_names import current_names, drawn_pooler, usable, without_prefix
from model.public.tensors import WEIGHTS, read_tensors
from model.tokenizer import read_tokenizer, read_tokenizer_json
from model.transformers_encoder import (
    TransformersConfig,
    TransformersEncoder,
    check_encoder,
    convert_tokenizer,
    pooler_names,
    transformers_config,
)
from model.whole_files import whole_file

_MLM_HEADS = (
    {"": "cls.predictions", "dense": "cls.predictions.transform.dense", "norm": "cls.predictions.transform.LayerNorm"},
    {"": "lm_head", "dense": "lm_head.dense", "norm": "lm_head.layer_norm"},
    {"": "generator_lm_head", "dense": "generator_predictions.dense", "norm": "generator_predictions.LayerNorm"},
)
"""Module of `MaskedLanguageHead` ("" for its bias) -> public module, in BERT, RoBERTa and ELECTRA checkpoints."""

_MLM_HEAD_PREFIX = "mlm_head."
"""Prefix of the MLM head's weights in a run's encoder file."""


def read_pretrained(name: str) -> Pretrained:
    """Read a public checkpoint of BERT or of another encoder in transformers.

    Args:
        name: "minilm", "minilm:N" for its first N layers, a directory in the hub's layout, or a hub id.

    Raises:
        InputError: the checkpoint is not found, is no supported encoder, or has a tensor with a wrong name or shape.
    """
    if name.startswith("minilm:"):
        return _first_layers(read_pretrained("minilm"), name)
    directory = find_checkpoint(name)
    if not (directory / CONFIG).exists():
        raise InputError(f"{directory / CONFIG} is missing. Pass a directory with a BERT checkpoint.")
    public = read_json_object(directory / CONFIG)
    read = _read_bert if public.get("model_type") == "bert" else _read_transformers
    return read(directory, public, name)


def save_encoder(directory: Path, pretrained: Pretrained) -> None:
    """Write the encoder of a run to `directory`, from which `load_encoder` reads it."""
    directory.mkdir(parents=True, exist_ok=True)
    head = {f"{_MLM_HEAD_PREFIX}{name}": tensor for name, tensor in pretrained.mlm_head.items()}
    texts = {
        CONFIG: json.dumps(asdict(pretrained.config), indent=2).encode(),
        TOKENIZER: pretrained.tokenizer.encode(),
    }
    for name, content in texts.items():
        with whole_file(directory / name, sync=False) as file:
            file.write(content)
    checksums = {KEY: BLANK} | {name: str(zlib.crc32(content)) for name, content in texts.items()}
    with whole_file(directory / WEIGHTS[0], sync=False) as file:
        write_with_checksum(file, safetensors.torch.save(pretrained.weights | head, checksums), first=True)


def load_encoder(directory: Path) -> Pretrained:
    """Read the encoder that `save_encoder` wrote. The weights are mapped into memory; all of them are read once.

    Raises:
        InputError: a file is missing or damaged, or another version of this program wrote it.
    """
    texts = {name: read_file(directory / name) for name in (CONFIG, TOKENIZER)}
    name = WEIGHTS[0]
    try:
        weights, checksums = _checked_tensors(directory / name)
        for name, content in texts.items():
            if checksums.get(name) != str(zlib.crc32(content)):
                raise ChecksumError("it does not belong to the weights beside it")
        name = CONFIG
        fields = parse_json(texts[CONFIG])
        config = TransformersConfig(**fields) if "public" in fields else BertConfig(**fields)
    except (ValueError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"The run's encoder cannot be used: {directory / name}: {first_line(error)}. "
            "Copy the file from a backup of the run, or start a new run."
        ) from error
    head = {
        name.removeprefix(_MLM_HEAD_PREFIX): weights.pop(name)
        for name in list(weights)
        if name.startswith(_MLM_HEAD_PREFIX)
    }
    return Pretrained(config, weights, texts[TOKENIZER].decode(), head)


def _checked_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, mapped into memory, and its metadata, after checking its checksum."""
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ChecksumError("the file is empty")
        check_checksum(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), first=True)
    with safetensors.safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    return safetensors.torch.load_file(path), metadata


def _first_layers(whole: Pretrained, name: str) -> Pretrained:
    """Return MiniLM with its first N layers only; `name` is "minilm:N"."""
    assert isinstance(whole.config, BertConfig)
    text, most = name.removeprefix("minilm:"), whole.config.layers
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise InputError(f"Encoder {name!r}: {text!r} is not a number of layers. Pass a number from 1 to {most}.")
    config = replace(whole.config, layers=int(text))
    with torch.device("meta"):  # gives the names without using memory
        kept = Bert(config).state_dict()
    return replace(whole, config=config, weights={name: whole.weights[name] for name in kept})


def _read_bert(directory: Path, public: dict[str, Any], name: str) -> Pretrained:
    config = bert_config(directory / CONFIG, public)
    with torch.device("meta"):  # gives the shapes without using memory
        encoder = Bert(config)
    tensors = current_names(read_tensors(directory))
    build = partial(build_bert_tokenizer, named_class=public.get("tokenizer_class"), rows=config.vocabulary)
    pretrained = _pretrained(directory, name, config, encoder, _own(tensors, encoder, public_name), build)
    return _with_mlm_head(pretrained, tensors, encoder, name)


def _read_transformers(directory: Path, public: dict[str, Any], name: str) -> Pretrained:
    config = transformers_config(directory / CONFIG, public)
    with torch.device("meta"):  # gives the shapes without using memory
        encoder = TransformersEncoder(config)
    tensors = pooler_names(current_names(read_tensors(directory)))
    own = _own(tensors, encoder, lambda ours: ours.removeprefix("model."))
    pretrained = _pretrained(
        directory, name, config, encoder, own, partial(read_tokenizer_json, convert=convert_tokenizer)
    )
    check_encoder(config, pretrained.weights, name)
    # Our MLM head has a GELU activation and the word table as its output layer.
    has_our_head = public.get("hidden_act", "gelu") == "gelu" and public.get("tie_word_embeddings", True)
    return _with_mlm_head(pretrained, tensors, encoder, name) if has_our_head else pretrained


def _pretrained(
    directory: Path,
    name: str,
    config: BertConfig | TransformersConfig,
    encoder: nn.Module,
    own: dict[str, tuple[str, Tensor | None]],
    build: Callable[[Path], Tokenizer],
) -> Pretrained:
    """Check the tensors of an encoder, read its tokenizer, and draw a pooler if it has none."""
    drawn = drawn_pooler(config.width)
    has_pooler = any(own[f"pooler.{kind}"][1] is not None for kind in drawn)
    if not has_pooler:
        own |= {f"pooler.{kind}": (own[f"pooler.{kind}"][0], tensor) for kind, tensor in drawn.items()}
    weights = _checked(own, encoder, name)
    tokenizer, notes = read_tokenizer(directory, config.vocabulary, build)
    return Pretrained(config, weights, tokenizer, notes=tuple(notes), has_pooler=has_pooler)


def _own(
    tensors: dict[str, Tensor], encoder: nn.Module, public_name: Callable[[str], str]
) -> dict[str, tuple[str, Tensor | None]]:
    """Return the tensors of an encoder: our name -> public name and tensor, None if the checkpoint lacks it."""
    names = {ours: public_name(ours) for ours in encoder.state_dict()}
    found = without_prefix(tensors, names.values())
    return {ours: (theirs, found.get(theirs)) for ours, theirs in names.items()}


def _checked(own: dict[str, tuple[str, Tensor | None]], encoder: nn.Module, name: str) -> dict[str, Tensor]:
    """Return an encoder's weights under our names, after comparing their shapes; `name` is the checkpoint's."""
    missing = [theirs for theirs, tensor in own.values() if tensor is None]
    if missing:
        raise InputError(f"Encoder {name!r} lacks {_some(missing)}. Pass a checkpoint of the whole encoder.")
    found = {ours: tensor for ours, (_, tensor) in own.items() if tensor is not None}
    for ours, weight in encoder.state_dict().items():
        if found[ours].shape != weight.shape:
            raise InputError(
                f"Encoder {name!r}: {own[ours][0]} has shape {list(found[ours].shape)}, but its config.json says "
                f"{list(weight.shape)}. Pass weights and config of the same checkpoint."
            )
    plain = usable({own[ours][0]: tensor for ours, tensor in found.items()}, name)
    return {ours: plain[theirs] for ours, (theirs, _) in own.items()}


def _with_mlm_head(pretrained: Pretrained, public: dict[str, Tensor], encoder: Encoder, name: str) -> Pretrained:
    """Return `pretrained` with the checkpoint's MLM head, if the checkpoint has all of its weights."""
    with torch.device("meta"):  # gives the shapes without using memory
        shapes = {name: weight.shape for name, weight in build_mlm_head(pretrained, encoder, 0.0).state_dict().items()}
    for places in _MLM_HEADS:
        names = {ours: _head_name(places, ours) for ours in shapes}
        found = without_prefix(public, names.values())
        if all(theirs in found and found[theirs].shape == shapes[ours] for ours, theirs in names.items()):
            plain = usable({theirs: found[theirs] for theirs in names.values()}, name)
            return replace(pretrained, mlm_head={ours: plain[theirs] for ours, theirs in names.items()})
    return pretrained


def _head_name(places: dict[str, str], ours: str) -> str:
    """Return the public name of a weight of `MaskedLanguageHead`; `places` is an entry of `_MLM_HEADS`."""
    module, _, kind = ours.rpartition(".")
    return f"{places[module]}.{kind}"


def _some(names: list[str]) -> str:
    """Return the first three names and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
