"""Choose the fastest precision of a machine, and limit the memory of processes that share a GPU."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

CONTEXT_BYTES = 2**30
"""GPU memory of a process besides its tensors: CUDA context and kernels, several hundred MiB, and a reserve."""


def tensor_memory_share(share: float, total: int) -> float:
    """Return the share of a GPU's memory that the tensors of a process may use.

    Args:
        share: the share of the GPU's memory for the whole process.
        total: the GPU's memory in bytes.
    """
    return max(share - CONTEXT_BYTES / total, 0.0)


def limit_gpu_memory(share: float | None) -> None:
    """Limit the GPU memory of this process, so that it cannot use the memory of others on the same GPU.

    Args:
        share: the share of the GPU's memory; None for no limit, or if there is no GPU.
    """
    if share is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(tensor_memory_share(share, total))


def fastest_precision(device: str) -> Precision:
    """Return the fastest precision of matrix products that keeps the direction of the gradient.

    A processor without bfloat16 instructions emulates them; a CPU is then four times slower.

    Args:
        device: the device of the models; "cuda" on a machine without a GPU gives float32.
    """
    if device == "cpu":
        supported = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    else:
        supported = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if supported else "float32"
