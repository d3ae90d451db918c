r"""The probability flow of any denoiser in continuous time: its map and its likelihood.

For every schedule, :math:`u = x_t / \sqrt{\alpha_t^2 + \sigma_t^2}` obeys

.. math:: \frac{du}{d\theta} = \frac{\hat x_0 - \sin\theta\; u}{\cos\theta}, \qquad
          \theta = \arctan \frac{\alpha_t}{\sigma_t},

which is :math:`dz / dr = \hat x_0` in :math:`z = x_t / \sigma_t`, :math:`r = \alpha_t / \sigma_t`
(Song et al. 2021a, eq. 14; Su & Yang 2025, eq. 4.16) turned by an angle. It is regular at both
ends: at :math:`\theta = 0`, where nothing is left of the data, the right side is the mean of the
data, and at :math:`\theta = \pi / 2`, where no noise is, it tends to 0 with :math:`\cos\theta`.

The log density follows from the divergence along the path (Chen et al. 2018, theorem 1; Song et
al. 2021b, eq. 39; Su & Yang 2025, eq. 12.6),

.. math:: \log p(x) = \log p_T(u_T) - \int_{\theta_T}^{\pi/2} \nabla \cdot \frac{du}{d\theta}\,
          d\theta .
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_batch,
    require_generator,
    require_type,
)
from diffot.flows.maps import Map, differentiated
from diffot.flows.ode import integrate
from diffot.laws.law import Law

_DATA = math.pi / 2  # the angle at which no noise is left


class ProbabilityFlow(Map):
    r"""The map that samplers of a denoiser approach with ever more steps.

    Latents are :math:`z = x_T / s`, s being the schedule's
    :attr:`~diffot.processes.schedules.Schedule.prior_scale`, and stand for N(0, I), from which
    samplers start. That is not quite the law of x_T where some of the data are left at time T.

    Args:
        denoiser: differentiable by autograd where Jacobians or likelihoods are wanted. It is
            asked at real times in (0, T]; one that rounds them has jumps, at which the solver
            takes small steps.
        tolerance: root mean square error of one solver step (relative where entries exceed 1);
            float32 bounds it from below, at about 1e-6.
        prior: the law of x_T by which likelihoods are measured, such as
            :meth:`~diffot.denoisers.exact.ExactDenoiser.prior`; by default N(0, s^2 I).

    Points and latents have shape (B, *d). All points of a call share the solver's steps. Nothing
    carries a gradient.

    Raises:
        TypeError, ValueError: for other arguments; of the methods, for other points. They raise
            ``RuntimeError`` if the solver does not get to the end.
    """

    def __init__(self, denoiser: Denoiser, tolerance: float = 1e-5, prior: Law | None = None):
        require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
        require_type(prior, (Law, type(None)), "prior", "the law of x_T, or None")
        self.denoiser, self.prior = denoiser, prior
        self.tolerance = as_number(tolerance, "tolerance", above=0, below=1)
        self._noise = self._angle(denoiser.schedule.T)

    def decode(self, z: Tensor) -> Tensor:
        start = _checked(z, "z")
        end = self._solve(lambda angle, u: self._velocity(angle, u, z), self._noise, _DATA, start)
        return end.to(z)

    def encode(self, x: Tensor) -> Tensor:
        start = _checked(x, "x")
        end = self._solve(lambda angle, u: self._velocity(angle, u, x), _DATA, self._noise, start)
        return end.to(x)

    def jacobian(self, z: Tensor) -> Tensor:
        return self.decode_with_jacobian(z)[1]

    def decode_with_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded points (B, *d) and Jacobians (B, n, n) of :meth:`decode`, rows being outputs.

        The variational equation is integrated along with the flow; each evaluation costs n
        derivatives of the denoiser.
        """
        flat = _checked(z, "z").flatten(1)
        n = flat.shape[1]

        def rate(angle: float, state: Tensor) -> Tensor:
            velocity, slope = self._velocity_and_slope(angle, state[:, 0].reshape(z.shape), z)
            turned = slope @ state[:, 1:].mT
            return torch.cat([velocity.flatten(1)[:, None], turned.mT], 1)

        identity = torch.eye(n, dtype=torch.float64).expand(len(z), n, n)
        start = torch.cat([flat[:, None], identity], 1)
        end = self._solve(rate, self._noise, _DATA, start).to(z)
        return end[:, 0].reshape(z.shape), end[:, 1:].mT

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Log density at x, in nats, shape (B,), with the exact divergence: each evaluation costs
        as many derivatives of the denoiser as a point has entries."""

        def divergence(angle: float, u: Tensor) -> tuple[Tensor, Tensor]:
            velocity, slope = self._velocity_and_slope(angle, u, x)
            return velocity, slope.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)

        return self._log_likelihoods(x, divergence, 1)[:, 0].to(x)

    def estimate_log_likelihood(
        self, x: Tensor, probes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        r"""An unbiased estimate of :meth:`log_likelihood` where points have many entries.

        The divergence is :math:`E[v^T J v]` for random signs v (Hutchinson 1990), which are kept
        along the path (Grathwohl et al. 2019, section 3.1): one derivative of the denoiser for
        each.

        Args:
            probes: number of draws of v for each point, at least 2.

        Returns:
            Mean and standard error over the probes, each (B,).
        """
        probes = as_whole_number(probes, "probes", least=2)
        require_generator(generator)
        require_batch(x)
        shape = (probes, *x.shape)
        signs = 2.0 * torch.randint(2, shape, generator=generator, device=generator.device) - 1
        signs = signs.to("cpu", torch.float64)

        def divergence(angle: float, u: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                u = u.requires_grad_(True)
                velocity = self._velocity(angle, u, x)
                products = [
                    torch.autograd.grad((sign * velocity).sum(), u, retain_graph=True)[0] * sign
                    for sign in signs
                ]
            return velocity.detach(), torch.stack([p.flatten(1).sum(1) for p in products], 1)

        values = self._log_likelihoods(x, divergence, probes)
        return values.mean(1).to(x), (values.std(1) / probes**0.5).to(x)

    def _log_likelihoods(
        self,
        x: Tensor,
        divergence: Callable[[float, Tensor], tuple[Tensor, Tensor]],
        count: int,
    ) -> Tensor:
        """Log densities from several versions of the divergence, float64 of shape (B, count)."""
        flat = _checked(x, "x").flatten(1)
        n = flat.shape[1]

        def rate(angle: float, state: Tensor) -> Tensor:
            velocity, rates = divergence(angle, state[:, :n].reshape(x.shape))
            return torch.cat([velocity.flatten(1), rates], 1)

        start = torch.cat([flat, flat.new_zeros(len(x), count)], 1)
        latents, log_volumes = self._solve(rate, _DATA, self._noise, start).tensor_split([n], 1)
        return self._log_prior(latents.reshape(x.shape))[:, None] + log_volumes

    def _log_prior(self, z: Tensor) -> Tensor:
        """Log density of latents, shape (B,)."""
        n, scale = z[0].numel(), self.denoiser.schedule.prior_scale
        if self.prior is None:
            return -z.flatten(1).square().sum(1) / 2 - n / 2 * math.log(2 * math.pi)
        return self.prior.log_prob(scale * z) + n * math.log(scale)

    def _velocity(self, angle: float, u: Tensor, like: Tensor) -> Tensor:
        """du/dtheta, float64; the denoiser is asked in the type and on the device of ``like``."""
        if angle == _DATA:
            return 0 * u
        t = self._time(angle)
        alpha, sigma = (float(level) for level in self.denoiser.schedule.levels(t))
        scale = math.hypot(alpha, sigma)
        clean = self.denoiser.denoise((scale * u).to(like), t).to(u)
        return (scale * clean - alpha * u) / sigma

    def _velocity_and_slope(self, angle: float, u: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The same and its Jacobians in u, shape (B, n, n)."""
        return differentiated(lambda u: self._velocity(angle, u, like), u)

    def _angle(self, t: float) -> float:
        alpha, sigma = self.denoiser.schedule.levels(t)
        return math.atan2(float(alpha), float(sigma))

    def _time(self, angle: float) -> float:
        """The time with this angle."""
        angle = max(angle, self._noise)
        return float(self.denoiser.schedule.time_of(math.sin(angle), math.cos(angle)))

    def _solve(
        self, rate: Callable[[float, Tensor], Tensor], start: float, end: float, state: Tensor
    ) -> Tensor:
        """The state at the angle ``end`` of that at the angle ``start``."""
        with torch.no_grad():
            return torch.from_numpy(
                integrate(
                    lambda angle, state: rate(angle, torch.from_numpy(state)).numpy(),
                    start,
                    end,
                    state.numpy(),
                    self.tolerance,
                )
            )


def _checked(points: Tensor, name: str) -> Tensor:
    """Points as float64 on the CPU, without gradients."""
    require_batch(points, name)
    require(points.numel() > 0, f"{name} holds no points; expected at least one row")
    return points.detach().to("cpu", torch.float64)
