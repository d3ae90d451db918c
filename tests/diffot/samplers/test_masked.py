"""Masked diffusion: the law that is drawn, and the total correlation of groups."""

import itertools

import pytest
import torch

from diffot.laws.tokens import TokenChain, ising_chain
from diffot.samplers import masked

CHAIN = TokenChain(
    5, [0.2, 0.5, 0.3], [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]]
)  # fmt: skip
X = CHAIN.sequences()
LOG_P = CHAIN.log_prob(X)


def entropy(places):
    """Of the tokens at these places, by enumeration, in nats."""
    if not places:
        return 0.0
    _, index = torch.unique(X[:, places], dim=0, return_inverse=True)
    masses = torch.zeros(int(index.max()) + 1, dtype=torch.float64)
    masses.index_add_(0, index, LOG_P.exp())
    return float(-(masses * masses.log()).sum())


def total_correlation(groups):
    """The sum over the groups, from entropies of pieces alone."""
    known, total = [], 0.0
    for group in groups:
        base = entropy(known)
        total += sum(entropy([*known, i]) - base for i in group)
        total -= entropy([*known, *group]) - base
        known += group
    return total


@pytest.mark.parametrize(
    "groups",
    [
        [[0], [1], [2], [3], [4]],
        [[0, 1, 2, 3, 4]],
        [[1, 4], [0, 3], [2]],
        masked.in_order(5, 2),
        masked.spread_out(5, 2),
        masked.halving(5),
    ],
)
def test_the_divergence_is_the_total_correlation(groups):
    log_q = masked.drawn_log_prob(CHAIN, X, groups)
    assert float(log_q.exp().sum()) == pytest.approx(1)
    divergence = float((LOG_P.exp() * (LOG_P - log_q)).sum())
    assert divergence == pytest.approx(total_correlation(groups), abs=1e-12)


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::17])
def test_one_by_one_is_exact_in_every_order(order):
    log_q = masked.drawn_log_prob(CHAIN, X, [[place] for place in order])
    torch.testing.assert_close(log_q, LOG_P)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 13])
def test_halving_is_exact_for_a_chain(length):
    chain = ising_chain(length, 1.2)
    x = chain.sequences()
    groups = masked.halving(length)
    torch.testing.assert_close(masked.drawn_log_prob(chain, x, groups), chain.log_prob(x))
    assert 2 ** (len(groups) - 1) < 2 * length


def test_draws_have_the_law_that_is_said():
    groups, count = [[0, 1, 2, 3, 4]], 40_000
    drawn = masked.reveal(CHAIN, count, groups, torch.Generator().manual_seed(1))
    number = (drawn * 3 ** torch.arange(4, -1, -1)).sum(1)
    shares = torch.bincount(number, minlength=len(X)).double() / count
    expected = masked.drawn_log_prob(CHAIN, X, groups).exp()
    error = (expected * (1 - expected) / count).sqrt()
    assert float(((shares - expected) / error).abs().max()) < 4.5


def test_spread_out_groups_are_far_apart():
    assert masked.spread_out(8, 2) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert masked.in_order(7, 3) == [[0, 1, 2], [3, 4, 5], [6]]


def test_groups_hold_each_place_once():
    for groups in ([[0, 1]], [[0, 1, 2, 3, 4], [4]], [[0, 1, 2, 3, 4], []]):
        with pytest.raises(ValueError, match="each of 0 to 4 once"):
            masked.drawn_log_prob(CHAIN, X, groups)
