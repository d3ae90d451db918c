"""Chapter 11 of the notes "Topics on diffusion generative models", on tokens.

Each function measures one step of a recipe as it is printed and as it should be, as in
:mod:`chapters.errata.guidance`: the divergence, in nats, of the law from what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from chapters.errata.guidance import Errors
from diffot.laws.tokens import ising_chain
from diffot.samplers.masked import drawn_log_prob, in_order

_COUPLING, _LENGTH = 1.5, 4


def tokens_replaced_again() -> Errors:
    """Section 11.4, step 3 of the first recipe: t - 1 tokens of the guess are replaced; printed
    is l - 1, at every time. Two kinds of tokens, guesses drawn as a whole; the last step returns
    its guess in one case, and what became of it in the other."""
    chain = ising_chain(_LENGTH, _COUPLING)
    law = chain.log_prob(chain.sequences()).exp()
    apart = (chain.sequences()[:, None] != chain.sequences()).sum(2)
    drawn = []
    for printed in (True, False):
        now = torch.full_like(law, 1 / len(law))
        for t in range(_LENGTH, 0, -1):
            joint = law[:, None] * _replaced(apart, t)
            guess = now @ (joint / joint.sum(0)).T
            now = guess @ _replaced(apart, _LENGTH - 1 if printed else t - 1)
        drawn.append(float(law @ (law / now).log()))
    return Errors(*drawn)


def tokens_revealed() -> Errors:
    """Section 11.5, step 3 of the second recipe: one of the t masked tokens is revealed; printed
    are t - 1 of them. From the left, with the last token in a second step."""
    chain = ising_chain(_LENGTH, _COUPLING)
    x = chain.sequences()
    log_p = chain.log_prob(x)
    last = _LENGTH - 1
    return Errors(*(
        float(log_p.exp() @ (log_p - drawn_log_prob(chain, x, groups)))
        for groups in ([list(range(last)), [last]], in_order(_LENGTH, 1))
    ))  # fmt: skip


CHECKS: dict[str, Callable[[], Errors]] = {
    "notes, section 11.4": tokens_replaced_again,
    "notes, section 11.5": tokens_revealed,
}


def _replaced(apart: Tensor, t: int) -> Tensor:
    """The law of what is left (columns) of sequences (rows) if t places get any of two tokens."""
    shares = [
        math.comb(_LENGTH - d, t - d) / math.comb(_LENGTH, t) / 2**t if d <= t else 0.0
        for d in range(_LENGTH + 1)
    ]
    return torch.tensor(shares, dtype=torch.float64)[apart]
