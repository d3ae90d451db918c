"""How far a trained denoiser is from the exact one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.exact import ExactDenoiser
from diffot.errors import (
    as_whole_number,
    require,
    require_generator,
    require_points,
    require_same_shape,
    require_type,
)
from diffot.estimates import quantile, root_mean, share_error


@dataclass(frozen=True)
class NoiseErrors:
    r"""Mean squared errors per coordinate over data, times and noise.

    ``loss`` is :math:`E (\varepsilon - \hat\varepsilon)^2`, what training minimizes;
    ``bayes_loss`` is the same for the exact denoiser, the least possible; ``rmse`` is the root
    of the mean squared difference of the two denoisers. In expectation
    ``loss = bayes_loss + rmse**2``. ``n`` points were drawn; ``loss_error`` is the standard error
    of either loss, ``rmse_error`` that of the root.
    """

    loss: float
    bayes_loss: float
    rmse: float
    rmse_error: float
    loss_error: float
    n: int


def noise_errors(
    denoiser: Denoiser, exact: ExactDenoiser, n: int, generator: torch.Generator
) -> NoiseErrors:
    """Compare predictions at x_t for n random data points, times and noises.

    Args:
        n: at least 2.
    """
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser")
    require_type(exact, ExactDenoiser, "exact", "an ExactDenoiser")
    n = as_whole_number(n, "n", least=2)
    require_generator(generator)
    schedule = exact.schedule
    x_0 = exact.law.sample(n, generator)
    t = schedule.draw_times(n, generator)
    eps = torch.randn(x_0.shape, dtype=x_0.dtype, generator=generator)
    levels = schedule.levels(t)
    require(
        denoiser.schedule.T == schedule.T
        and all(map(torch.equal, denoiser.schedule.levels(t), levels)),
        f"the denoisers have different schedules, {denoiser.schedule} and {schedule}; "
        "errors can be compared on one schedule only",
    )
    alpha, sigma = (level[:, None] for level in levels)
    x_t = alpha * x_0 + sigma * eps
    predicted, best = denoiser.noise(x_t, t), exact.noise(x_t, t)
    require_same_shape(predicted, eps, ("what denoiser returns", "the noise"))
    squares = ((predicted - eps) ** 2).mean(1)
    apart = root_mean(((predicted - best) ** 2).mean(1))
    return NoiseErrors(
        loss=float(squares.mean()),
        bayes_loss=float(((best - eps) ** 2).mean()),
        rmse=apart.value,
        rmse_error=apart.error,
        loss_error=float(squares.std() / n**0.5),
        n=n,
    )


@dataclass(frozen=True)
class MapErrors:
    """How two maps of the same latents differ.

    ``median`` and ``upper`` are the median and the 90 % quantile of the distance between the
    images of a latent; ``same_mode`` is the share of latents whose images lie in the same mode;
    ``largest_count`` is the largest difference in the number of latents sent to a mode. Their
    standard errors are over latents; that of the count is the root of the number of latents that
    come to this mode or leave it.
    """

    median: float
    median_error: float
    upper: float
    same_mode: float
    same_mode_error: float
    largest_count: int
    largest_count_error: float


def map_errors(exact: ExactDenoiser, reference: Tensor, other: Tensor) -> MapErrors:
    """Compare the images of the same latents under two maps, both of shape (n, d).

    ``exact`` tells the modes, numbered as in its mixture.
    """
    require_type(exact, ExactDenoiser, "exact", "an ExactDenoiser")
    law: Any = exact.law  # a mixture
    for points, name in ((reference, "reference"), (other, "other")):
        require_points(points, law.dim, name)
    require_same_shape(reference, other, ("reference", "other"))
    require(len(reference) > 0, "reference is empty; expected at least one point")
    distance = (reference - other).norm(dim=1)
    here, there = law.mode(reference), law.mode(other)
    modes = len(law.weights)
    change = here.bincount(minlength=modes) - there.bincount(minlength=modes)
    most = int(change.abs().argmax())
    middle, same = quantile(distance), float((here == there).double().mean())
    return MapErrors(
        median=middle.value,
        median_error=middle.error,
        upper=float(distance.quantile(0.9)),
        same_mode=same,
        same_mode_error=share_error(same, len(reference)),
        largest_count=int(change[most].abs()),
        largest_count_error=float(((here == most) != (there == most)).sum()) ** 0.5,
    )
