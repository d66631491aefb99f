"""A place in training -> its random generator: a function of counts and names, so that there is nothing to save."""

import hashlib

import numpy as np
import torch


def seed_of(seed: int, *place: int | str) -> int:
    """Return the seed of one place in training, below 2 ** 56."""
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=7).digest()
    return int.from_bytes(digest)


def generator(seed: int, *place: int | str) -> torch.Generator:
    """Return the generator of one place in training, on the CPU: equal draws on every kind of device."""
    return torch.Generator().manual_seed(seed_of(seed, *place))


def seed_globally(seed: int, *place: int | str) -> None:
    """Set torch's global generator, from which dropout and initial weights draw, to what it is at one place."""
    torch.manual_seed(seed_of(seed, *place))


def numpy_generator(seed: int, *place: int | str) -> np.random.Generator:
    """Return the generator of one place for draws on rows: permutations, samples, folds."""
    return np.random.default_rng(seed_of(seed, *place))
