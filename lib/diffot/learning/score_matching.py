r"""Four losses by which a network learns a score, :math:`s_\theta \approx \nabla \log p`.

The first compares with the score itself, the others do without it:

.. math::
    \text{explicit} \quad & \tfrac12 \|s_\theta(x) - \nabla \log p(x)\|^2 \\
    \text{implicit} \quad & \tfrac12 \|s_\theta(x)\|^2 + \operatorname{tr} \nabla s_\theta(x) \\
    \text{sliced} \quad & \tfrac12 \|s_\theta(x)\|^2 + v^\top \nabla s_\theta(x)\, v,
        \qquad v \sim N(0, I) \\
    \text{denoising} \quad & \tfrac12 \|s_\theta(\tilde x) + \varepsilon / \sigma\|^2,
        \qquad \tilde x = x + \sigma \varepsilon

(Hyvärinen 2005, eqs. 2 and 4; Song et al. 2019, eq. 8; Vincent 2011, eq. 11). The means of the
first three differ by :math:`\frac12 E \|\nabla \log p\|^2`, whatever the network, if p has a
density that is smooth and vanishes far out. The last is one of the noisy points
:math:`\tilde x`, whose explicit loss it exceeds by a constant too (Su & Yang 2025, eq. 18.9). All
four are in Gratias-Quiquandon et al., section 2.1.

Networks are called with points of shape (n, *d) and times of shape (n,), which are zero: there is
one level of noise. Losses are sums over the entries of a point, not means.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from diffot.errors import as_number, require_same_shape, require_type
from diffot.learning.objectives import Examples, Inputs, Objective


class ExplicitScoreLoss(Objective):
    """Half the squared distance from the true score (Su & Yang 2025, eq. 18.1).

    Args:
        score: the true one, of points (n, *d), such as the ``score`` of a
            :class:`~diffot.laws.law.Law`.

    Raises:
        TypeError: for anything but a function. ValueError: if the network, or the score,
            answers in another shape than the data.
    """

    def __init__(self, score: Callable[[Tensor], Tensor]):
        require_type(score, Callable, "score", "a function of points, such as law.score")
        self.score = score

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        x, _ = examples
        target = self.score(x)
        require_same_shape(target, x, ("the score", "the training data"))
        return {"x": x, "target": target}

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        return _half_square(_answer(network, inputs["x"]) - inputs["target"])


class DenoisingScoreLoss(Objective):
    r"""The denoising loss at one level of noise, for the score of the noisy points.

    (Su & Yang 2025, eq. 18.4; the target is that of Kim & Lee 2024, eq. 43.) It is
    :math:`1 / 2 \sigma^2` times the squared distance of the noise from its prediction
    :math:`-\sigma s_\theta`.

    Args:
        sigma: standard deviation of the noise that is added, above 0.

    Raises:
        TypeError, ValueError: for another sigma, and if the network answers in another shape
            than the data.
    """

    def __init__(self, sigma: float):
        self.sigma = as_number(sigma, "sigma", above=0)

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        x, _ = examples
        noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
        return {"x": x + self.sigma * noise, "target": -noise / self.sigma}

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        return _half_square(_answer(network, inputs["x"]) - inputs["target"])


class ImplicitScoreLoss(Objective):
    """The implicit loss, with the trace itself: as many derivatives as a point has entries.

    Raises:
        ValueError: if the network answers in another shape than the data.
    """

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        x = inputs[0].detach().requires_grad_()
        with torch.enable_grad():
            flat = _answer(network, x).flatten(1)
            slopes = [
                _gradient(flat[:, i].sum(), x).flatten(1)[:, i] for i in range(flat.shape[1])
            ]
        return _half_square(flat) + torch.stack(slopes).sum(0)


class SlicedScoreLoss(Objective):
    """The implicit loss, with the trace estimated in one random direction for each example.

    The length of the score is not projected ("with variance reduction": Song et al. 2019).

    Raises:
        ValueError: if the network answers in another shape than the data.
    """

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        x, _ = examples
        return {"x": x, "direction": torch.randn(x.shape, dtype=x.dtype, generator=generator)}

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        x, direction = inputs["x"].detach().requires_grad_(), inputs["direction"]
        with torch.enable_grad():
            score = _answer(network, x)
            slope = _gradient((score * direction).sum(), x) * direction
        return _half_square(score) + slope.flatten(1).sum(1)


def _answer(network: nn.Module, x: Tensor) -> Tensor:
    score = network(x, x.new_zeros(len(x)))
    require_same_shape(score, x, ("what the network answers", "the training data"))
    return score


def _half_square(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).sum(1) / 2


def _gradient(total: Tensor, x: Tensor) -> Tensor:
    """Of a sum over examples, to be differentiated further."""
    return torch.autograd.grad(total, x, create_graph=True)[0]
