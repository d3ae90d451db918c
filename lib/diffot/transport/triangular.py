"""Triangular maps, coordinate by coordinate: exact, and from a sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_points,
    require_type,
)
from diffot.laws.mixtures import GaussianMixture
from diffot.transport.one_dimension import in_parts, inverse_normal_score
from diffot.transport.points import TransportMap, as_double


def knothe_rosenblatt_map(
    mixture: GaussianMixture, order: Sequence[int] | None = None
) -> TransportMap:
    r"""The Knothe-Rosenblatt ("CDF") map from N(0, I) to a mixture.

    Coordinate by coordinate, each latent coordinate goes to the same quantile of the law of that
    coordinate given those before it: :math:`y_i = F^{-1}(\Phi(z_i) \mid y_1, \dots, y_{i-1})`
    (Rosenblatt 1952; Santambrogio 2015, section 2.3). It transports exactly, depends on the
    order of the coordinates and is in general not optimal. Given the first coordinates, a
    Gaussian mixture is again one, with other weights; with the Cholesky factors L_k of the
    covariances and :math:`u = L_k^{-1} (y - m_k)`, its components have the standard deviations
    :math:`(L_k)_{ii}` and the means :math:`m_{k,i} + \sum_{j<i} (L_k)_{ij} u_j`. No gradients.

    Args:
        order: the coordinates from first to last, a permutation of 0, ..., d-1; by default in
            their natural order.

    Returns:
        A map of latents of shape (B, d); 5000 points in the plane and 400 components take about
        two seconds.

    Raises:
        ValueError: if ``order`` is no such permutation.
    """
    require_type(mixture, GaussianMixture, "mixture", "a GaussianMixture")
    order = _as_coordinates(order, mixture.dim)
    means = mixture.means[:, order]
    factors = torch.linalg.cholesky(mixture.covariances[:, order][:, :, order])

    def block(z: Tensor) -> Tensor:
        y = torch.empty_like(z)
        log_weights = mixture.weights.log().expand(len(z), -1)
        u = z.new_zeros(len(z), *means.shape)
        for i in range(mixture.dim):
            centers = means[:, i] + (factors[:, i, :i] * u[:, :, :i]).sum(2)
            spreads = factors[:, i, i]
            coordinate = inverse_normal_score(z[:, i], log_weights, centers, spreads)
            y[:, order[i]] = coordinate
            u[:, :, i] = (coordinate[:, None] - centers) / spreads
            log_weights = torch.log_softmax(
                log_weights - u[:, :, i] ** 2 / 2 - spreads.log(), dim=1
            )
        return y

    def transport(z: Tensor) -> Tensor:
        require_points(z, mixture.dim, "z")
        return in_parts(block, as_double(z)[:, order], len(means)).to(z)

    return transport


def empirical_cdf_map(
    points: Tensor, tolerance: float, order: Sequence[int] | None = None
) -> TransportMap:
    r"""The thesis' way to the "CDF" map, from a sample (experiment L.2c).

    The first coordinate becomes that of entry :math:`\lfloor n \Phi(z) \rfloor` of the n sorted
    points; for each further one, only the points within ``tolerance`` of the coordinates found so
    far are sorted. For many points and a small tolerance this is :func:`knothe_rosenblatt_map`.
    No gradients.

    Args:
        points: the sample, shape (n, d).
        tolerance: greatest distance in each coordinate found before, above 0. The nearest point
            is always kept, so that a latent cannot run out of points.
        order: the coordinates from first to last, by default in their natural order.

    Returns:
        A map of latents of shape (B, d), which takes a time of order n for each.

    Raises:
        ValueError: for bad points, a tolerance that is not positive, or a bad order.
    """
    require_points(points, name="points")
    require(points.numel() > 0, "points is empty; expected at least one point")
    tolerance = as_number(tolerance, "tolerance", above=0)
    dim = points.shape[1]
    order = _as_coordinates(order, dim)
    sample = as_double(points)[:, order]
    sample = sample[sample[:, 0].argsort()]

    def image(levels: Tensor) -> Tensor:
        point, kept = torch.empty_like(levels), sample
        for i, level in enumerate(levels):
            ranked = kept[:, i] if i == 0 else kept[:, i].sort().values
            point[i] = ranked[min(int(level * len(ranked)), len(ranked) - 1)]
            distance = (kept[:, i] - point[i]).abs()
            kept = kept[distance <= max(tolerance, float(distance.min()))]
        return point

    def transport(z: Tensor) -> Tensor:
        require_points(z, dim, "z")
        levels = torch.special.ndtr(as_double(z)[:, order])
        y = torch.empty_like(levels)
        y[:, order] = torch.stack([image(row) for row in levels])
        return y.to(z)

    return transport


def _as_coordinates(order: Sequence[int] | None, dim: int) -> list[int]:
    """A permutation of the coordinates as a list; None for their natural order."""
    if order is None:
        return list(range(dim))
    require_type(order, Iterable, "order", "the coordinates in some order, such as (1, 0)")
    order = [as_whole_number(i, "a coordinate of order") for i in order]
    require(
        sorted(order) == list(range(dim)),
        f"order is {order}; expected each of the coordinates 0 to {dim - 1} once",
    )
    return order
