"""A GPU that several processes share."""

import torch

CONTEXT_BYTES = 2**30
"""What a process takes of a GPU beside its tensors: CUDA's context and kernels, several hundred MiB, and some slack."""


def allocated_share(share: float, total: int) -> float:
    """Return the share of a GPU's memory that the tensors of a process may take.

    Args:
        share: of the GPU, that is the process's.
        total: bytes of the GPU.
    """
    return max(share - CONTEXT_BYTES / total, 0.0)


def keep_to_share(share: float | None) -> None:
    """Bound this process's memory on its GPU, so that it runs out by itself and not its neighbours.

    Args:
        share: of the GPU; None for all of it, or where there is none.
    """
    if share is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(allocated_share(share, total))
