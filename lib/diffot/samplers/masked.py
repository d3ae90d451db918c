r"""Masked diffusion: tokens are revealed in groups, those of a group independently of each other.

In a group G each token is drawn by its own probability given what was revealed before, R. So x is
drawn with the probability

.. math:: q(x) = \prod_G \prod_{i \in G} p(x_i \mid x_R),

and by the chain rule the divergence of p from q is the sum over the groups of the *total
correlation* of the group given R, :math:`\sum_{i \in G} H(x_i | x_R) - H(x_G | x_R)`. Groups of
one token are exact, in every order (Austin et al. 2021 have the general process).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffot.errors import as_whole_number, require, require_generator, require_type
from diffot.laws.tokens import MASK, TokenModel

Groups = Sequence[Sequence[int]]


def reveal(model: TokenModel, count: int, groups: Groups, generator: torch.Generator) -> Tensor:
    """Draw so many sequences, int64 of shape (count, L).

    One token at a time this is the second recipe of Su & Yang 2025, section 11.5.

    Args:
        groups: places 0, ..., L - 1, each in one group, in the order in which they are revealed.
    """
    groups = _checked(model, groups)
    count = as_whole_number(count, "count", least=1)
    require_generator(generator)
    x = torch.full((count, model.length), MASK)
    for group in groups:
        shares = model.conditionals(x)[:, group].flatten(0, 1)
        drawn = torch.multinomial(shares, 1, generator=generator)
        x[:, group] = drawn.reshape(count, len(group))
    return x


def drawn_log_prob(model: TokenModel, x: Tensor, groups: Groups) -> Tensor:
    """Log probability with which sequences (B, L) are drawn, in nats, shape (B,)."""
    groups = _checked(model, groups)
    seen, total = torch.full_like(x, MASK), torch.zeros(len(x), dtype=torch.float64)
    for group in groups:
        shares = model.conditionals(seen)[:, group]
        total += shares.gather(2, x[:, group, None])[:, :, 0].log().sum(1)
        seen[:, group] = x[:, group]
    return total


def in_order(length: int, size: int) -> list[list[int]]:
    """Groups of neighbors, from left to right; the last one may be smaller."""
    length, size = as_whole_number(length, "length", 1), as_whole_number(size, "size", 1)
    return [list(range(i, min(i + size, length))) for i in range(0, length, size)]


def spread_out(length: int, size: int) -> list[list[int]]:
    """Groups of the same sizes as :func:`in_order`, whose places are as far apart as can be:
    every n-th place, for n groups."""
    count = len(in_order(length, size))
    return [list(range(i, length, count)) for i in range(count)]


def halving(length: int) -> list[list[int]]:
    """The first place, then the middles between those that are known, again and again: about
    log2(L) + 1 groups."""
    length = as_whole_number(length, "length", least=1)
    step = 1
    while step < length:
        step *= 2
    groups, known = [[0]], {0}
    while step > 1:
        step //= 2
        new = [i for i in range(0, length, step) if i not in known]
        known.update(new)
        if new:
            groups.append(new)
    return groups


def _checked(model: TokenModel, groups: Groups) -> list[list[int]]:
    require_type(model, TokenModel, "model", "a TokenModel")
    listed = [list(group) for group in groups]
    places = sorted(place for group in listed for place in group)
    require(
        places == list(range(model.length)) and all(listed),
        f"groups hold the places {places}; expected each of 0 to {model.length - 1} once, and no "
        "empty group",
    )
    return listed
