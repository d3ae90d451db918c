"""Gaussian mixtures: data laws for which everything about a diffusion is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import qmc
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


class GaussianMixture:
    r"""The law :math:`p(x) = \sum_k w_k N(x; m_k, C_k)` in d dimensions.

    Args:
        weights: shape (K,), positive, summing to 1 within the rounding of their own type.
        means: shape (K, d).
        covariances: shape (K, d, d), symmetric positive definite.

    Everything is kept and computed in float64 on the CPU; results come back in the type and on
    the device of the input.

    Raises:
        ValueError: if a shape, a weight or a covariance is not as above.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor):
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
        n = as_whole_number(n, "n", least=1)
        require_generator(generator)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dim, dtype=torch.float64, generator=generator)
        root = self._axes * self._spectrum.sqrt()[:, None, :]
        return self.means[k] + torch.einsum("nde,ne->nd", root[k], noise)

    def marginal(self, alpha_bar: float) -> GaussianMixture:
        r"""The law of x_t: means :math:`\sqrt{\bar\alpha} m_k`, covariances
        :math:`\bar\alpha C_k + (1 - \bar\alpha) I`.

        Args:
            alpha_bar: signal variance in [0, 1]; 1 returns the law itself, 0 gives N(0, I).
        """
        a = as_number(alpha_bar, "alpha_bar", at_least=0, at_most=1)
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

        .. math:: C_k' = (1 - \bar\alpha)\, C_k P_k^{-1}, \qquad
                  m_k' = m_k + \sqrt{\bar\alpha}\, C_k P_k^{-1} (x - \sqrt{\bar\alpha}\, m_k),
                  \qquad P_k = \bar\alpha C_k + (1 - \bar\alpha) I,

        and their responsibilities as weights (Bishop 2006, eq. 2.116).

        Args:
            x: one point, shape (d,). alpha_bar: signal variance, above 0 and below 1.
        """
        a = as_number(alpha_bar, "alpha_bar", above=0, below=1)
        require_tensor(x, "x", "a floating-point tensor of shape (d,)")
        require(x.ndim == 1, f"x has shape {tuple(x.shape)}; expected one point, shape (d,)")
        log_joint, rotated, spectrum, _ = self._log_joint(x[None].double(), a)
        share = torch.softmax(log_joint[0], 0)
        kept = share > 0
        axes, own = self._axes[kept], self._spectrum[kept]
        spectrum = spectrum[0, kept]
        gain = math.sqrt(a) * own / spectrum * rotated[0, kept]
        means = self.means[kept] + (axes @ gain[:, :, None])[:, :, 0]
        covariance = axes * ((1 - a) * own / spectrum)[:, None, :] @ axes.mT
        covariance = (covariance + covariance.mT) / 2
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
        a = as_tensor(alpha_bar, "alpha_bar", torch.float64).cpu().reshape(-1, 1, 1)
        if a.shape[0] not in (1, len(x)) or not bool(((a > 0) & (a <= 1)).all()):
            raise ValueError(
                f"alpha_bar is {alpha_bar} for {len(x)} points; expected one number in (0, 1], "
                "or one for each point"
            )
        spectrum = a * self._spectrum + (1 - a)
        root = a.sqrt()
        along = (x.to("cpu", torch.float64) - root[:, 0] * self._center) @ self._all_axes.mT
        rotated = along.reshape(len(x), *self._offsets.shape) - root * self._offsets
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
    n, dim = as_whole_number(n, "n", least=1), as_whole_number(dim, "dim", least=1)
    require_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return torch.from_numpy(qmc.MultivariateNormalQMC(np.zeros(dim), rng=seed).random(n))


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
    require_known(name, "mixture", _THESIS)
    return equal_mixture(*_THESIS[name])
