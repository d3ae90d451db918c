r"""Random densities of fourth order in the plane (Khrulkov et al. 2023, section 3.4)."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from diffot.errors import (
    as_whole_number,
    require,
    require_finite,
    require_generator,
    require_known,
    require_points,
    require_tensor,
)
from diffot.laws.law import Law, Level
from diffot.laws.quadrature import NoisyDensity

_DEPTH = 50.0  # a component is looked at where its density is above e^-50 of its greatest
_LINE = 257  # nodes per axis of the quadratures in a component's box

# Ranges of the parameters: largest coordinate of the centers, eigenvalues of Q1 and of Q2. The
# paper does not state its own; the first are such that its laws and ours look alike.
FAMILIES = {
    "compact": (2.0, (0.1, 2.0), (0.02, 0.5)),
    "separated": (3.0, (0.1, 4.0), (0.02, 1.0)),
}


class QuarticMixture(Law):
    r"""A mixture of K laws in the plane, equally likely, with polynomials in the exponent.

    .. math:: p_k(x) = \frac{1}{Z_k} \exp\big(-(x - a_1)^T Q_1 (x - a_1)
              - ((x - a_2)^2)^T Q_2 (x - a_2)^2\big)

    (Khrulkov et al. 2023, section 3.4; the square of a vector is taken entry by entry, and
    the parameters are those of component k). With Q_2 = 0 a component is
    :math:`N(a_1, Q_1^{-1} / 2)`.

    Args:
        a1, a2: centers, shape (K, 2).
        q1: positive definite matrices, shape (K, 2, 2).
        q2: positive semi-definite matrices, shape (K, 2, 2).

    Attributes:
        mean, covariance: of the mixture, shapes (2,) and (2, 2).
        box: smallest and largest coordinates, shape (2, 2), outside of which the density of each
            component is below e^-50 of its greatest.

    Raises:
        ValueError: for other shapes, values that are not finite or matrices not as above.
    """

    def __init__(self, a1: Tensor, a2: Tensor, q1: Tensor, q2: Tensor):
        for name, a in (("a1", a1), ("a2", a2), ("q1", q1), ("q2", q2)):
            require_tensor(a, name)
        self.a1, self.a2, self.q1, self.q2 = (a.double() for a in (a1, a2, q1, q2))
        require_points(self.a1, 2, "a1")
        k = len(self.a1)
        require(k >= 1, "a1 is empty, the mixture has no components; expected at least one")
        require(
            self.a2.shape == (k, 2) and self.q1.shape == self.q2.shape == (k, 2, 2),
            f"a1, a2, q1, q2 have shapes {[tuple(a.shape) for a in (a1, a2, q1, q2)]}; expected "
            f"({k}, 2) twice and ({k}, 2, 2) twice",
        )
        require_finite(self.a2, "a2")
        for name, q, kind, floor in (
            ("q1", self.q1, "", 1e-12),
            ("q2", self.q2, "semi-", -1e-12),
        ):
            require_finite(q, name)
            least, greatest = torch.linalg.eigvalsh(q).unbind(1)
            # a share of the greatest, so that the unit of length does not matter
            positive = (least >= floor * greatest) & ((greatest > 0) | (floor < 0))
            require(
                torch.equal(q, q.mT) and bool(positive.all()),
                f"{name} holds a matrix that is not symmetric and positive {kind}definite "
                f"(smallest eigenvalue {float(least.amin()):.3g})",
            )
        self._log_normalizer = torch.zeros(k, dtype=torch.float64)
        boxes, self._least, means, covariances = [], [], [], []
        for i in range(k):
            box = self._component_box(i)
            nodes, area = _nodes(box, _LINE)
            exponent = self._exponent(i, nodes)
            least = self._least_exponent(i, nodes[exponent.argmin()])
            mass = torch.exp(least - exponent) * area
            self._log_normalizer[i] = mass.sum().log() - least
            weights = mass / mass.sum()
            means.append(weights @ nodes)
            centered = nodes - means[-1]
            covariances.append(torch.einsum("p,pi,pj->ij", weights, centered, centered))
            boxes.append(box)
            self._least.append(least)
        self._boxes = torch.stack(boxes)  # (K, lowest or highest, axis)
        self.box = torch.stack([self._boxes[:, 0].amin(0), self._boxes[:, 1].amax(0)])
        self.mean = torch.stack(means).mean(0)
        centers = torch.stack(means) - self.mean
        self.covariance = torch.stack(covariances).mean(0) + centers.mT @ centers / k

    shape = (2,)

    @cached_property
    def _noisy(self) -> NoisyDensity:
        return NoisyDensity(self)

    def log_prob(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        if not _bare(alpha, sigma):
            return self._noisy.log_prob(x, alpha, sigma).to(x)
        require_points(x, 2)
        return self._log_joint(x.double()).logsumexp(0).to(x)

    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return self._noisy.posterior_mean(x, alpha, sigma).to(x)

    def posterior_covariance(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return self._noisy.posterior_covariance(x, alpha, sigma).to(x)

    def score(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        if not _bare(alpha, sigma):
            return self._noisy.score(x, alpha, sigma).to(x)
        require_points(x, 2)
        return self._slope(x.double()).to(x)

    def _slope(self, x: Tensor) -> Tensor:
        """Gradient of the log density at x of shape (B, 2), float64 of shape (B, 2)."""
        weights = self._log_joint(x).softmax(0)
        u, w = self._offsets(x)
        first, second = _times(self.q1, u), _times(self.q2, [a**2 for a in w])
        slopes = [2 * f + 4 * a * g for f, a, g in zip(first, w, second)]
        return torch.stack([-(weights * slope).sum(0) for slope in slopes], 1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n points, float64 of shape (n, 2), by rejection from the uniform law on a box
        around each component; what lies outside has less than e^-40 of the mass."""
        n = as_whole_number(n, "n", least=1)
        require_generator(generator)
        which = torch.randint(len(self.a1), (n,), generator=generator)
        x = torch.empty(n, 2, dtype=torch.float64)
        for k in range(len(self.a1)):
            x[which == k] = self._sample_component(k, int((which == k).sum()), generator)
        return x

    def _sample_component(self, k: int, n: int, generator: torch.Generator) -> Tensor:
        low, high = self._boxes[k]
        accepted, missing = [torch.empty(0, 2, dtype=torch.float64)], n
        while missing > 0:
            draws = torch.rand(20_000, 3, dtype=torch.float64, generator=generator)
            x = low + (high - low) * draws[:, :2]
            ratio = torch.exp(self._least[k] - self._exponent(k, x))
            if float(ratio.max()) > 1 + 1e-6:
                raise RuntimeError(f"component {k} has a mode that was not found; please report")
            accepted.append(x[draws[:, 2] < ratio][:missing])
            missing -= len(accepted[-1])
        return torch.cat(accepted)

    def _log_joint(self, x: Tensor) -> Tensor:
        """Log of each component's density over K, shape (K, B)."""
        return -self._exponents(x) - (self._log_normalizer + math.log(len(self.a1)))[:, None]

    def _exponent(self, k: int, x: Tensor) -> Tensor:
        """The polynomial of one component, shape (B,)."""
        return self._exponents(x, slice(k, k + 1))[0]

    def _exponents(self, x: Tensor, which: slice = slice(None)) -> Tensor:
        """The polynomials of some components, shape (K, B): points last, which is quick."""
        u, w = self._offsets(x, which)
        first = _times(self.q1[which], u)
        second = _times(self.q2[which], [a**2 for a in w])
        total: Any = sum(a * f + b**2 * g for a, f, b, g in zip(u, first, w, second))
        return total

    def _offsets(
        self, x: Tensor, which: slice = slice(None)
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Both coordinates of x - a_1 and of x - a_2, shape (K, B) each."""
        columns = x.T.contiguous()
        first, second = (
            [column - center[:, None] for column, center in zip(columns, a[which].T)]
            for a in (self.a1, self.a2)
        )
        return first, second

    def _component_box(self, k: int) -> Tensor:
        """A box that holds all of a component down to the depth looked at, shape (2, 2).

        The quadratic term alone bounds it; then it is drawn in, always one cell too wide.
        """
        nodes = self.a1[k : k + 1]
        least = torch.linalg.eigvalsh(self.q1[k])[0]
        radius = float(((_DEPTH + self._exponent(k, nodes)[0]) / least).sqrt())
        box = torch.stack([nodes[0] - radius, nodes[0] + radius])
        while True:
            nodes, _ = _nodes(box, 129)
            exponent = self._exponent(k, nodes)
            inside = nodes[exponent < exponent.min() + _DEPTH]
            cell = (box[1] - box[0]) / 128
            tighter = torch.stack([inside.amin(0) - cell, inside.amax(0) + cell])
            if bool((tighter[1] - tighter[0] > 0.9 * (box[1] - box[0])).all()):
                return tighter
            box = tighter

    def _least_exponent(self, k: int, start: Tensor) -> float:
        """The least value of a component's polynomial, searched from a point near it."""

        def value(x: np.ndarray) -> float:
            return float(self._exponent(k, torch.from_numpy(x)[None])[0])

        return float(minimize(value, start.numpy(), tol=1e-12).fun)


def random_density(family: str, generator: torch.Generator) -> QuarticMixture:
    """A random mixture of one to five components.

    The number of components is uniform, and so are the coordinates of the centers and the
    directions of the axes; the eigenvalues of Q1 and Q2 are uniform in their logarithm.

    Args:
        family: ``"compact"`` (centers within +-2, eigenvalues of Q1 in [0.1, 2] and of Q2 in
            [0.02, 0.5]) or ``"separated"`` (+-3, [0.1, 4], [0.02, 1]).
    """
    require_known(family, "family of densities", FAMILIES)
    require_generator(generator)
    reach, first, second = FAMILIES[family]
    k = int(torch.randint(1, 6, (1,), generator=generator))
    centers = reach * (2 * torch.rand(2, k, 2, dtype=torch.float64, generator=generator) - 1)
    q1, q2 = (_random_matrices(k, *bounds, generator) for bounds in (first, second))
    return QuarticMixture(centers[0], centers[1], q1, q2)


def _random_matrices(k: int, least: float, most: float, generator: torch.Generator) -> Tensor:
    """Positive definite matrices of shape (k, 2, 2)."""
    draws = torch.rand(k, 3, dtype=torch.float64, generator=generator)
    spectrum = least * (most / least) ** draws[:, :2]
    angle = math.pi * draws[:, 2]
    axes = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).reshape(k, 2, 2)
    matrices = axes * spectrum[:, None] @ axes.mT
    return (matrices + matrices.mT) / 2


def _bare(alpha: Level, sigma: Level) -> bool:
    """Whether the amplitudes are those of the law itself."""
    return (
        not isinstance(alpha, Tensor)
        and not isinstance(sigma, Tensor)
        and (alpha, sigma) == (1, 0)
    )


def _times(q: Tensor, u: list[Tensor]) -> list[Tensor]:
    """Matrices (K, 2, 2) times vectors given by their two coordinates, shape (K, B) each."""
    return [q[:, i, 0, None] * u[0] + q[:, i, 1, None] * u[1] for i in range(2)]


def _nodes(box: Tensor, line: int) -> tuple[Tensor, float]:
    """Nodes of a square grid over a box, shape (line^2, 2), and the area of a cell."""
    axes = [torch.linspace(a, b, line, dtype=torch.float64) for a, b in box.T.tolist()]
    cell = float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]))
    return torch.cartesian_prod(*axes), cell
