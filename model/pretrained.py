"""Read and check public checkpoints; write the encoder of a run to its directory and read it back.

The code calls the names and configs of Hugging Face checkpoints public, and its own names ours.
"""

import json
import mmap
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from model.bert import Bert, BertConfig
from model.checkpoint_files import CONFIG, TOKENIZER, WEIGHTS, find_checkpoint, read_json, read_tensors
from model.encoder import Encoder, Pretrained, build_mlm_head
from model.errors import InputError, first_line
from model.files.checksum import BLANK, KEY, ChecksumError, check_checksum, write_with_checksum
from model.files.json_text import parse_json
from model.files.regular_files import open_file, read_file
from model.tokenizer import convert_wordpiece, read_tokenizer
from model.transformers_encoder import (
    TransformersConfig,
    TransformersEncoder,
    add_pooler,
    check_encoder,
    convert_tokenizer,
    transformers_config,
)
from model.whole_files import whole_file

_REQUIRED = {"hidden_act": "gelu", "position_embedding_type": "absolute"}
"""Field of a public BERT config -> the only value that our BERT supports."""

_FIELDS = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "norm_eps": "layer_norm_eps",
}
"""Field of `BertConfig` -> field of a public config."""

_MODULES = {
    "word": "embeddings.word_embeddings",
    "position": "embeddings.position_embeddings",
    "segment": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "expand": "intermediate.dense",
    "contract": "output.dense",
    "contract_norm": "output.LayerNorm",
    "pooler": "pooler.dense",
}
"""Our module -> the public module; names of modules in a layer are without the prefix of the layer."""

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
    public = read_json(directory / CONFIG)
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
    config = _bert_config(directory / CONFIG, public)
    with torch.device("meta"):  # gives the shapes without using memory
        encoder = Bert(config)
    tensors = _plain(read_tensors(directory), "bert")
    weights = _translate(tensors, encoder, _public_name, name)
    tokenizer = read_tokenizer(directory, config.vocabulary, convert_wordpiece)
    return _with_mlm_head(Pretrained(config, weights, tokenizer), tensors, encoder)


def _read_transformers(directory: Path, public: dict[str, Any], name: str) -> Pretrained:
    config = transformers_config(directory / CONFIG, public)
    with torch.device("meta"):  # gives the shapes without using memory
        encoder = TransformersEncoder(config)
    tensors = add_pooler(_plain(read_tensors(directory), encoder.model.base_model_prefix), config)
    weights = _translate(tensors, encoder, lambda ours: ours.removeprefix("model."), name)
    check_encoder(config, weights, name)
    tokenizer = read_tokenizer(directory, config.vocabulary, convert_tokenizer)
    pretrained = Pretrained(config, weights, tokenizer)
    # Our MLM head has a GELU activation and the word table as its output layer.
    has_our_head = public.get("hidden_act", "gelu") == "gelu" and public.get("tie_word_embeddings", True)
    return _with_mlm_head(pretrained, tensors, encoder) if has_our_head else pretrained


def _bert_config(path: Path, public: dict[str, Any]) -> BertConfig:
    public = {"position_embedding_type": "absolute", **public}
    for field, expected in _REQUIRED.items():
        if public.get(field) != expected:
            raise InputError(f"{path}: {field} is {public.get(field)!r}, not {expected!r}. Pass a BERT checkpoint.")
    for field in _FIELDS.values():
        if not isinstance(public.get(field), int | float) or public[field] <= 0:
            raise InputError(f"{path}: {field} is {public.get(field)!r}, not a positive number. Download it again.")
    config = BertConfig(**{ours: public[field] for ours, field in _FIELDS.items()})
    if config.width % config.heads:
        raise InputError(
            f"{path}: hidden_size {config.width} is not a multiple of num_attention_heads "
            f"{config.heads}. Correct the file."
        )
    return config


def _plain(public: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return public tensors without the encoder's prefix in their names, and with the current names of norm weights."""

    def plain(name: str) -> str:
        name = name.removeprefix(f"{prefix}.")
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")

    return {plain(name): tensor for name, tensor in public.items()}


def _translate(
    public: dict[str, Tensor], module: nn.Module, public_name: Callable[[str], str], name: str
) -> dict[str, Tensor]:
    """Return a module's weights from public tensors, under our names; tensors of other modules are left out.

    Args:
        public: public name -> tensor.
        module: the module whose weights are wanted.
        public_name: our name -> public name.
        name: the checkpoint's name, for error messages.
    """
    weights = {ours: (public_name(ours), tuple(weight.shape)) for ours, weight in module.state_dict().items()}
    missing = [theirs for theirs, _ in weights.values() if theirs not in public]
    if missing:
        raise InputError(f"Encoder {name!r} lacks {_some(missing)}. Pass a checkpoint of the whole encoder.")
    for theirs, shape in weights.values():
        if (found := tuple(public[theirs].shape)) != shape:
            raise InputError(
                f"Encoder {name!r}: {theirs} has shape {list(found)}, but its config.json says {list(shape)}. "
                "Pass weights and config of the same checkpoint."
            )
    return {ours: public[theirs].float() for ours, (theirs, _) in weights.items()}


def _with_mlm_head(pretrained: Pretrained, public: dict[str, Tensor], encoder: Encoder) -> Pretrained:
    """Return `pretrained` with the checkpoint's MLM head, if the checkpoint has all of its weights."""
    with torch.device("meta"):  # gives the shapes without using memory
        shapes = {name: weight.shape for name, weight in build_mlm_head(pretrained, encoder, 0.0).state_dict().items()}
    for places in _MLM_HEADS:
        names = {ours: _head_name(places, ours) for ours in shapes}
        if all(theirs in public and public[theirs].shape == shapes[ours] for ours, theirs in names.items()):
            return replace(pretrained, mlm_head={ours: public[theirs].float() for ours, theirs in names.items()})
    return pretrained


def _head_name(places: dict[str, str], ours: str) -> str:
    """Return the public name of a weight of `MaskedLanguageHead`; `places` is an entry of `_MLM_HEADS`."""
    module, _, kind = ours.rpartition(".")
    return f"{places[module]}.{kind}"


def _public_name(ours: str) -> str:
    """Return the public name of a weight of our BERT."""
    *place, module, kind = ours.split(".")
    prefix = f"encoder.layer.{place[1]}." if place else ""
    return f"{prefix}{_MODULES[module]}.{kind}"


def _some(names: list[str]) -> str:
    """Return the first three names and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
