"""Conditionals of chains of tokens, against enumeration."""

import itertools
import math

import pytest
import torch

from diffot.laws.tokens import MASK, TokenChain, ising_chain

CHAIN = TokenChain(
    4, [0.2, 0.5, 0.3], [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]]
)  # fmt: skip


def test_probabilities_add_up_to_one():
    assert float(CHAIN.log_prob(CHAIN.sequences()).exp().sum()) == pytest.approx(1)


def test_sequences_are_all():
    listed = [tuple(row) for row in CHAIN.sequences().tolist()]
    assert listed == list(itertools.product(range(3), repeat=4))


@pytest.mark.parametrize("seen", [(), (0,), (1, 3), (0, 1, 2, 3)])
def test_conditionals_are_those_of_enumeration(seen):
    every = CHAIN.sequences()
    masses = CHAIN.log_prob(every).exp()
    for known in itertools.product(range(3), repeat=len(seen)):
        x = torch.full((1, 4), MASK)
        x[0, list(seen)] = torch.tensor(known, dtype=torch.int64)
        fits = ((x == MASK) | (every == x)).all(1).double() * masses
        expected = torch.stack([fits @ (every == token).double() for token in range(3)], 1)
        torch.testing.assert_close(CHAIN.conditionals(x)[0], expected / fits.sum())


def test_the_chain_of_potts_is_its_gibbs_law():
    chain = ising_chain(5, 0.8, 3)
    x = chain.sequences()
    alike = (x[:, 1:] == x[:, :-1]).sum(1)
    weights = torch.exp(0.8 * alike.double())
    torch.testing.assert_close(chain.log_prob(x).exp(), weights / weights.sum())


def test_a_long_chain_does_not_underflow():
    chain = ising_chain(2000, 3.0)
    x = torch.full((1, 2000), MASK)
    x[0, 0] = 1
    shares = chain.conditionals(x)[0, :, 1]
    decay = math.tanh(1.5)  # of the correlation along the chain
    expected = 0.5 + 0.5 * decay ** torch.arange(2000, dtype=torch.float64)
    torch.testing.assert_close(shares, expected)


def test_what_is_no_chain_or_sequence():
    with pytest.raises(ValueError, match="moves has shape"):
        TokenChain(3, [0.5, 0.5], torch.eye(3))
    with pytest.raises(ValueError, match=r"expected \(B, 4\)"):
        CHAIN.log_prob(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="expected 0 to 2"):
        CHAIN.log_prob(torch.full((1, 4), MASK))
    with pytest.raises(TypeError, match="int64"):
        CHAIN.conditionals(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="a row of moves"):
        TokenChain(2, [0.5, 0.5], torch.eye(2))
    with pytest.raises(ValueError, match="to list"):
        ising_chain(30, 1.0).sequences()
