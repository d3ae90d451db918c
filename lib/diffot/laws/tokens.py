r"""Laws of sequences of tokens whose conditionals are known: Markov chains.

A sequence :math:`x_1, \dots, x_L` of tokens 0, ..., q - 1 has the probability
:math:`\pi(x_1) \prod_i P(x_i, x_{i+1})`. Given any of the tokens, the probabilities of each of
the others follow by transfer matrices, one pass from the left and one from the right, at the cost
of :math:`L q^2`. They are what a perfect network for masked tokens would say.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    as_probabilities,
    as_tensor,
    as_whole_number,
    require,
    require_type,
)

MASK = -1


class TokenModel(ABC):
    """What says, of the tokens of a sequence that are hidden, what each of them may be."""

    @property
    @abstractmethod
    def length(self) -> int:
        """L, the number of tokens of a sequence."""

    @property
    @abstractmethod
    def tokens(self) -> int:
        """q, the number of different tokens."""

    @abstractmethod
    def conditionals(self, x: Tensor) -> Tensor:
        """Probabilities of each token given those that are not masked, shape (B, L, q).

        Args:
            x: whole numbers of shape (B, L), -1 for a masked token. Those that are not masked
                have the probability 1.

        Raises:
            TypeError, ValueError: for other tokens or shapes.
        """

    def require_sequences(self, x: Tensor, least: int) -> None:
        """Make sure that x holds sequences of tokens, shape (B, L), none below ``least``."""
        require_type(x, Tensor, "x", "a tensor of whole numbers, shape (B, L)")
        if x.dtype != torch.int64:
            raise TypeError(f"x has the type {x.dtype}; expected int64")
        require(
            x.ndim == 2 and x.shape[1] == self.length,
            f"x has shape {tuple(x.shape)}; expected (B, {self.length})",
        )
        require(
            bool(((x >= least) & (x < self.tokens)).all()),
            f"x holds numbers from {int(x.min())} to {int(x.max())}; expected {least} to "
            f"{self.tokens - 1}",
        )


class TokenChain(TokenModel):
    """A Markov chain of tokens, whose conditionals are exact.

    Each token depends on those before it through the last of them (thesis eq. 2.23).

    Args:
        length: L, the number of tokens.
        start: probabilities of the first token, shape (q,), all above 0.
        moves: probabilities of a token (column) given the one before (row), shape (q, q), all
            above 0.
    """

    def __init__(self, length: int, start: Tensor, moves: Tensor):
        self._length = as_whole_number(length, "length", least=1)
        self.start = as_probabilities(start, "start")
        rows = as_tensor(moves, "moves", torch.float64)
        count = len(self.start)
        require(
            rows.shape == (count, count),
            f"moves has shape {tuple(rows.shape)}; expected ({count}, {count}), as start has "
            f"{count} tokens",
        )
        self.moves = torch.stack([as_probabilities(row, "a row of moves") for row in rows])

    @property
    def length(self) -> int:
        return self._length

    @property
    def tokens(self) -> int:
        return len(self.start)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability of whole sequences (B, L), in nats, shape (B,)."""
        self.require_sequences(x, least=0)
        first = self.start.log()[x[:, 0]]
        return first + self.moves.log()[x[:, :-1], x[:, 1:]].sum(1)

    def conditionals(self, x: Tensor) -> Tensor:
        self.require_sequences(x, least=MASK)
        allowed = torch.ones(*x.shape, self.tokens, dtype=torch.float64)
        seen = x != MASK
        allowed[seen] = torch.nn.functional.one_hot(x[seen], self.tokens).double()
        left, right = [self.start * allowed[:, 0]], [torch.ones_like(allowed[:, 0])]
        for i in range(1, self.length):
            message = left[-1] @ self.moves * allowed[:, i]
            left.append(message / message.sum(1, keepdim=True))
            message = (right[-1] * allowed[:, self.length - i]) @ self.moves.T
            right.append(message / message.sum(1, keepdim=True))
        joint = torch.stack(left, 1) * torch.stack(right[::-1], 1)
        return joint / joint.sum(2, keepdim=True)

    def sequences(self) -> Tensor:
        """All q^L sequences, in their order as numbers, int64 of shape (q^L, L)."""
        require(
            self.tokens**self.length <= 2**20,
            f"there are {self.tokens}^{self.length} sequences; expected at most 2^20 to list",
        )
        numbers = torch.arange(self.tokens**self.length)
        places = self.tokens ** torch.arange(self.length - 1, -1, -1)
        return numbers[:, None] // places % self.tokens


def ising_chain(length: int, coupling: float, tokens: int = 2) -> TokenChain:
    r"""The chain with probability :math:`\propto \exp(J \sum_i [x_i = x_{i+1}])`, of Potts, for
    two tokens that of Ising.

    Args:
        coupling: J. tokens: q, at least 2.
    """
    coupling = as_number(coupling, "coupling")
    tokens = as_whole_number(tokens, "tokens", least=2)
    moves = torch.exp(coupling * torch.eye(tokens, dtype=torch.float64))
    start = torch.full((tokens,), 1 / tokens, dtype=torch.float64)
    return TokenChain(length, start, moves / (math.exp(coupling) + tokens - 1))
