"""Gaussian mixtures: data laws for which everything about a diffusion is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from diffot.errors import require, require_finite, require_points, unknown_name


class GaussianMixture:
    r"""The law :math:`p(x) = \sum_k w_k N(x; m_k, C_k)` in d dimensions.

    Args:
        weights: shape (K,), positive, summing to 1 (to 1e-9).
        means: shape (K, d).
        covariances: shape (K, d, d), symmetric positive definite.

    Everything is kept and computed in float64 on the CPU; results come back in the type and on
    the device of the input.

    Raises:
        ValueError: if a shape, a weight or a covariance is not as above.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor):
        w, m, c = (torch.as_tensor(a, dtype=torch.float64) for a in (weights, means, covariances))
        require(
            w.ndim == 1 and m.ndim == 2 and c.ndim == 3 and len(w) == len(m) == len(c)
            and c.shape[1:] == (m.shape[1], m.shape[1]),
            f"weights, means and covariances have shapes {tuple(w.shape)}, {tuple(m.shape)} and "
            f"{tuple(c.shape)}; expected (K,), (K, d) and (K, d, d)",
        )  # fmt: skip
        for name, a in (("weights", w), ("means", m), ("covariances", c)):
            require_finite(a, name)
        require(
            bool((w > 0).all()) and abs(float(w.sum()) - 1) < 1e-9,
            f"weights {w.tolist()} sum to {float(w.sum()):.12g}; "
            "expected positive numbers that sum to 1",
        )
        scale = c.abs().amax((1, 2), keepdim=True)
        require(
            bool(((c - c.mT).abs() <= 1e-12 * scale).all()),
            "a covariance is not symmetric; expected C equal to its transpose",
        )
        spectrum, axes = torch.linalg.eigh(c)
        require(
            bool((spectrum > 0).all()),
            f"a covariance has the eigenvalue {float(spectrum.min()):.6g}; "
            "expected positive definite matrices",
        )
        self.weights, self.means, self.covariances = w, m, c
        self._spectrum, self._axes = spectrum, axes
        self._all_axes = axes.mT.flatten(0, 1)  # one unit vector per row, (K*d, d)

    @property
    def dim(self) -> int:
        """Dimension d of the points."""
        return self.means.shape[1]

    @property
    def mean(self) -> Tensor:
        """Mean of the whole law, shape (d,)."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        """Covariance of the whole law, shape (d, d)."""
        centered = self.means - self.mean
        within = torch.einsum("k,kde->de", self.weights, self.covariances)
        return within + torch.einsum("k,kd,ke->de", self.weights, centered, centered)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n independent points, float64 of shape (n, d)."""
        require(n >= 1, f"n is {n}; expected at least one point")
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dim, dtype=torch.float64, generator=generator)
        root = self._axes * self._spectrum.sqrt()[:, None, :]
        return self.means[k] + torch.einsum("nde,ne->nd", root[k], noise)

    def diffused(self, alpha_bar: float) -> GaussianMixture:
        r"""The law of x_t: means :math:`\sqrt{\bar\alpha} m_k`, covariances
        :math:`\bar\alpha C_k + (1 - \bar\alpha) I`.

        Args:
            alpha_bar: signal variance in [0, 1]; 1 returns the law itself, 0 gives N(0, I).
        """
        a = float(alpha_bar)
        require(0 <= a <= 1, f"alpha_bar is {a}; expected a number between 0 and 1")
        identity = torch.eye(self.dim, dtype=torch.float64)
        return GaussianMixture(
            self.weights, math.sqrt(a) * self.means, a * self.covariances + (1 - a) * identity
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at the points x of shape (B, d); returns shape (B,)."""
        return torch.logsumexp(self._log_joint(x, 1.0)[0], 1).to(x)

    def responsibilities(self, x: Tensor, alpha_bar: float | Tensor = 1.0) -> Tensor:
        """Posterior probability of each component given x_t = x.

        Args:
            x: shape (B, d). alpha_bar: a number in (0, 1] or one per point, shape (B,).

        Returns:
            Shape (B, K), rows sum to 1.
        """
        return torch.softmax(self._log_joint(x, alpha_bar)[0], 1).to(x)

    def mode(self, x: Tensor) -> Tensor:
        """Index of the component most likely to have drawn each point, int64 of shape (B,)."""
        return self.responsibilities(x).argmax(1)

    def posterior_mean(self, x: Tensor, alpha_bar: float | Tensor) -> Tensor:
        r"""The best denoiser in the mean-square sense, :math:`E[x_0 \mid x_t = x]`.

        .. math:: \sum_k r_k(x) \Big[m_k + \sqrt{\bar\alpha}\, C_k
                  (\bar\alpha C_k + (1 - \bar\alpha) I)^{-1} (x - \sqrt{\bar\alpha}\, m_k)\Big]

        with the responsibilities r_k (conditioning of jointly Gaussian vectors, Bishop 2006,
        eq. 2.116).

        Args:
            x: shape (B, d). alpha_bar: a number in (0, 1] or one per point, shape (B,).

        Returns:
            Shape (B, d).
        """
        log_joint, rotated, spectrum, a = self._log_joint(x, alpha_bar)
        share = torch.softmax(log_joint, 1)
        gain = a.sqrt() * self._spectrum / spectrum * rotated
        return (share @ self.means + self._back(share[:, :, None] * gain)).to(x)

    def posterior(self, x: Tensor, alpha_bar: float) -> GaussianMixture:
        r"""The law of x_0 given :math:`x_t = x`: what a perfect stochastic sampler draws from x.

        Components that lie too far away to matter in float64 are left out. The others have

        .. math:: C_k' = \Big(C_k^{-1} + \frac{\bar\alpha}{1 - \bar\alpha} I\Big)^{-1}, \qquad
                  m_k' = C_k' \Big(C_k^{-1} m_k + \frac{\sqrt{\bar\alpha}}{1 - \bar\alpha} x\Big)

        and their responsibilities as weights (Bishop 2006, eq. 2.116).

        Args:
            x: one point, shape (d,). alpha_bar: signal variance, above 0 and below 1.
        """
        a = float(alpha_bar)
        require(0 < a < 1, f"alpha_bar is {a}; expected a number between 0 and 1")
        require(x.ndim == 1, f"x has shape {tuple(x.shape)}; expected one point, shape (d,)")
        x = x.to("cpu", torch.float64)
        share = self.responsibilities(x[None], a)[0]
        kept = share > 0
        precision = torch.linalg.inv(self.covariances[kept])
        identity = torch.eye(self.dim, dtype=torch.float64)
        covariance = torch.linalg.inv(precision + a / (1 - a) * identity)
        covariance = (covariance + covariance.mT) / 2
        pull = (precision @ self.means[kept, :, None])[:, :, 0] + math.sqrt(a) / (1 - a) * x
        means = (covariance @ pull[:, :, None])[:, :, 0]
        return GaussianMixture(share[kept] / share[kept].sum(), means, covariance)

    def noise_mean(self, x: Tensor, alpha_bar: float | Tensor) -> Tensor:
        r"""The best noise predictor, :math:`E[\varepsilon \mid x_t = x]`, which is
        :math:`-\sqrt{1 - \bar\alpha}` times the score (shapes as in :meth:`posterior_mean`).

        Computed from the score itself: no division by a small noise amplitude.
        """
        log_joint, rotated, spectrum, a = self._log_joint(x, alpha_bar)
        share = torch.softmax(log_joint, 1)
        pull = self._back(share[:, :, None] * (rotated / spectrum))
        return ((1 - a[:, 0]).sqrt() * pull).to(x)

    def _log_joint(
        self, x: Tensor, alpha_bar: float | Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log(w_k N(x; ...)) of shape (B, K), with x - mean in each component's own axes
        (B, K, d), the variances along them (B or 1, K, d), and alpha_bar as (B or 1, 1, 1)."""
        require_points(x, self.dim)
        a = torch.as_tensor(alpha_bar, dtype=torch.float64, device="cpu").reshape(-1, 1, 1)
        require(
            a.shape[0] in (1, len(x)) and bool(((a > 0) & (a <= 1)).all()),
            f"{a.shape[0]} values of alpha_bar from {a.min():.6g} to {a.max():.6g} for {len(x)} "
            "points; expected one number in (0, 1], or one for each point",
        )
        spectrum = a * self._spectrum + (1 - a)
        along = x.to("cpu", torch.float64) @ self._all_axes.mT
        centers = (self.means[:, None, :] @ self._axes).squeeze(1)
        rotated = along.reshape(len(x), *centers.shape) - a.sqrt() * centers
        log_volume = self.weights.log() - 0.5 * torch.log(2 * math.pi * spectrum).sum(2)
        return log_volume - 0.5 * (rotated**2 / spectrum).sum(2), rotated, spectrum, a

    def _back(self, rotated: Tensor) -> Tensor:
        """Sum over the components of vectors (B, K, d) given in their own axes; (B, d)."""
        return rotated.flatten(1) @ self._all_axes


def quasi_normal(n: int, dim: int, generator: torch.Generator) -> Tensor:
    """Points spread evenly like N(0, I): a scrambled Sobol sequence through the normal quantiles.

    Averages over them come out nearer to the expectation than over independent draws. Their
    error is estimated from several calls: each scrambling is independent of the others.

    Args:
        n: number of points, best a power of two.

    Returns:
        float64, shape (n, dim).
    """
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return torch.from_numpy(qmc.MultivariateNormalQMC(np.zeros(dim), rng=seed).random(n))


def equal_mixture(
    means: Sequence[Sequence[float]], variances: float | Sequence[float]
) -> GaussianMixture:
    """Equally weighted round Gaussians: means (K, d), one variance for all or one for each."""
    m = torch.tensor(means, dtype=torch.float64)
    v = torch.as_tensor(variances, dtype=torch.float64).expand(len(m))
    identity = torch.eye(m.shape[1], dtype=torch.float64)
    weights = torch.full((len(m),), 1 / len(m), dtype=torch.float64)
    return GaussianMixture(weights, m, v[:, None, None] * identity)


# The thesis' mixtures (section 4.2, experiments L.1 and L.2, figure 3.8). The order of the modes
# is the quadrants': upper right first, then counter-clockwise.
_THESIS = {
    "Low1DMix": ([[-1.25], [-0.25], [1.5]], [0.25**2, 0.333**2, 0.1666666**2]),
    "Low2DSymMix": ([[5, 5], [-5, 5], [-5, -5], [5, -5]], 0.1),
    "Low2DASymMix": ([[3, 3], [-5, 5], [-5, -5], [5, -5]], 0.1),
    "Low2DUnimodal": ([[10, 0]], 1.0),
    "Low2DBimodal": ([[-7.5, 0], [7.5, 0]], 1.0),
}


def thesis_mixture(name: str) -> GaussianMixture:
    """One of the thesis' five mixtures, under the name of the model trained on it (table 4.4).

    For Low1DMix the thesis prints three "sigmas"; they are read as standard deviations.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    require(name in _THESIS, unknown_name("mixture", name, _THESIS))
    return equal_mixture(*_THESIS[name])
