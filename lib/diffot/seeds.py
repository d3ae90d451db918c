"""Random generators by purpose."""

import hashlib

import torch

from diffot.errors import as_whole_number, require_type


def generator(seed: int, key: str) -> torch.Generator:
    """A generator for one purpose, seeded by a hash of the seed and the purpose's name, so that
    draws for one purpose stay the same when another is added.

    Args:
        seed: whole number of at least 0.
        key: the purpose.

    Raises:
        TypeError, ValueError: for anything else.
    """
    seed = as_whole_number(seed, "seed", least=0)
    require_type(key, str, "key", "what the generator is for, a text")
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
