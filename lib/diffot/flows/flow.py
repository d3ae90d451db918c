r"""The probability-flow map of a Gaussian mixture, exact up to the tolerance of an ODE solver.

Diffusion for infinite time, :math:`dx = -x\,dt + \sqrt 2\,dW`, takes a law p to N(0, I). The
probability flow (Song et al. 2021b, eq. 13),

.. math:: \frac{dx}{dt} = -x - \nabla \log p_t(x),

carries the same laws without noise. Following it from infinity to zero is the decoder,
the other way the encoder; both are the limits of DDIM with many steps and no prior left.

**What is integrated.** Let :math:`\alpha = e^{-t}`, which runs from 0 (noise) to 1 (data), let p
be centered, with covariance C, components :math:`w_k, m_k, C_k`, and let
:math:`P_k = \alpha^2 C_k + (1 - \alpha^2) I`, :math:`S = \alpha^2 C + (1 - \alpha^2) I`. The flow
of N(0, C) would keep :math:`y = S^{-1/2} x` constant, so y moves only where p is not Gaussian:

.. math:: \frac{dy}{d\alpha} = \frac{S^{-1/2}}{\alpha}
          \big(\nabla \log p_\alpha(x) + S^{-1} x\big)
          = S^{-1/2} \sum_k r_k(x) \big[P_k^{-1} m_k
          + \alpha S^{-1} (C_k - C) P_k^{-1} x\big],

r being the responsibilities. The last form has no division by :math:`\alpha`: infinite time is
the regular point :math:`\alpha = 0`, where y = x, and nothing is cut off. A mean :math:`\mu` of p
adds :math:`\alpha \mu` to x. Nor does the map depend on the unit of length; the smallest variance
of a component serves, so that every :math:`P_k \ge I` and the flow is slow near the data, too.
Steps are taken in :math:`s = \log(1 + \ell \alpha)`, :math:`\ell^2` the largest eigenvalue of C,
in which they differ by a small factor from the scale of the whole law down to its modes'.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffot.errors import as_number, require, require_points, require_type
from diffot.flows.ode import FINEST, integrate
from diffot.laws.mixtures import GaussianMixture

_CHUNK = 2**16  # numbers per array of (component, dimension, point): fits a core's cache


def decode(mixture: GaussianMixture, z: Tensor, tolerance: float = 1e-12) -> Tensor:
    """Where the probability flow takes noise: from N(0, I) at infinite time to the mixture.

    Args:
        z: latents, shape (B, d).
        tolerance: largest error of one solver step in any coordinate of any point, in standard
            deviations of the mixture (relative where a point lies further out). Float64 bounds
            it from below, at 2e-12 for thousands of points. Errors made early grow with the
            Jacobian: among 4000 points of the thesis' mixtures, the worst is off by 1e-10.

    Returns:
        Shape (B, d), computed in float64 on the CPU and given back in the type and on the device
        of ``z``. It carries no gradient; :func:`jacobian` has the derivative.

    Raises:
        ValueError: if z is not a finite tensor of that shape, or the tolerance is not positive.
        RuntimeError: if the solver does not get to the end.
    """
    return _in_chunks(_decode, mixture, z, "z", tolerance).to(z)


def encode(mixture: GaussianMixture, x: Tensor, tolerance: float = 1e-12) -> Tensor:
    """The inverse of :func:`decode`: from the mixture to N(0, I) at infinite time.

    For a single Gaussian N(m, C) this is :math:`C^{-1/2} (x - m)`. Points in a wide gap between
    modes, which the mixture never draws, are all encoded to within rounding of one surface and
    do not come back under :func:`decode`.

    Args:
        x: points, shape (B, d). tolerance: as in :func:`decode`.

    Returns:
        Latents of shape (B, d), in the type and on the device of ``x``.

    Raises:
        ValueError, RuntimeError: as in :func:`decode`.
    """
    return _in_chunks(_encode, mixture, x, "x", tolerance).to(x)


def decode_with_jacobian(
    mixture: GaussianMixture, z: Tensor, tolerance: float = 1e-12
) -> tuple[Tensor, Tensor]:
    r"""Decoded points and the Jacobians :math:`\partial\, \mathrm{decode}(z)_i / \partial z_j`.

    The variational equation is integrated along with the flow. The Jacobian of :func:`encode` at
    a decoded point is the inverse.

    Args:
        z: latents, shape (B, d). tolerance: as in :func:`decode`; entries above 1 relative.

    Returns:
        Shapes (B, d) and (B, d, d), in the type and on the device of ``z``. Between well
        separated modes the entries of a Jacobian are huge: N(z) divided by the density at the
        decoded point is the determinant.

    Raises:
        ValueError, RuntimeError: as in :func:`decode`.
    """
    both = _in_chunks(_decode_with_jacobian, mixture, z, "z", tolerance).to(z)
    return both[:, 0], both[:, 1:].mT


def jacobian(mixture: GaussianMixture, z: Tensor, tolerance: float = 1e-12) -> Tensor:
    """The Jacobians of :func:`decode_with_jacobian` alone, shape (B, d, d)."""
    return decode_with_jacobian(mixture, z, tolerance)[1]


def log_likelihood(mixture: GaussianMixture, x: Tensor, tolerance: float = 1e-12) -> Tensor:
    r"""Log density at x by the change of variables along the flow.

    .. math:: \log p(x) = \log N(\mathrm{encode}(x); 0, I)
              + \log |\det \nabla \mathrm{encode}(x)|,

    the last term being an integral of the divergence (Chen et al. 2018, theorem 1; Song et al.
    2021b, eq. 39). It equals ``mixture.log_prob(x)`` without using it, which checks both.

    Args:
        x: points, shape (B, d). tolerance: as in :func:`decode`.

    Returns:
        Shape (B,), in nats, in the type and on the device of ``x``.

    Raises:
        ValueError, RuntimeError: as in :func:`decode`.
    """
    return _in_chunks(_log_likelihood, mixture, x, "x", tolerance).to(x)


class _Flow:
    """The equation for y above, in the axes of C and in units of the smallest width.

    Arrays are numpy's, points last, so that every operation runs along them: y is (d, B).
    """

    def __init__(self, mixture: GaussianMixture):
        w, m, c = (a.numpy() for a in (mixture.weights, mixture.means, mixture.covariances))
        self.mean = mixture.mean.numpy()[:, None]
        self.unit = math.sqrt(np.linalg.eigvalsh(c).min())
        total, self.axes = np.linalg.eigh(mixture.covariance.numpy())
        self.log_weights = np.log(w)[:, None]
        self.means = (self.axes.T @ (m[:, :, None] - self.mean)) / self.unit  # (K, d, 1)
        self.total = total[:, None] / self.unit**2  # (d, 1)
        covariances = self.axes.T @ c @ self.axes / self.unit**2
        self.spectrum, self.component_axes = np.linalg.eigh(covariances)
        self.excess = covariances - np.diag(self.total[:, 0])  # C_k - C
        self.reach = math.sqrt(self.total.max())
        self.end = math.log1p(self.reach)

    def whiten(self, x: np.ndarray) -> np.ndarray:
        """y of data points x, (d, B) both."""
        return self.axes.T @ (x - self.mean) / (self.unit * np.sqrt(self.total))

    def unwhiten(self, y: np.ndarray) -> np.ndarray:
        return self.mean + self.axes @ (self.unit * np.sqrt(self.total) * y)

    def velocity(self, s: float, y: np.ndarray) -> np.ndarray:
        """dy/ds, shape (d, B)."""
        share, drift, _, _, speed = self._components(s, y)
        return speed * (share[:, None] * drift).sum(0)

    def velocity_and_slope(self, s: float, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dy/ds, shape (d, B), and its Jacobian in y, shape (d, d, B)."""
        share, drift, drift_slope, pull, speed = self._components(s, y)
        weighted = share[:, None] * drift
        # r_k changes with x at the rate r_k (mean pull - pull_k)
        change = (share[:, None] * pull).sum(0) - pull
        slope = np.einsum("kib,kjb->ijb", weighted, change)
        slope += np.tensordot(drift_slope, share, (0, 0))
        root = self._root(s)
        return speed * weighted.sum(0), speed[:, None] * slope * root[None]

    def _root(self, s: float) -> np.ndarray:
        """Square root of S, shape (d, 1): dx/dy."""
        alpha = math.expm1(s) / self.reach
        return np.sqrt(1 + alpha**2 * (self.total - 1))

    def _components(self, s: float, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """Responsibilities (K, B); the bracket of the equation (K, d, B) and its slope in x
        (K, d, d); minus each component's score (K, d, B); and what turns the mean of the
        brackets into dy/ds (d, 1)."""
        alpha = math.expm1(s) / self.reach
        root = self._root(s)
        spectrum = 1 + alpha**2 * (self.spectrum - 1)
        precision = self.component_axes / spectrum[:, None] @ self.component_axes.mT
        x = root * y
        offset = x - alpha * self.means
        pull = precision @ offset
        log_joint = -0.5 * (offset * pull).sum(1)
        log_joint += self.log_weights - 0.5 * np.log(spectrum).sum(1, keepdims=True)
        share = np.exp(log_joint - log_joint.max(0))
        share /= share.sum(0)
        drift_slope = alpha / root[None] ** 2 * (self.excess @ precision)
        drift = precision @ self.means + drift_slope @ x
        return share, drift, drift_slope, pull, math.exp(s) / self.reach / root


def _decode(flow: _Flow, z: np.ndarray, tolerance: float) -> np.ndarray:
    return flow.unwhiten(_solve(flow.velocity, 0.0, flow.end, flow.axes.T @ z, tolerance))


def _encode(flow: _Flow, x: np.ndarray, tolerance: float) -> np.ndarray:
    return flow.axes @ _solve(flow.velocity, flow.end, 0.0, flow.whiten(x), tolerance)


def _decode_with_jacobian(flow: _Flow, z: np.ndarray, tolerance: float) -> np.ndarray:
    """Row 0 holds the decoded points, row 1 + j their derivative along the j-th axis."""
    d, n = z.shape

    def rate(s: float, state: np.ndarray) -> np.ndarray:
        velocity, slope = flow.velocity_and_slope(s, state[0])
        turned = np.einsum("ijb,jlb->lib", slope, state[1:].swapaxes(0, 1))
        return np.concatenate([velocity[None], turned])

    # row 0 holds y, row 1 + j its derivative along the j-th axis of the mixture
    start = np.empty((d + 1, d, n))
    start[0] = flow.axes.T @ z
    start[1:] = np.eye(d)[:, :, None]
    end = _solve(rate, 0.0, flow.end, start, tolerance)
    root = flow.unit * flow.axes * np.sqrt(flow.total[:, 0])
    columns = np.einsum("ia,lab,jl->jib", root, end[1:], flow.axes, optimize=True)
    return np.concatenate([flow.unwhiten(end[0])[None], columns])


def _log_likelihood(flow: _Flow, x: np.ndarray, tolerance: float) -> np.ndarray:
    def rate(s: float, state: np.ndarray) -> np.ndarray:
        velocity, slope = flow.velocity_and_slope(s, state[:-1])
        return np.concatenate([velocity, np.einsum("iib->b", slope)[None]])

    d, n = x.shape
    start = np.concatenate([flow.whiten(x), np.zeros((1, n))])
    latent, log_volume = np.split(_solve(rate, flow.end, 0.0, start, tolerance), [d])
    log_noise = -0.5 * (latent**2).sum(0) - 0.5 * d * math.log(2 * math.pi)
    log_whitening = -0.5 * np.log(flow.unit**2 * flow.total).sum()
    return log_noise + log_volume[0] + log_whitening


def _solve(
    rate: Callable[[float, np.ndarray], np.ndarray],
    start: float,
    end: float,
    state: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """The state at s = ``end``. The solver bounds the root mean square; this, every entry."""
    return integrate(rate, start, end, state, max(tolerance / math.sqrt(state.size), FINEST))


def _in_chunks(
    work: Callable[[_Flow, np.ndarray, float], np.ndarray],
    mixture: GaussianMixture,
    points: Tensor,
    name: str,
    tolerance: float,
) -> Tensor:
    """``work`` on some points at a time; takes them first, (B, d), and gives them first."""
    require_type(mixture, GaussianMixture, "mixture", "a GaussianMixture")
    require_points(points, mixture.dim, name)
    tolerance = as_number(tolerance, "tolerance", above=0, below=1)
    require(len(points) > 0, f"{name} holds no points; expected at least one row")
    flow = _Flow(mixture)
    size = max(1, _CHUNK // mixture.means.numel())
    columns = points.detach().to("cpu", torch.float64).numpy().T
    parts = [work(flow, columns[:, i : i + size], tolerance) for i in range(0, len(points), size)]
    return torch.from_numpy(np.moveaxis(np.concatenate(parts, -1), -1, 0).copy())
