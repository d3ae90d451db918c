r"""Tokens that are replaced by others, and steps back, exactly: everything is a matrix.

At time t = 0, ..., L, t of the L tokens of a sequence are chosen at random and replaced. A step
back guesses the clean sequence and corrupts it again. Matrices have a row for each sequence now
and a column for each sequence next, q^L of them in the order of
:meth:`~diffot.laws.tokens.TokenChain.sequences`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffot.laws.tokens import TokenChain


def distances(chain: TokenChain) -> Tensor:
    """Numbers of places in which two sequences differ."""
    x = chain.sequences()
    return (x[:, None] != x).sum(2)


def replaced_by_any(chain: TokenChain, t: int) -> Tensor:
    """The law of x_t given x_0 if each of t tokens is replaced by any token, also by itself."""
    return _by_distance(
        chain,
        [
            math.comb(chain.length - d, t - d) / math.comb(chain.length, t) / chain.tokens**t
            if d <= t
            else 0.0
            for d in range(chain.length + 1)
        ],
    )


def replaced_by_others(chain: TokenChain, t: int) -> Tensor:
    """The same if each of t tokens is replaced by a different one: x_t says how many places are
    wrong."""
    share = 1 / math.comb(chain.length, t) / (chain.tokens - 1) ** t
    return _by_distance(chain, [share if d == t else 0.0 for d in range(chain.length + 1)])


def posterior(law: Tensor, forward: Tensor) -> Tensor:
    """The law of x_0 (columns) given x_t (rows); 0 where x_t does not occur."""
    joint = (law[:, None] * forward).T
    return joint / joint.sum(1, keepdim=True).clamp(min=1e-300)


def token_by_token(chain: TokenChain, guess: Tensor, wrong: int | None = None) -> Tensor:
    """The guess of a network that says probabilities of single tokens: the product of those of
    ``guess``; if ``wrong`` is given, on the condition that so many places differ from x_t."""
    x = chain.sequences()
    product = torch.ones_like(guess)
    for place in range(chain.length):
        member = torch.nn.functional.one_hot(x[:, place], chain.tokens).double()
        product = product * (guess @ member)[:, x[:, place]]
    if wrong is not None:
        product = product * (distances(chain) == wrong)
    return product / product.sum(1, keepdim=True).clamp(min=1e-300)


def corrected_by_one(chain: TokenChain, guess: Tensor, t: int) -> Tensor:
    """The step that sets one of the t wrong places of x_t, at random, to the guess."""
    apart = distances(chain)
    # between x_t and the guess: one place from x_t, and t - 1 from the guess
    through = (guess * (apart == t)) @ (apart == t - 1).double()
    return through * (apart == 1) / t


def drawn(start: Tensor, steps: list[Tensor]) -> Tensor:
    """The law after these steps, from a law (q^L,) of where they start."""
    law = start
    for step in steps:
        law = law @ step
    return law


def divergence(law: Tensor, other: Tensor) -> float:
    """Kullback-Leibler divergence of the law from the other, in nats; infinite where the other
    lacks a sequence."""
    seen = law > 0
    return float((law[seen] * (law[seen] / other[seen]).log()).sum())


def _by_distance(chain: TokenChain, values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[distances(chain)]
