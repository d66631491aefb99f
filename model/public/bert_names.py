"""The config and the names of weights of public BERT checkpoints, translated to ours."""

from pathlib import Path
from typing import Any

from model.bert import BertConfig
from model.errors import InputError, shortened

_REQUIRED = {"hidden_act": "gelu", "position_embedding_type": "absolute"}
"""Field of a public BERT config -> the only value that our BERT supports."""

FIELDS = {
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

LARGEST = {"num_hidden_layers": 1_000}
"""Field -> its largest value; greater ones would take hours before shapes are compared."""
LARGEST_SIZE = 10_000_000
"""Largest value of the other fields."""


def bert_config(path: Path, public: dict[str, Any]) -> BertConfig:
    """Return the sizes of a public BERT config.

    Args:
        path: the checkpoint's config.json, for error messages.
        public: the content of that file.

    Raises:
        InputError: a field has a value that our BERT does not support.
    """
    public = {"position_embedding_type": "absolute", **public}
    for field, expected in _REQUIRED.items():
        if public.get(field) != expected:
            found = shortened(public.get(field))
            raise InputError(f"{path}: {field} is {found}, not {expected!r}. Pass a BERT checkpoint.")
    for ours, field in FIELDS.items():
        if fault := _fault(public.get(field), fraction=ours == "norm_eps", largest=LARGEST.get(field, LARGEST_SIZE)):
            raise InputError(f"{path}: {field} is {shortened(public.get(field))}, {fault}. Download it again.")
    config = BertConfig(**{ours: public[field] for ours, field in FIELDS.items()})
    if config.width % config.heads:
        raise InputError(
            f"{path}: hidden_size {config.width} is not a multiple of num_attention_heads "
            f"{config.heads}. Correct the file."
        )
    return config


def _fault(value: Any, *, fraction: bool, largest: int) -> str | None:
    """Return what is wrong with a number of a config."""
    if fraction:
        return None if isinstance(value, float) and 0 < value < 1 else "not a number between 0 and 1"
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return "not a positive integer"
    return f"more than {largest:,}" if value > largest else None


def public_name(ours: str) -> str:
    """Return the public name of a weight of our BERT."""
    *place, module, kind = ours.split(".")
    prefix = f"encoder.layer.{place[1]}." if place else ""
    return f"{prefix}{_MODULES[module]}.{kind}"
