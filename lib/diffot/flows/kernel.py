r"""The flow of a process with a kernel other than the Gaussian, to a Gaussian mixture.

With the scale S of the kernel (:mod:`diffot.processes.kernels`) the point
:math:`z = r x_0 + S g` is Gaussian for each component k and value s of S, so

.. math:: E[x_0 \mid z] = \sum_{k, s} w_{ks}(z)
          \left[m_k + r C_k (r^2 C_k + s^2 I)^{-1} (z - r m_k)\right],

the sum over s being a quadrature in one variable. Followed is
:math:`y = z / \sqrt{1 + r^2}`, from :math:`\xi` at r = 0 to the data at infinite r, in
:math:`\log(1 + \ell r)`, :math:`\ell` the standard deviation of the law along its longest axis:
nothing is cut off at the end of noise.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from diffot.errors import as_number, require_points, require_type
from diffot.flows.maps import Map
from diffot.flows.ode import integrate
from diffot.laws.mixtures import GaussianMixture
from diffot.processes.kernels import StudentKernel

_LAST = 1e11  # r at the data, by the longest axis; heavy tails settle late
_CHUNK = 2**16  # numbers in the largest array


class KernelFlow(Map):
    """The map from N(0, I) to a Gaussian mixture: first to the kernel, by its optimal map, then
    along the flow.

    Args:
        law: the mixture.
        kernel: of the process.
        tolerance: root mean square error of a solver step over points, in standard deviations of
            the law (relative where a point lies further out).
    """

    def __init__(self, law: GaussianMixture, kernel: StudentKernel, tolerance: float = 1e-8):
        require_type(law, GaussianMixture, "law", "a GaussianMixture")
        require_type(kernel, StudentKernel, "kernel", "a StudentKernel")
        self.law, self.kernel = law, kernel
        self.tolerance = as_number(tolerance, "tolerance", above=0, below=1)
        self._reach = math.sqrt(torch.linalg.eigvalsh(law.covariance).max())
        self._means = ((law.means - law.mean) / self._reach).numpy()
        spectrum, axes = np.linalg.eigh(law.covariances.numpy() / self._reach**2)
        self._spectrum, self._axes = spectrum, axes
        scales, masses = kernel.scales(law.dim)
        self._squares = scales**2
        self._log_masses = masses[:, None] + law.weights.log().numpy()  # (J, K)

    def decode(self, z: Tensor) -> Tensor:
        """Where the flow takes latents (B, d), computed in float64 on the CPU."""
        require_points(z, self.law.dim, "z")
        y = self.kernel.from_normal(z.cpu()).numpy().T
        end = integrate(self._velocity, 0.0, math.log1p(_LAST), y, self.tolerance)
        return (self.law.mean + self._reach * torch.from_numpy(end.T.copy())).to(z)

    def jacobian(self, z: Tensor) -> Tensor:
        raise NotImplementedError("KernelFlow has no Jacobian; take differences of decode")

    def posterior_mean(self, y: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """E[x_0 | alpha x_0 + sigma xi = y] in the flow's own unit and origin, (d, B) both."""
        order = np.argsort((y**2).sum(0))  # alike need the same scales
        size = max(1, _CHUNK // self._log_masses.size)
        mean = np.empty_like(y)
        for i in range(0, y.shape[1], size):
            part = order[i : i + size]
            mean[:, part] = self._mean_of_some(y[:, part], alpha, sigma)
        return mean

    def _velocity(self, s: float, y: np.ndarray) -> np.ndarray:
        r = math.expm1(s)
        sigma = 1 / math.hypot(1, r)
        alpha = r * sigma
        return (1 + r) * sigma * (self.posterior_mean(y, alpha, sigma) - alpha * y)

    def _mean_of_some(self, y: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        offset = y - alpha * self._means[:, :, None]  # (K, d, B)
        along = self._axes.mT @ offset
        used = self._scales_for((offset**2).sum(1), alpha, sigma)
        squares, log_masses = self._squares[used], self._log_masses[used]
        # of each component along its axes, for each scale: (K, J, d)
        variances = alpha**2 * self._spectrum[:, None] + sigma**2 * squares[:, None]
        log_joint = log_masses.T - 0.5 * np.log(variances).sum(2)
        log_joint = log_joint[:, :, None] - 0.5 * (1 / variances @ along**2)  # (K, J, B)
        log_joint -= log_joint.max((0, 1))
        weights = np.exp(log_joint, out=log_joint)
        by_component = weights.sum(1)  # (K, B)
        gains = (alpha * self._spectrum[:, None] / variances).mT @ weights  # (K, d, B)
        sums = self._means.T @ by_component + (self._axes @ (gains * along)).sum(0)
        return sums / by_component.sum(0)

    def _scales_for(self, distances: np.ndarray, alpha: float, sigma: float) -> slice:
        """The scales that matter for squared distances (K, B); the others have less than e^-24
        of the mass."""
        widest = alpha**2 * self._spectrum.max()
        least = (distances.min() / 120 - widest) / sigma**2
        furthest = max(1.0, max(distances.max(), widest) / sigma**2)
        most = furthest * math.exp(48 / (self.kernel.dof + self.law.dim))
        return slice(*np.searchsorted(self._squares, [least, most]))
