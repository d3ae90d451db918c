r"""Kernels other than the Gaussian: a Gaussian vector times a random scale.

A process with an isotropic kernel makes :math:`x_t = x_0 + t\, \xi`. In :math:`z = x_t / t` and
:math:`r = 1 / t`, whatever the law of :math:`\xi` is,

.. math:: z = r\, x_0 + \xi, \qquad \frac{dz}{dr} = E[x_0 \mid z],

carries the law of z from that of :math:`\xi`, at r = 0, to the data, the limit of z / r: it is
the equation of continuity for what :math:`x_0` moves at the rate 1. Diffusion has the Gaussian
kernel, Poisson flow the law of Cauchy (:mod:`diffot.processes.poisson`), and with D more
coordinates instead of one, Student's with D degrees of freedom (Xu et al. 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

from diffot.errors import as_number, require_generator, require_points

_STEP = 0.22  # of the trapezoidal rule, in the logarithm of the scale
_REACH = 1e-9  # probability that a vector lies further out than scales are meant for


@dataclass(frozen=True)
class StudentKernel:
    r"""The multivariate law of Student, :math:`\xi = \sqrt{\nu / \chi^2_\nu}\; g`, g Gaussian.

    Density :math:`\propto (1 + |\xi|^2 / \nu)^{-(d + \nu)/2}`. One degree of freedom is Poisson
    flow (Su & Yang 2025, eq. 14.17); with many the kernel is Gaussian. The mean square is
    infinite up to two.

    Args:
        dof: the degrees of freedom :math:`\nu`, above 0.
    """

    dof: float

    def __post_init__(self):
        object.__setattr__(self, "dof", as_number(self.dof, "dof", above=0))

    def scales(self, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes for the scale and logarithms of their masses, (J,) each: what is an integral
        over the scale becomes a sum.

        By the trapezoidal rule in the logarithm of the scale, whose error falls exponentially in
        1/step; far enough out for vectors with the probability of 1e-9 in dim dimensions.
        """
        nu = self.dof
        step = min(_STEP, math.pi / math.sqrt(28 * (nu + dim)))
        furthest = math.log(max(self.radius(np.array([_REACH]), dim)[0], 1.0))
        low = -0.5 * math.log(1 + 60 / nu + 12 / math.sqrt(nu))
        u = np.arange(low, furthest + 24 / (nu + dim) + step, step)
        log_density = -nu * u - nu / 2 * np.exp(-2 * u)
        constant = math.log(2) + nu / 2 * math.log(nu / 2) - special.gammaln(nu / 2)
        return np.exp(u), log_density + constant + math.log(step)

    def log_density(self, x: Tensor) -> Tensor:
        """Log density at x of shape (B, d), in nats, shape (B,)."""
        require_points(x)
        dim, nu = x.shape[1], self.dof
        constant = special.gammaln((nu + dim) / 2) - special.gammaln(nu / 2)
        constant -= dim / 2 * math.log(nu * math.pi)
        return constant - (nu + dim) / 2 * torch.log1p(x.square().sum(1) / nu)

    def radius(self, survival: np.ndarray, dim: int) -> np.ndarray:
        r"""The radius that is exceeded with these probabilities; :math:`|\xi|^2 / d` has
        Fisher's law F(d, nu)."""
        # through the law of Beta, which is precise far out
        share = special.betaincinv(self.dof / 2, dim / 2, survival)
        return np.sqrt(self.dof * (1 - share) / share)

    def from_normal(self, z: Tensor) -> Tensor:
        r"""The optimal map from N(0, I) to the kernel, both of shape (B, d), float64.

        It keeps directions and takes each radius to that of the same probability, so it is the
        gradient of a convex function, also where the mean square of the kernel is infinite.
        """
        require_points(z, name="z")
        points = z.detach().double()
        radii = points.norm(dim=1).clamp(min=1e-300)
        dim = z.shape[1]
        survival = special.gammaincc(dim / 2, radii.numpy() ** 2 / 2)
        stretched = torch.from_numpy(self.radius(survival, dim))
        return points * (stretched / radii)[:, None]

    def sample(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        """Draws, float64 of shape (count, dim).

        For one degree of freedom, a Gaussian vector over the size of one more Gaussian number (Su
        & Yang 2025, eq. 14.19).
        """
        require_generator(generator)
        z = torch.randn(count, dim, generator=generator, dtype=torch.float64)
        uniform = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        scale = np.sqrt(self.dof / stats.chi2.ppf(uniform, self.dof))
        return z * torch.from_numpy(scale)[:, None]
