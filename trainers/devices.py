"""What a machine computes with: its fastest precision, and a GPU that several processes share."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

CONTEXT_BYTES = 2**30
"""What a process takes of a GPU beside its tensors: CUDA's context and kernels, several hundred MiB, and some slack."""


def tensor_memory_share(share: float, total: int) -> float:
    """Return the share of a GPU's memory that the tensors of a process may take.

    Args:
        share: of the GPU, that is the process's.
        total: bytes of the GPU.
    """
    return max(share - CONTEXT_BYTES / total, 0.0)


def limit_gpu_memory(share: float | None) -> None:
    """Bound this process's memory on its GPU, so that it runs out by itself and not its neighbours.

    Args:
        share: of the GPU; None for all of it, or where there is none.
    """
    if share is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(tensor_memory_share(share, total))


def fastest_precision(device: str) -> Precision:
    """Return in which numbers this machine multiplies fastest without the gradient's direction being lost.

    Without the instructions bfloat16 is emulated, on CPUs at a quarter of the speed.

    Args:
        device: where models will live; a "cuda" that this machine does not have is not judged.
    """
    if device == "cpu":
        able = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    else:
        able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if able else "float32"
