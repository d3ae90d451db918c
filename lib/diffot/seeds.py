"""Random generators by purpose."""

import hashlib

import torch


def generator(seed: int, key: str) -> torch.Generator:
    """A generator for one purpose, seeded by a hash of the seed and the purpose's name, so that
    draws for one purpose stay the same when another is added."""
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
