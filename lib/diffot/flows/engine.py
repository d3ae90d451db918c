r"""The probability flow of a law whose noisy scores are known, in coordinates where little moves.

Diffusion by :math:`dx = -x\,dt + \sqrt 2\,dW` keeps :math:`x_t = \alpha x_0 + \sigma \varepsilon`
with :math:`\alpha = e^{-t}, \alpha^2 + \sigma^2 = 1`. The probability flow (Song et al. 2021b,
eq. 13; Khrulkov et al. 2023, eq. 9),

.. math:: \frac{dx}{dt} = -x - \nabla \log p_t(x),

carries the same laws without noise. Followed from noise to data it is the decoder, the other way
the encoder; both are the limits of DDIM with many steps and the right prior.

**What is integrated.** Let the law be centered, with covariance C, and let
:math:`S = \alpha^2 C + \sigma^2 I`. The flow of N(0, C) would keep :math:`y = S^{-1/2} x`
constant, so y moves only where the law is not Gaussian:

.. math:: \frac{dy}{d\alpha} = S^{-1/2} g, \qquad
          g = \frac{\nabla \log p_\alpha(x) + S^{-1} x}{\alpha}
            = \frac{E[x_0 \mid x] - \alpha\, C S^{-1} x}{\sigma^2} .

A mean :math:`\mu` adds :math:`\alpha \mu` to x. Infinite time is the regular point
:math:`\alpha = 0`, where y = x, and nothing is cut off. Steps are taken in
:math:`s = \log(1 + \ell \alpha)`, :math:`\ell^2` the largest eigenvalue of C, in which they
differ by a small factor from the scale of the whole law down to that of its modes.

A law may be followed in a unit of length u of its own. At :math:`\alpha u / \sigma`, its ratio
of data to noise, it is :math:`\sqrt{\alpha^2 u^2 + \sigma^2}` times smaller than in ours.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffot.errors import as_number, require, require_points
from diffot.flows.maps import Map
from diffot.flows.ode import integrate


class Flow(Map):
    """The flow between a law and noise; what a law contributes is its :meth:`drift`.

    Within, arrays are numpy's, in the axes of C and in the law's unit; points come last, (d, B),
    so that every operation runs along them.

    Args:
        mean, covariance: of the law, shapes (d,) and (d, d).
        unit: of length, above 0.
        time: from data to noise, may be infinite.
        tolerance: of one solver step, between 0 and 1.
    """

    def __init__(
        self, mean: Tensor, covariance: Tensor, unit: float, time: float, tolerance: float
    ):
        self.time, self.tolerance = time, as_number(tolerance, "tolerance", above=0, below=1)
        self._mean, self._unit = mean.numpy()[:, None], unit
        spectrum, self._axes = np.linalg.eigh(covariance.numpy())
        self._spectrum = spectrum[:, None] / unit**2  # of C, (d, 1)
        self._reach = math.sqrt(self._spectrum.max())
        self._signal = math.exp(-time)  # alpha at the end of noise

    @abstractmethod
    def drift(self, alpha: float, x: np.ndarray) -> np.ndarray:
        """g at centered points, both (d, B)."""

    def step_tolerance(self, entries: int) -> float:
        """The root mean square error allowed in a step of a state of so many numbers."""
        return self.tolerance

    def points_at_once(self) -> int:
        """The number of points for which steps are chosen together."""
        return sys.maxsize

    def decode(self, z: Tensor) -> Tensor:
        """Where the flow takes noise.

        Args:
            z: latents, shape (B, d).

        Returns:
            Shape (B, d), computed in float64 on the CPU and given back in the type and on the
            device of ``z``. It carries no gradient; :meth:`jacobian` has the derivative.

        Raises:
            ValueError: if z is not a finite tensor of that shape.
            RuntimeError: if the solver does not get to the end.
        """
        return self._in_parts(self._decode, z, "z")

    def encode(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`decode`: where the flow takes points (B, d).

        For infinite time and a single Gaussian N(m, C) this is :math:`C^{-1/2} (x - m)` (Khrulkov
        et al. 2023, theorem 3.1). Points in a wide gap between modes, where the law has no mass,
        are all encoded to within rounding of one surface and do not come back.
        """
        return self._in_parts(self._encode, x, "x")

    @abstractmethod
    def decode_with_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded points (B, d) and the Jacobians of :meth:`decode` (B, d, d), whose rows are
        outputs."""

    def jacobian(self, z: Tensor) -> Tensor:
        """The Jacobians of :meth:`decode_with_jacobian` alone, shape (B, d, d)."""
        return self.decode_with_jacobian(z)[1]

    def _decode(self, z: np.ndarray) -> np.ndarray:
        y = self._whiten(z, self._signal)
        return self._unwhiten(self._solve(self._velocity, self._signal, 1.0, y), 1.0)

    def _encode(self, x: np.ndarray) -> np.ndarray:
        y = self._whiten(x, 1.0)
        y = self._solve(self._velocity, 1.0, self._signal, y)
        return self._unwhiten(y, self._signal)

    def _whiten(self, x: np.ndarray, signal: float) -> np.ndarray:
        """y of points x at alpha = ``signal``, (d, B) both."""
        alpha, scale = self._level(signal)
        return self._axes.T @ (x - signal * self._mean) / (scale * self._root(alpha))

    def _unwhiten(self, y: np.ndarray, signal: float) -> np.ndarray:
        alpha, scale = self._level(signal)
        return signal * self._mean + self._axes @ (scale * self._root(alpha) * y)

    def _level(self, signal: float) -> tuple[float, float]:
        """alpha in the law's unit, and how many times smaller x is in it."""
        scale = math.hypot(signal * self._unit, math.sqrt(1 - signal**2))
        return signal * self._unit / scale, scale

    def _root(self, alpha: float) -> np.ndarray:
        """Square roots of the eigenvalues of S, shape (d, 1): dx/dy."""
        return np.sqrt(1 + alpha**2 * (self._spectrum - 1))

    def _alpha(self, s: float) -> tuple[float, float]:
        """alpha and its derivative in s; rounding must not lead past the data."""
        return min(math.expm1(s) / self._reach, 1.0), math.exp(s) / self._reach

    def _velocity(self, s: float, y: np.ndarray) -> np.ndarray:
        """dy/ds, shape (d, B)."""
        alpha, rate = self._alpha(s)
        root = self._root(alpha)
        return rate / root * self.drift(alpha, root * y)

    def _solve(
        self,
        rate: Callable[[float, np.ndarray], np.ndarray],
        start: float,
        end: float,
        state: np.ndarray,
    ) -> np.ndarray:
        """The state at alpha = ``end`` of that at alpha = ``start``, both in our unit."""
        first, last = (
            math.log1p(self._reach * self._level(signal)[0]) for signal in (start, end)
        )
        return integrate(rate, first, last, state, self.step_tolerance(state.size))

    def _in_parts(
        self, work: Callable[[np.ndarray], np.ndarray], points: Tensor, name: str
    ) -> Tensor:
        """``work`` on some points at a time; takes them first, (B, d), and gives them first."""
        require_points(points, len(self._mean), name)
        require(len(points) > 0, f"{name} holds no points; expected at least one row")
        columns = points.detach().to("cpu", torch.float64).numpy().T
        size = self.points_at_once()
        parts = [work(columns[:, i : i + size]) for i in range(0, len(points), size)]
        whole = np.moveaxis(np.concatenate(parts, -1), -1, 0)
        return torch.from_numpy(whole.copy()).to(points)
