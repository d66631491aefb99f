"""Find the tensors of a module in a checkpoint, under whatever prefix other programs have put before their names."""

from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from model.errors import InputError


def current_names(public: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return public tensors with the current names of norm weights."""
    older = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}

    def current(name: str) -> str:
        for before, now in older.items():
            name = name.replace(before, now)
        return name

    return {current(name): tensor for name, tensor in public.items()}


def without_prefix(public: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Return the tensors that lie under the prefix under which most of `names` lie, without that prefix.

    The prefix is whatever the modules around the encoder were called: "bert.", "module.", "_orig_mod.",
    "0.auto_model." or several of them. Of two prefixes with as many names the shorter one is taken.
    """
    ends = set(names)
    prefixes: Counter[str] = Counter()
    for name in public:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in ends:
                prefixes["".join(f"{part}." for part in parts[:start])] += 1
    prefix = min(prefixes, key=lambda found: (-prefixes[found], len(found), found), default="")
    return {name.removeprefix(prefix): tensor for name, tensor in public.items() if name.startswith(prefix)}


def drawn_pooler(width: int) -> dict[str, Tensor]:
    """Return the weights of a pooler for a checkpoint that has none: the same ones every time.

    Source of the initial weights: Devlin et al. 2019 (BERT).
    """
    draw = torch.Generator().manual_seed(0)
    return {"weight": 0.02 * torch.randn(width, width, generator=draw), "bias": torch.zeros(width)}


def usable(tensors: Mapping[str, Tensor], checkpoint: str) -> dict[str, Tensor]:
    """Return weights in float32, each in its own memory.

    Raises:
        InputError: a tensor is no plain floating-point tensor, or has a value that is not finite.
    """
    found: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_meta
        weight = tensor.detach().float().contiguous() if plain else tensor
        if not plain or not bool(weight.isfinite().all()):
            kind = "values that are not finite" if plain else f"{tensor.dtype}, not plain floating-point values"
            raise InputError(f"Encoder {checkpoint!r}: {name} has {kind}. Pass another checkpoint.")
        # Tensors of one file may share memory; a safetensors file cannot.
        found[name] = weight.clone() if weight.data_ptr() in places else weight
        places.add(weight.data_ptr())
    return found
