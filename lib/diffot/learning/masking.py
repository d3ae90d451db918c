r"""Networks that are shown a part of the tokens and say what the others may be.

With a random number n of the L tokens hidden, at random places M, the mean of
:math:`-\log p_\theta(x_i \mid x_{\text{seen}})` over M has the expectation

.. math:: \frac{1}{L} \sum_{n=1}^{L} E_M\, \frac{1}{n} \sum_{i \in M}
    -\log p_\theta(x_i \mid x_{\text{seen}}) ,

which is, per token, what revealing the tokens one by one in a random order costs: a bound of
:math:`-\log p_\theta(x) / L` (Uria et al. 2014; Austin et al. 2021, appendix A.3). The tokens
here have two kinds, the dark and bright pixels of an image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from diffot.errors import (
    as_whole_number,
    require,
    require_finite,
    require_generator,
    require_images,
    require_type,
)
from diffot.estimates import Estimate, mean
from diffot.laws.tokens import MASK, TokenModel
from diffot.learning.objectives import Examples, Inputs, Objective

BATCH = 250  # sequences at a time where nothing is learned


def tones(images: Tensor) -> Tensor:
    """Which pixels are bright, above 0: tokens 0 and 1, int64 of shape (B, C H W).

    Args:
        images: shape (B, C, H, W), values in [-1, 1].
    """
    require_images(images)
    return (images > 0).long().flatten(1)


def hidden(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Which tokens are hidden: for each of so many sequences a number from 1 to ``length``, all
    equally probable, of random places; truth values of shape (count, length)."""
    require_generator(generator)
    number = torch.randint(1, length + 1, (count, 1), generator=generator)
    order = torch.rand(count, length, generator=generator).argsort(1)
    return order.argsort(1) < number


class MaskingLoss(Objective):
    """Mean of the cross entropy over hidden pixels, in nats, of images with values in [-1, 1]
    whose :func:`tones` are the tokens.

    The network is called with an image that has -1 for a dark pixel, 1 for a bright one and 0 for
    a hidden one, and with the share of hidden ones; it answers with logits of being bright.
    """

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        images, _ = examples
        bright = tones(images).reshape(images.shape).float()
        away = hidden(len(images), bright[0].numel(), generator).reshape(images.shape)
        return {"bright": bright, "hidden": away.float()}

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        bright, away = inputs["bright"], inputs["hidden"]
        logits = network((2 * bright - 1) * (1 - away), away.flatten(1).mean(1)).float()
        losses = binary_cross_entropy_with_logits(logits, bright, reduction="none")
        return (losses * away).flatten(1).sum(1) / away.flatten(1).sum(1)


class MaskedNetwork(TokenModel):
    """A network of :class:`MaskingLoss` as a model of tokens.

    Args:
        network: called as there.
        shape: of its images, (C, H, W).
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int]):
        require_type(network, nn.Module, "network", "a torch.nn.Module")
        require_type(shape, (tuple, list, torch.Size), "shape", "the shape of an image (C, H, W)")
        self.network, self.shape = network, tuple(shape)

    @property
    def length(self) -> int:
        return math.prod(self.shape)

    @property
    def tokens(self) -> int:
        return 2

    def conditionals(self, x: Tensor) -> Tensor:
        self.require_sequences(x, least=MASK)
        parts = [self._answer(part) for part in x.split(BATCH)]
        bright = torch.where(x == MASK, torch.cat(parts), (x == 1).double())
        return torch.stack([1 - bright, bright], 2)

    @torch.no_grad()
    def _answer(self, x: Tensor) -> Tensor:
        """Probabilities of being bright, float64 of shape (B, L)."""
        away = x == MASK
        image = (2 * x - 1).masked_fill(away, 0).float().reshape(-1, *self.shape)
        logits = self.network(image, away.float().mean(1))
        require_finite(logits, "what the network answers")
        return torch.sigmoid(logits.double()).flatten(1)


def bound(model: TokenModel, x: Tensor, generator: torch.Generator, draws: int = 1) -> Estimate:
    """Bound of the negative log-likelihood of sequences (B, L) in nats per token, the mean over
    them and as many random choices of hidden tokens for each as ``draws``.

    For an exact model it is the mean over all orders of the chain rule, the negative log
    probability itself.

    Raises:
        TypeError, ValueError: for other arguments.
    """
    require_type(model, TokenModel, "model", "a TokenModel")
    model.require_sequences(x, least=0)
    draws = as_whole_number(draws, "draws", least=1)
    require(len(x) > 1, f"x holds {len(x)} sequences; expected at least 2")
    losses = torch.zeros(len(x), dtype=torch.float64)
    for _ in range(draws):
        away = hidden(len(x), model.length, generator)
        shares = model.conditionals(x.masked_fill(away, MASK))
        surprise = -shares.gather(2, x[:, :, None])[:, :, 0].log()
        losses += (surprise * away).sum(1) / away.sum(1) / draws
    return mean(losses)
