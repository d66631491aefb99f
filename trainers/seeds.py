"""Random generators. Each one is a function of the seed and a place in training (counts and names).

So checkpoints need not store the state of any generator.
"""

import hashlib

import numpy as np
import torch


def seed_of(seed: int, *place: int | str) -> int:
    """Return the seed of a place in training, less than 2 ** 56."""
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=7).digest()
    return int.from_bytes(digest)


def generator(seed: int, *place: int | str) -> torch.Generator:
    """Return the torch generator of a place in training; it is on the CPU, so that all devices get equal draws."""
    return torch.Generator().manual_seed(seed_of(seed, *place))


def seed_globally(seed: int, *place: int | str) -> None:
    """Seed torch's global generators, which draw dropout and initial weights, for a place in training."""
    number = seed_of(seed, *place)
    # `torch.manual_seed` also seeds GPUs that this process does not use, which takes milliseconds.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)


def numpy_generator(seed: int, *place: int | str) -> np.random.Generator:
    """Return the NumPy generator of a place, for draws of rows: permutations, samples, folds."""
    return np.random.default_rng(seed_of(seed, *place))
