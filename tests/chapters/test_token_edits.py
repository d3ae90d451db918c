"""Tokens that are replaced: matrices against draws and against each other."""

import pytest
import torch

from chapters.other_processes import edits
from diffot.laws.tokens import ising_chain

CHAIN = ising_chain(4, 1.0, 3)
LAW = CHAIN.log_prob(CHAIN.sequences()).exp()


@pytest.mark.parametrize("t", [0, 1, 3, 4])
@pytest.mark.parametrize("own", [True, False])
def test_the_corruption_is_that_of_draws(own, t):
    """By choosing places and tokens, one sequence after the other."""
    generator = torch.Generator().manual_seed(t)
    x = CHAIN.sequences()[17].expand(20_000, 4).clone()
    places = torch.rand(20_000, 4, generator=generator).argsort(1)[:, :t]
    shift = torch.randint(0 if own else 1, 3, (20_000, t), generator=generator)
    x.scatter_(1, places, (x.gather(1, places) + shift) % 3)
    shares = torch.bincount((x * 3 ** torch.arange(3, -1, -1)).sum(1), minlength=81) / 20_000
    forward = edits.replaced_by_any if own else edits.replaced_by_others
    expected = forward(CHAIN, t)[17]
    assert float((shares - expected).abs().max()) < 4.5 * 0.5 / 20_000**0.5


@pytest.mark.parametrize("forward", [edits.replaced_by_any, edits.replaced_by_others])
def test_fresh_corruption_of_drawn_guesses_gives_the_law(forward):
    steps = [
        edits.posterior(LAW, forward(CHAIN, t)) @ forward(CHAIN, t - 1) for t in (4, 3, 2, 1)
    ]
    drawn = edits.drawn(LAW @ forward(CHAIN, 4), steps)
    torch.testing.assert_close(drawn, LAW)


def test_correcting_one_token_of_drawn_guesses_gives_the_law_at_every_time():
    law = LAW @ edits.replaced_by_others(CHAIN, 4)
    for t in (4, 3, 2, 1):
        guess = edits.posterior(LAW, edits.replaced_by_others(CHAIN, t))
        law = law @ edits.corrected_by_one(CHAIN, guess, t)
        torch.testing.assert_close(law, LAW @ edits.replaced_by_others(CHAIN, t - 1))


def test_guesses_by_token_have_the_same_probabilities_of_tokens():
    guess = edits.posterior(LAW, edits.replaced_by_any(CHAIN, 2))
    product = edits.token_by_token(CHAIN, guess)
    member = torch.nn.functional.one_hot(CHAIN.sequences(), 3).double()
    torch.testing.assert_close(
        torch.einsum("ab,bij->aij", product, member), torch.einsum("ab,bij->aij", guess, member)
    )


def test_a_condition_on_the_number_of_wrong_places_is_kept():
    guess = edits.posterior(LAW, edits.replaced_by_others(CHAIN, 2))
    product = edits.token_by_token(CHAIN, guess, 2)
    assert float((product * (edits.distances(CHAIN) != 2)).sum()) == 0
    torch.testing.assert_close(product.sum(1), torch.ones(81).double())
