r"""Heat and charges on a line, where everything is a quantile.

On a line a flow keeps the order of points, so that each stays at one value of the distribution
function. A law that is spread by heat, and one that is spread by charges, follow from their
distribution functions alone; the equations of motion are the second way.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import integrate, optimize
from torch import Tensor

from diffot.errors import as_number, require_points
from diffot.flows import ode
from diffot.laws.mixtures import GaussianMixture
from diffot.processes import poisson


def heated(density: np.ndarray, width: float, variance: float) -> np.ndarray:
    r"""The solution of :math:`\partial_t p = D\, \partial_x^2 p`, :math:`2 \int D\, dt` being
    ``variance``, on a grid of cells of this width that is taken as a ring: every frequency
    :math:`\omega` is multiplied by :math:`e^{-\omega^2 v / 2}`."""
    variance = as_number(variance, "variance", at_least=0)
    omega = 2 * math.pi * np.fft.rfftfreq(len(density), width)
    spectrum = np.fft.rfft(density) * np.exp(-(omega**2) * variance / 2)
    return np.fft.irfft(spectrum, len(density))


def carried(law: GaussianMixture, x: Tensor, variance: float) -> Tensor:
    r"""Where :math:`dx / d(\sigma^2) = -\tfrac12 \nabla \log p_\sigma(x)` takes points (B, 1)
    of a law until :math:`\sigma^2` is ``variance`` (Su & Yang 2025, eq. 12.17)."""
    require_points(x, law.dim)

    def rate(square: float, y: np.ndarray) -> np.ndarray:
        score = law.score(torch.from_numpy(y)[:, None], 1.0, math.sqrt(square))
        return -0.5 * score[:, 0].numpy()

    end = ode.integrate(rate, 0.0, variance, x[:, 0].double().numpy(), 1e-11)
    return torch.from_numpy(end)[:, None]


def below(x: np.ndarray, height: float, charges: np.ndarray) -> np.ndarray:
    """The part of the flux of equal charges (n,) on a line that crosses the height left of each
    x: the distribution function of Cauchy kernels."""
    angles = np.arctan2(np.asarray(x)[..., None] - charges, height)
    return 0.5 + angles.mean(-1) / math.pi


def field_line(share: float, heights: np.ndarray, charges: np.ndarray) -> np.ndarray:
    """The place, at each height above 0, of the line with this share of the flux left of it."""
    share = as_number(share, "share", above=0, below=1)
    wide = np.abs(charges).max() + heights / math.tan(math.pi * min(share, 1 - share))
    return np.array([
        optimize.brentq(lambda x, t=t: float(below(x, t, charges)) - share, -w, w, xtol=1e-13)
        for t, w in zip(heights, wide * (1 + 1e-9))
    ])  # fmt: skip


def followed_line(start: float, heights: np.ndarray, charges: np.ndarray) -> float:
    """The place at the last height of the line through ``start`` at the first, by the equation of
    motion."""
    points = torch.from_numpy(charges)[:, None]

    def rate(log_height: float, x: np.ndarray) -> np.ndarray:
        height = math.exp(log_height)
        velocity = poisson.velocity(torch.from_numpy(x)[:, None], height, points)
        return height * velocity[:, 0].numpy()

    ends = math.log(heights[0]), math.log(heights[-1])
    return float(ode.integrate(rate, *ends, np.array([start]), 1e-11)[0])


def start_error(height: float, charges: np.ndarray) -> float:
    """Total variation distance between the law at a height and that of one charge at 0.

    In the angle of the place as seen from the origin the second is uniform.
    """
    height = as_number(height, "height", above=0)

    def difference(angle: float) -> float:
        x = height * math.tan(angle)
        ratios = (x**2 + height**2) / ((x - charges) ** 2 + height**2)
        return abs(float(ratios.mean()) - 1) / (2 * math.pi)

    half = math.pi / 2
    pieces = np.linspace(-half, half, 17)
    return sum(integrate.quad(difference, a, b)[0] for a, b in zip(pieces, pieces[1:]))


def shell_pull(distance: float) -> float:
    """The pull of a unit charge that is spread over the unit sphere in space, at a distance from
    its center, toward the center."""
    distance = as_number(distance, "distance", at_least=0)

    def ring(cosine: float) -> float:
        square = 1 + distance**2 - 2 * distance * cosine
        return (distance - cosine) / square**1.5 / 2

    return integrate.quad(ring, -1, 1, epsabs=1e-12)[0]
