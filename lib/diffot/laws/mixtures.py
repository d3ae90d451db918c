"""Gaussian mixtures: data laws for which everything about a diffusion is known exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    as_probabilities,
    as_tensor,
    as_whole_number,
    require,
    require_covariance,
    require_finite,
    require_generator,
    require_known,
    require_points,
    require_tensor,
)
from diffot.laws.law import Law, Level, levels

_CHUNK = 2**17  # numbers per array of (component, dimension, point): fits a core's cache


class GaussianMixture(Law):
    r"""The law :math:`p(x) = \sum_k w_k N(x; m_k, C_k)` in d dimensions.

    With one component it is a Gaussian (thesis eq. 2.12).

    Args:
        weights: shape (K,), positive, summing to 1 within the rounding of their own type.
        means: shape (K, d).
        covariances: shape (K, d, d), symmetric positive definite.

    Everything is kept and computed in float64 on the CPU; results come back in the type and on
    the device of the input.

    Raises:
        ValueError: if a shape, a weight or a covariance is not as above.
    """

    def __init__(
        self,
        weights: Tensor | Sequence,
        means: Tensor | Sequence,
        covariances: Tensor | Sequence,
    ):
        w = as_probabilities(weights, "weights")
        m, c = (
            as_tensor(a, name, torch.float64).cpu()
            for a, name in ((means, "means"), (covariances, "covariances"))
        )
        require(
            m.ndim == 2 and c.ndim == 3 and len(w) == len(m) == len(c)
            and c.shape[1:] == (m.shape[1], m.shape[1]),
            f"weights, means and covariances have shapes {tuple(w.shape)}, {tuple(m.shape)} and "
            f"{tuple(c.shape)}; expected (K,), (K, d) and (K, d, d)",
        )  # fmt: skip
        require_finite(m, "means")
        require_covariance(c, "covariances")
        spectrum, axes = torch.linalg.eigh(c)
        require(
            bool((spectrum > 0).all()),
            "covariances holds a matrix that is singular to rounding; expected positive definite",
        )
        self.weights, self.means, self.covariances = w, m, c
        self._spectrum, self._axes = spectrum, axes
        self._all_axes = axes.mT.flatten(0, 1)  # one unit vector per row, (K*d, d)
        self._center = self.mean
        self._offsets = ((m - self._center)[:, None, :] @ axes).squeeze(1)  # in their own axes

    @property
    def dim(self) -> int:
        """Dimension d of the points."""
        return self.means.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a point, (d,)."""
        return (self.dim,)

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
        """Draw n independent points, float64 of shape (n, d).

        Those of a component are its mean plus the root of its covariance times draws of N(0, I)
        (thesis eq. 2.13).
        """
        n = as_whole_number(n, "n", least=1)
        require_generator(generator)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dim, dtype=torch.float64, generator=generator)
        root = self._axes * self._spectrum.sqrt()[:, None, :]
        return self.means[k] + torch.einsum("nde,ne->nd", root[k], noise)

    def marginal(self, alpha: float, sigma: float) -> GaussianMixture:
        r"""The law of x_t: means :math:`\alpha m_k`, covariances
        :math:`\alpha^2 C_k + \sigma^2 I`.

        It is the integral of Su & Yang 2025, eq. 3.14, and Kim & Lee 2024, eq. 20.

        Args:
            alpha, sigma: at least 0, and not so small that the covariances become singular.
        """
        alpha, sigma = (
            as_number(level, name, at_least=0)
            for name, level in (("alpha", alpha), ("sigma", sigma))
        )
        identity = torch.eye(self.dim, dtype=torch.float64)
        return GaussianMixture(
            self.weights, alpha * self.means, alpha**2 * self.covariances + sigma**2 * identity
        )

    def log_prob(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        joint = self._joint(x, alpha, sigma)
        return torch.cat([torch.logsumexp(log_joint, 0) for log_joint, *_ in joint]).to(x)

    def score(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        r"""The gradient of the log density, :math:`-\sum_k r_k P_k^{-1} (x - \alpha m_k)` with
        :math:`P_k = \alpha^2 C_k + \sigma^2 I`: no division by a small sigma."""
        return torch.cat(
            [
                -self._back(torch.softmax(log_joint, 0)[:, None] * pull)
                for log_joint, pull, *_ in self._joint(x, alpha, sigma)
            ]
        ).to(x)

    def responsibilities(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        """Posterior probability of each component given x, shape (B, K); rows sum to 1."""
        joint = self._joint(x, alpha, sigma)
        return torch.cat([torch.softmax(log_joint, 0).mT for log_joint, *_ in joint]).to(x)

    def mode(self, x: Tensor) -> Tensor:
        """Index of the component most likely to have drawn each point, int64 of shape (B,)."""
        return self.responsibilities(x).argmax(1)

    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        r"""The best denoiser in the mean-square sense, :math:`E[x_0 \mid x]`, shape (B, d).

        .. math:: \sum_k r_k(x) \big[m_k + \alpha C_k
                  (\alpha^2 C_k + \sigma^2 I)^{-1} (x - \alpha m_k)\big]

        with the responsibilities r_k (conditioning of jointly Gaussian vectors, Bishop 2006,
        eq. 2.116).
        """
        parts = []
        for log_joint, pull, _, a, _ in self._joint(x, alpha, sigma):
            weights = torch.softmax(log_joint, 0)
            gain = a * self._spectrum[:, :, None] * pull
            parts.append(weights.mT @ self.means + self._back(weights[:, None] * gain))
        return torch.cat(parts).to(x)

    def posterior_covariance(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        r"""The covariance of x_0 given x, shape (B, d, d): the mean of the components',
        :math:`\sigma^2 C_k P_k^{-1}`, and the covariance of their means."""
        parts, own = [], self._spectrum[:, :, None]
        for log_joint, pull, spectrum, a, s in self._joint(x, alpha, sigma):
            weights = torch.softmax(log_joint, 0)
            means = (self.means - self._center)[:, :, None] + self._axes @ (a * own * pull)
            centered = means - (weights[:, None] * means).sum(0)
            variances = (s**2 * own / spectrum).expand_as(pull)
            within = torch.einsum(
                "kb,kie,keb,kje->bij", weights, self._axes, variances, self._axes
            )
            parts.append(within + torch.einsum("kb,kib,kjb->bij", weights, centered, centered))
        return torch.cat(parts).to(x)

    def posterior(self, x: Tensor, alpha: float, sigma: float) -> GaussianMixture:
        r"""The law of x_0 given x: what a perfect stochastic sampler draws from x.

        By Bayes' rule (thesis eq. 2.3). Components that lie too far away to matter in float64 are
        left out. The others have

        .. math:: C_k' = \sigma^2 C_k P_k^{-1}, \qquad
                  m_k' = m_k + \alpha C_k P_k^{-1} (x - \alpha m_k),
                  \qquad P_k = \alpha^2 C_k + \sigma^2 I,

        and their responsibilities as weights (Bishop 2006, eq. 2.116).

        Args:
            x: one point, shape (d,). alpha, sigma: amplitudes, sigma above 0.
        """
        alpha = as_number(alpha, "alpha", at_least=0)
        sigma = as_number(sigma, "sigma", above=0)
        require_tensor(x, "x", "a floating-point tensor of shape (d,)")
        require(x.ndim == 1, f"x has shape {tuple(x.shape)}; expected one point, shape (d,)")
        log_joint, pull, spectrum, _, _ = next(self._joint(x[None].double(), alpha, sigma))
        weights = torch.softmax(log_joint[:, 0], 0)
        kept = weights > 0
        axes, own = self._axes[kept], self._spectrum[kept]
        means = self.means[kept] + (axes @ (alpha * own[:, :, None] * pull[kept]))[:, :, 0]
        covariance = axes * (sigma**2 * own / spectrum[kept, :, 0])[:, None, :] @ axes.mT
        covariance = (covariance + covariance.mT) / 2
        return GaussianMixture(weights[kept] / weights[kept].sum(), means, covariance)

    def _joint(self, x: Tensor, alpha: Level, sigma: Level) -> Iterator[tuple[Tensor, ...]]:
        """For as many points at a time as a core's cache holds: log(w_k N(x; ...)), shape (K, B);
        P_k^-1 (x - alpha m_k) in each component's own axes (K, d, B), the variances along them
        (K, d, B or 1), and alpha and sigma, shape (B or 1,)."""
        require_points(x, self.dim)
        amplitudes = [level.cpu().reshape(-1) for level in levels(len(x), alpha, sigma)]
        points = max(1, _CHUNK // self._spectrum.numel())
        for start in range(0, max(len(x), 1), points):
            part = slice(start, start + points)
            a, s = (level if len(level) == 1 else level[part] for level in amplitudes)
            spectrum = a**2 * self._spectrum[:, :, None] + s**2
            centered = x[part].to("cpu", torch.float64).mT - a * self._center[:, None]
            along = (self._all_axes @ centered).unflatten(0, self._offsets.shape)
            along = along - a * self._offsets[:, :, None]
            pull = along / spectrum
            log_volume = self.weights.log()[:, None] - 0.5 * (2 * math.pi * spectrum).log().sum(1)
            yield log_volume - 0.5 * (along * pull).sum(1), pull, spectrum, a, s

    def _back(self, rotated: Tensor) -> Tensor:
        """Sum over the components of vectors (K, d, B) given in their own axes; (B, d)."""
        return (self._all_axes.mT @ rotated.flatten(0, 1)).mT


def equal_mixture(
    means: Sequence[Sequence[float]], variances: float | Sequence[float]
) -> GaussianMixture:
    """Equally weighted round Gaussians: means (K, d), one variance for all or one for each."""
    m = as_tensor(means, "means", torch.float64)
    v = as_tensor(variances, "variances", torch.float64)
    require(
        m.ndim == 2 and len(m) >= 1 and v.shape in ((), (len(m),)),
        f"means and variances have shapes {tuple(m.shape)} and {tuple(v.shape)}; expected (K, d) "
        "and one number for all or (K,)",
    )
    require_finite(m, "means")
    require(
        bool((v > 0).all() & v.isfinite().all()),
        f"variances is {variances}; expected positive numbers",
    )
    v = v.expand(len(m))
    identity = torch.eye(m.shape[1], dtype=torch.float64)
    weights = torch.full((len(m),), 1 / len(m), dtype=torch.float64)
    return GaussianMixture(weights, m, v[:, None, None] * identity)


# The thesis' mixtures (section 4.2, experiments L.1 and L.2, figure 3.8). The order of the modes
# is the quadrants': upper right first, then counter-clockwise.
_THESIS: dict[str, tuple[list, Any]] = {
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
    require_known(name, "mixture", _THESIS)
    return equal_mixture(*_THESIS[name])
