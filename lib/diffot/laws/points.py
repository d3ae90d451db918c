"""Laws of finitely many points: the data set itself, in the place of what it was drawn from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffot.errors import as_whole_number, require, require_batch, require_generator
from diffot.laws.law import Law, Level, levels


class PointSet(Law):
    r"""Finitely many points, each equally likely.

    The posterior mean :math:`\sum_i r_i(x) x^{(i)}`,
    :math:`r \propto \exp(-\|x - \alpha x^{(i)}\|^2 / 2 \sigma^2)`, is what an infinitely flexible
    network would learn from the data set, and the denoiser of a sampler that can only reproduce
    it. Computed in float64 about the mean of the points. Without noise there is no density.

    Args:
        points: shape (N, *d).
    """

    def __init__(self, points: Tensor):
        require_batch(points, "points", "(N, *d)")
        require(
            len(points) >= 1,
            f"points has shape {tuple(points.shape)}; expected (N, *d) with N >= 1",
        )
        self.points, self.shape = points, tuple(points.shape[1:])
        flat = points.flatten(1).double()
        self._mean = flat.mean(0)
        self._deviations = flat - self._mean
        self._squares = self._deviations.square().sum(1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        n = as_whole_number(n, "n", least=1)
        require_generator(generator)
        return self.points[torch.randint(len(self.points), (n,), generator=generator)]

    def log_prob(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        log_weights, offset, sigma = self._log_weights(x, alpha, sigma)
        variance = sigma[:, 0] ** 2
        squares = offset.square().sum(1) / (2 * variance)
        volume = offset.shape[1] / 2 * torch.log(2 * math.pi * variance)
        normalizer = math.log(len(self.points)) + volume
        return (log_weights.logsumexp(1) - squares - normalizer).to(x)

    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        log_weights, _, _ = self._log_weights(x, alpha, sigma)
        mean = self._mean + torch.softmax(log_weights, 1) @ self._deviations
        return mean.reshape(x.shape).to(x)

    def posterior_covariance(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        log_weights, _, _ = self._log_weights(x, alpha, sigma)
        covariances = []
        for weights in torch.softmax(log_weights, 1):
            centered = self._deviations - weights @ self._deviations
            covariances.append((weights[:, None] * centered).T @ centered)
        return torch.stack(covariances).to(x)

    def _log_weights(self, x: Tensor, alpha: Level, sigma: Level) -> tuple[Tensor, ...]:
        """Logarithms of the probabilities of the points given x, shape (B, N), up to a constant
        for each x; x less alpha times the mean, float64 of shape (B, d); and sigma, (B or 1, 1).
        """
        require_batch(x)
        alpha, sigma = levels(len(x), alpha, sigma)
        require(
            x.shape[1:] == self.shape,
            f"x has shape {tuple(x.shape)}; expected (B, *d) with d = {self.shape}, the shape of "
            "the points",
        )
        require(
            bool((sigma > 0).all()),
            "sigma is 0, where only the points themselves have a probability; expected noise",
        )
        alpha, sigma = (level.reshape(-1, 1).to(self._mean) for level in (alpha, sigma))
        offset = x.flatten(1).to(self._mean) - alpha * self._mean
        # |x - alpha x_i|^2 without the term that is the same for all i
        squares = alpha**2 * self._squares - 2 * alpha * (offset @ self._deviations.T)
        return -squares / (2 * sigma**2), offset, sigma
