r"""Langevin dynamics: sampling by the score alone.

.. math:: x \leftarrow x + \frac{h}{2} \nabla \log p(x) + \sqrt{h}\, z, \qquad z \sim N(0, I),

is the Euler-Maruyama method for a diffusion that leaves p as it is (Roberts & Tweedie 1996). The
law that it settles in is p only as the step h goes to 0: for N(0, v) its variance is
:math:`v / (1 - h / 4v)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_batch,
    require_generator,
    require_same_shape,
    require_type,
)
from diffot.processes.schedules import VarianceExploding
from diffot.samplers.steps import as_start, noise_like


def langevin(
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    step: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    r"""Unadjusted Langevin dynamics (Roberts & Tweedie 1996, eq. 4).

    (Kim & Lee 2024, eq. 44; Gratias-Quiquandon et al., section 1.1.)

    Args:
        score: of points (B, *d), of the same shape, such as the ``score`` of a
            :class:`~diffot.laws.law.Law`.
        x: where to start, shape (B, *d).
        step: h, above 0.
        steps: how many of them.
        generator: source of the noise.

    Returns:
        The points after the last step, shape (B, *d).

    Raises:
        TypeError, ValueError: for other arguments, and if the score has another shape than x.
    """
    require_type(score, Callable, "score", "a function of points, such as law.score")
    require_batch(x, "x")
    step = as_number(step, "step", above=0)
    steps = as_whole_number(steps, "steps", least=1)
    require_generator(generator)
    for _ in range(steps):
        push = score(x)
        require_same_shape(push, x, ("score", "x"))
        x = x + step / 2 * push + step**0.5 * noise_like(x, generator)
    return x


def annealed_langevin(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    step: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    r"""Langevin dynamics at one level of noise after the other (Song & Ermon 2019, algorithm 1).

    At each level :math:`\sigma` there are ``steps`` steps of size
    :math:`h = \text{step} \cdot \sigma^2` with the score of the data under this noise. The paper
    says the size by :math:`\varepsilon = \text{step} \cdot \sigma_L^2`, with
    :math:`\sigma_L` the last level (Gratias-Quiquandon et al., algorithm 1, too). The points at
    the end have the noise of the last level; the denoiser itself takes it off
    (Jolicoeur-Martineau et al. 2021, section 3.1).

    Args:
        denoiser: on a :class:`~diffot.processes.schedules.VarianceExploding` schedule, whose
            times are the levels; a :class:`~diffot.denoisers.rescaled.RescaledDenoiser` puts any
            other there.
        x: where to start, shape (B, *d), usually noise of the first level.
        sigmas: the levels, strictly decreasing and above 0.
        step: size of a step by the square of the level, above 0.
        steps: how many at each level.
        generator: source of the noise.

    Returns:
        The points after the last step, shape (B, *d).

    Raises:
        TypeError, ValueError: for other arguments.
    """
    start = as_start(denoiser, x, "x")
    require_type(denoiser.schedule, VarianceExploding, "the schedule", "VarianceExploding")
    require_type(sigmas, Sequence, "sigmas", "a list of levels of noise")
    levels = [as_number(sigma, "one of sigmas", above=0) for sigma in sigmas]
    require(
        len(levels) > 0 and all(low < high for high, low in zip(levels, levels[1:])),
        f"sigmas is {levels!s:.60}; expected at least one level, each below the one before",
    )
    step = as_number(step, "step", above=0)
    for sigma in levels:
        score = partial(denoiser.score, t=sigma)
        start = langevin(score, start, step * sigma**2, steps, generator)
    return start.to(x.dtype)
