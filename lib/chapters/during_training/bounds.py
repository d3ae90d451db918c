r"""What errors of the score cost in Wasserstein distance, for the map that a sampler makes.

Two samplers start from the same latents, one with the exact denoiser and one with a model, and
take the same steps :math:`x_{k+1} = G_k(x_k)` and :math:`y_{k+1} = \hat G_k(y_k)`. Their ends are
a coupling of the two laws they draw, so that the root mean square of their distance is at least
:math:`W_2`. By the triangle inequality it is at most

.. math:: \sum_k \big\| \hat G_{K-1} \circ \dots \circ \hat G_{k+1} (\hat G_k(x_k))
          - \hat G_{K-1} \circ \dots \circ \hat G_{k+1} (x_{k+1}) \big\|_{L^2},

the errors of single steps at points of the exact law, carried to the end by the model. With
:math:`\Lambda_k` the largest stretch of :math:`\hat G_k`, its Lipschitz constant, this is at most

.. math:: \sum_k \Lambda_{K-1} \cdots \Lambda_{k+1}\,
          \| \hat G_k(x_k) - G_k(x_k) \|_{L^2} .

For steps of DDIM, the error of a step in :math:`x / \alpha` is the change of
:math:`\sigma / \alpha` times the error of the noise. In the limit of small steps the last line is
the bound of Kwon, Fan & Lee (2022) for the probability flow, as Su & Yang (2025, section 16.3)
derive it, with the sign of :mod:`chapters.during_training.gaussian`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import as_whole_number, require_points, require_type
from diffot.flows.maps import differentiated
from diffot.samplers.ddim import ddim, ddim_path


@dataclass(frozen=True)
class ErrorBounds:
    """The distance of two maps of the same latents, and bounds on it from above.

    Attributes:
        distance: root mean square distance of the ends; at least W2 of the laws they have.
        carried: sum over the steps of how far the error of each moves the end, root mean square
            over the latents; at least ``distance``.
        uniform_digits: the bound with one stretch for each step, the largest; as a decimal
            logarithm, since it may be astronomical. The stretches are the largest *at the points
            of both paths*: over the whole space, the bound is at least this.
        stretch_digits: likewise the product of these stretches, by which the bound multiplies
            the error of the first step.
    """

    distance: float
    carried: float
    uniform_digits: float
    stretch_digits: float


def error_bounds(exact: Denoiser, model: Denoiser, x_T: Tensor, steps: int) -> ErrorBounds:
    """What the errors of a model in the steps of DDIM do to its map.

    Args:
        exact, model: on one schedule; the model differentiable by autograd.
        x_T: starting noise, shape (n, d).
        steps: of DDIM, from T to 0. The model is asked at ``n steps^2 / 2`` points.

    Raises:
        TypeError, ValueError: for other arguments.
    """
    for denoiser, name in ((exact, "exact"), (model, "model")):
        require_type(denoiser, Denoiser, name, "a Denoiser")
    require_points(x_T, x_T.shape[-1] if isinstance(x_T, Tensor) and x_T.ndim else 1, "x_T")
    times = exact.schedule.timesteps(as_whole_number(steps, "steps", least=1)).tolist()
    path = ddim_path(exact, x_T, times)
    # the model's path from each point of the exact one that has been reached, the first one first
    reached, slips, stretches = path[:1], [], []
    for k, step in enumerate(zip(times, times[1:])):
        stretches.append(_largest_stretch(model, torch.cat([path[k], reached[0]]), step))
        with torch.no_grad():
            moved = ddim(model, reached.flatten(0, 1), step).reshape(reached.shape)
        slips.append(_rms(moved[-1] - path[k + 1]))
        reached = torch.cat([moved, path[k + 1 : k + 2]])
    return ErrorBounds(
        distance=_rms(reached[0] - reached[-1]),
        carried=sum(_rms(b - a) for a, b in zip(reached, reached[1:])),
        uniform_digits=_carried_digits(slips, stretches),
        stretch_digits=float(np.log10(stretches).sum()),
    )


def _rms(difference: Tensor) -> float:
    return float(difference.square().sum(1).mean().sqrt())


def _largest_stretch(model: Denoiser, x: Tensor, step: tuple[float, float]) -> float:
    """The largest singular value of the Jacobian of one step of DDIM at any of the points."""
    jacobian = differentiated(lambda x: ddim(model, x, step), x)[1]
    return float(torch.linalg.matrix_norm(jacobian, 2).max())


def _carried_digits(slips: list[float], stretches: list[float]) -> float:
    """log10 of the sum of each error times all stretches after it."""
    with np.errstate(divide="ignore"):  # an error of 0 has the logarithm -inf
        slip, stretch = np.log(slips), np.log(stretches)
    after = stretch.sum() - stretch.cumsum()
    return float(np.logaddexp.reduce(slip + after)) / math.log(10)
