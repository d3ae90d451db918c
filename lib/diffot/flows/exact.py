r"""The probability flow of a Gaussian mixture, exact up to the tolerance of an ODE solver.

With components :math:`w_k, m_k, C_k` about the mean, :math:`P_k = \alpha^2 C_k + \sigma^2 I` and
responsibilities :math:`r_k`, the drift of :mod:`diffot.flows.engine` is

.. math:: g = \sum_k r_k(x) \big[P_k^{-1} m_k + \alpha S^{-1} (C_k - C) P_k^{-1} x\big],

without a division by :math:`\alpha` or :math:`\sigma`. The unit of length is the smallest
standard deviation of a component, so that every :math:`P_k \ge I` and the flow is slow near the
data, too.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from diffot.errors import require_type
from diffot.flows.engine import Flow
from diffot.flows.ode import FINEST
from diffot.laws.mixtures import GaussianMixture

_CHUNK = 2**16  # numbers per array of (component, dimension, point): fits a core's cache


class ExactFlow(Flow):
    """The map from N(0, I), at infinite time, to a Gaussian mixture.

    Its flow is that of Khrulkov et al. 2023, eq. 9.

    Args:
        law: the mixture.
        tolerance: largest error of one solver step in any coordinate of any point, in standard
            deviations of the mixture (relative where a point lies further out). Float64 bounds
            it from below, at 2e-12 for thousands of points. Errors made early grow with the
            Jacobian: among 4000 points of the thesis' mixtures, the worst is off by 1e-10.

    Raises:
        TypeError, ValueError: for another law, or a tolerance out of range.
    """

    def __init__(self, law: GaussianMixture, tolerance: float = 1e-12):
        require_type(law, GaussianMixture, "law", "a GaussianMixture")
        self.law = law
        w, m, c = (a.numpy() for a in (law.weights, law.means, law.covariances))
        unit = math.sqrt(np.linalg.eigvalsh(c).min())
        super().__init__(law.mean, law.covariance, unit, math.inf, tolerance)
        self._log_weights = np.log(w)[:, None]
        self._means = (self._axes.T @ (m[:, :, None] - self._mean)) / unit  # (K, d, 1)
        covariances = self._axes.T @ c @ self._axes / unit**2
        self._variances, self._component_axes = np.linalg.eigh(covariances)
        self._excess = covariances - np.diag(self._spectrum[:, 0])  # C_k - C

    def step_tolerance(self, entries: int) -> float:
        # the solver bounds the root mean square, which bounds every entry
        return max(self.tolerance / math.sqrt(entries), FINEST)

    def points_at_once(self) -> int:
        return max(1, _CHUNK // self._means.size)

    def drift(self, alpha: float, x: np.ndarray) -> np.ndarray:
        weights, drift, _, _ = self._components(alpha, x)
        return (weights[:, None] * drift).sum(0)

    def decode_with_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded points and the Jacobians of :meth:`decode`, rows being outputs.

        The variational equation is integrated along with the flow. The Jacobian of :meth:`encode`
        at a decoded point is the inverse.

        Args:
            z: latents, shape (B, d). The tolerance holds for entries of a Jacobian, relative
                where they exceed 1.

        Returns:
            Shapes (B, d) and (B, d, d), in the type and on the device of ``z``. Between well
            separated modes the entries of a Jacobian are huge: N(z) divided by the density at the
            decoded point is the determinant.

        Raises:
            ValueError, RuntimeError: as in :meth:`decode`.
        """
        both = self._in_parts(self._decode_with_jacobian, z, "z")
        return both[:, 0], both[:, 1:].mT

    def log_likelihood(self, x: Tensor) -> Tensor:
        r"""Log density at x by the change of variables along the flow.

        .. math:: \log p(x) = \log N(\mathrm{encode}(x); 0, I)
                  + \log |\det \nabla \mathrm{encode}(x)|,

        the last term being an integral of the divergence (Chen et al. 2018, theorem 1; Song et
        al. 2021b, eq. 39; Su & Yang 2025, eq. 12.6). It equals ``law.log_prob(x)`` without using
        it, which checks both.

        Args:
            x: points, shape (B, d).

        Returns:
            Shape (B,), in nats, in the type and on the device of ``x``.

        Raises:
            ValueError, RuntimeError: as in :meth:`decode`.
        """
        return self._in_parts(self._log_likelihood, x, "x")

    def _decode_with_jacobian(self, z: np.ndarray) -> np.ndarray:
        """Row 0 holds the decoded points, row 1 + j their derivative along the j-th axis."""
        d, n = z.shape

        def rate(s: float, state: np.ndarray) -> np.ndarray:
            velocity, slope = self._velocity_and_slope(s, state[0])
            turned = np.einsum("ijb,jlb->lib", slope, state[1:].swapaxes(0, 1))
            return np.concatenate([velocity[None], turned])

        # row 0 holds y, row 1 + j its derivative along the j-th axis of the law
        start = np.empty((d + 1, d, n))
        start[0] = self._whiten(z, 0.0)
        start[1:] = np.eye(d)[:, :, None]
        end = self._solve(rate, 0.0, 1.0, start)
        root = self._unit * self._axes * self._root(1.0)[:, 0]
        columns = np.einsum("ia,lab,jl->jib", root, end[1:], self._axes, optimize=True)
        return np.concatenate([self._unwhiten(end[0], 1.0)[None], columns])

    def _log_likelihood(self, x: np.ndarray) -> np.ndarray:
        def rate(s: float, state: np.ndarray) -> np.ndarray:
            velocity, slope = self._velocity_and_slope(s, state[:-1])
            return np.concatenate([velocity, np.einsum("iib->b", slope)[None]])

        d, n = x.shape
        start = np.concatenate([self._whiten(x, 1.0), np.zeros((1, n))])
        latent, log_volume = np.split(self._solve(rate, 1.0, 0.0, start), [d])
        log_noise = -0.5 * (latent**2).sum(0) - 0.5 * d * math.log(2 * math.pi)
        log_whitening = -np.log(self._unit * self._root(1.0)).sum()
        return log_noise + log_volume[0] + log_whitening

    def _velocity_and_slope(self, s: float, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dy/ds, shape (d, B), and its Jacobian in y, shape (d, d, B)."""
        alpha, rate = self._alpha(s)
        root = self._root(alpha)
        weights, drift, drift_slope, pull = self._components(alpha, root * y)
        weighted = weights[:, None] * drift
        # r_k changes with x at the rate r_k (mean pull - pull_k)
        change = (weights[:, None] * pull).sum(0) - pull
        slope = np.einsum("kib,kjb->ijb", weighted, change)
        slope += np.tensordot(drift_slope, weights, (0, 0))
        speed = rate / root
        return speed * weighted.sum(0), speed[:, None] * slope * root[None]

    def _components(self, alpha: float, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Responsibilities (K, B); the bracket of the equation (K, d, B) and its slope in x
        (K, d, d); minus each component's score (K, d, B)."""
        variances = 1 + alpha**2 * (self._variances - 1)
        precision = self._component_axes / variances[:, None] @ self._component_axes.mT
        offset = x - alpha * self._means
        pull = precision @ offset
        log_joint = -0.5 * (offset * pull).sum(1)
        log_joint += self._log_weights - 0.5 * np.log(variances).sum(1, keepdims=True)
        weights = np.exp(log_joint - log_joint.max(0))
        weights /= weights.sum(0)
        drift_slope = alpha / self._root(alpha)[None] ** 2 * (self._excess @ precision)
        drift = precision @ self._means + drift_slope @ x
        return weights, drift, drift_slope, pull
