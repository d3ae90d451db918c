"""Shares of a number of cases against random draws and textbook values."""

import pytest
import torch
from misuse import Use, check, misuses

from diffot import seeds
from diffot.estimates import share_error, share_interval


def test_error_is_the_deviation_of_shares(generator):
    shares = (torch.rand(20_000, 50, generator=generator) < 0.3).double().mean(1)
    # the deviation of 20,000 draws is off by 1 / sqrt(40,000) of itself
    assert float(shares.std()) == pytest.approx(share_error(0.3, 50), rel=0.02)
    assert share_error(0.0, 50) == share_error(1.0, 50) == 0.02


def test_interval_holds_the_shares_under_which_the_count_is_not_unlikely():
    """Its ends p' solve (p - p')² = 1.96² p' (1 - p') / n."""
    for hits, n in ((0, 20), (7, 20), (200, 200)):
        for end in share_interval(hits, n):
            away = (hits / n - end) ** 2 * n
            assert away == pytest.approx(1.959964**2 * end * (1 - end), abs=1e-5)
    assert share_interval(0, 0) == (0.0, 1.0)


USES = [
    Use(share_error, {"share": 0.5, "n": 10}),
    Use(share_interval, {"hits": 5, "n": 10}),
    Use(seeds.generator, {"seed": 3, "key": "latents"}, allowed={"key": {"text"}}),
]


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_misuse(use, argument, value):
    check(use, argument, value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share_error(1.5, 10), "share is 1.5; expected a number from 0 to 1"),
        (lambda: share_error(0.5, 0), "n is 0"),
        (lambda: share_interval(11, 10), "hits is 11; expected a whole number from 0 to 10"),
    ],
)
def test_counts_that_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()
