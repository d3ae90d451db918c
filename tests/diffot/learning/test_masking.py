"""Masked tokens: the bound of an exact model, the loss, and a network as a model of tokens."""

import math

import pytest
import torch
from torch import nn

from diffot.laws.tokens import MASK, ising_chain
from diffot.learning import masking
from diffot.samplers import masked


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Bright(nn.Module):
    """Says the same probability of being bright for every pixel."""

    def __init__(self, probability):
        super().__init__()
        self.logit = math.log(probability / (1 - probability))

    def forward(self, x, time):
        return torch.full_like(x, self.logit)


def test_the_bound_of_an_exact_model_is_the_entropy():
    """Over many draws: a chain's bound in any order is its negative log probability."""
    chain = ising_chain(6, 1.2)
    x = chain.sequences()
    entropy = -float(chain.log_prob(x).exp() @ chain.log_prob(x))
    drawn = masked.reveal(chain, 6000, masked.in_order(6, 1), _generator())
    found = masking.bound(chain, drawn, _generator(1), draws=8)
    assert found.value * 6 == pytest.approx(entropy, abs=4 * 6 * found.error)
    assert 6 * found.error < 0.02


def test_every_number_of_tokens_is_hidden_equally_often():
    away = masking.hidden(30_000, 5, _generator())
    numbers = torch.bincount(away.sum(1), minlength=6)
    assert numbers[0] == 0
    assert torch.allclose(numbers[1:] / 30_000, torch.full((5,), 0.2), atol=0.012)
    assert torch.allclose(away.double().mean(0), torch.full((5,), 0.6).double(), atol=0.015)


def test_the_loss_is_the_cross_entropy_of_hidden_pixels():
    images = torch.rand(6, 1, 4, 4, generator=_generator()) * 2 - 1
    loss = masking.MaskingLoss()
    inputs = loss.prepare((images, {}), _generator(1))
    found = loss(Bright(0.8), inputs)
    for i in range(6):
        bright = (images[i] > 0)[inputs["hidden"][i].bool()].double()
        expected = -(bright * math.log(0.8) + (1 - bright) * math.log(0.2)).mean()
        assert float(found[i]) == pytest.approx(float(expected), rel=1e-5)


def test_a_network_does_not_see_what_is_hidden():
    seen = []

    class Spy(Bright):
        def forward(self, x, time):
            seen.append((x, time))
            return super().forward(x, time)

    images = torch.rand(4, 1, 4, 4, generator=_generator()) * 2 - 1
    loss = masking.MaskingLoss()
    inputs = loss.prepare((images, {}), _generator(2))
    loss(Spy(0.5), inputs)
    x, time = seen[0]
    assert torch.equal(x == 0, inputs["hidden"].bool())
    assert torch.allclose(time, inputs["hidden"].flatten(1).mean(1))
    shown = x != 0
    assert torch.equal(x[shown] > 0, images[shown] > 0)


def test_a_network_is_a_model_of_tokens():
    model = masking.MaskedNetwork(Bright(0.7), (1, 2, 2))
    x = torch.tensor([[0, 1, MASK, MASK]])
    expected = torch.tensor([[[1, 0], [0, 1], [0.3, 0.7], [0.3, 0.7]]]).double()
    torch.testing.assert_close(model.conditionals(x), expected, rtol=1e-6, atol=1e-6)
    drawn = masked.reveal(model, 5000, masked.spread_out(4, 2), _generator())
    assert float(drawn.double().mean()) == pytest.approx(0.7, abs=0.02)


def test_wrong_sequences_are_refused():
    model = masking.MaskedNetwork(Bright(0.7), (1, 2, 2))
    with pytest.raises(ValueError, match=r"expected \(B, 4\)"):
        model.conditionals(torch.zeros(2, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="numbers from -1 to 0"):
        masking.bound(model, torch.tensor([[0, 0, MASK, 0]] * 2), _generator())
    with pytest.raises(ValueError, match="at least 2"):
        masking.bound(model, torch.zeros(1, 4, dtype=torch.int64), _generator())
    with pytest.raises(TypeError, match="int64"):
        model.conditionals(torch.zeros(2, 4))
