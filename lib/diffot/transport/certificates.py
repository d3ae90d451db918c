"""Certificates that a map is not optimal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_finite,
    require_points,
    require_tensor,
    require_type,
)
from diffot.transport.points import TransportMap, as_double, as_pair, unit_of


def jacobian_asymmetry(jacobian: Tensor) -> Tensor:
    r""":math:`\|J - J^T\| / \|J\|` in the Frobenius norm, between 0 and 2.

    The Jacobian of an optimal map is the Hessian of a convex function (Brenier 1991): symmetric,
    so that this is zero, with eigenvalues that are not negative.

    Args:
        jacobian: one matrix for each point, shape (B, d, d).

    Returns:
        Shape (B,).
    """
    require_tensor(jacobian, "jacobian", "a floating-point tensor of shape (B, d, d)")
    require(
        jacobian.ndim == 3 and jacobian.shape[1] == jacobian.shape[2] >= 1,
        f"jacobian has shape {tuple(jacobian.shape)}; expected (B, d, d), one matrix per point",
    )
    require_finite(jacobian, "jacobian")
    require(
        bool((jacobian != 0).any((1, 2)).all()),
        "jacobian holds a matrix of zeros; leave such points out",
    )
    matrices = as_double(jacobian)
    matrices = matrices / unit_of(matrices, (1, 2))
    norm = torch.linalg.matrix_norm
    return (norm(matrices - matrices.mT) / norm(matrices)).to(jacobian)


@dataclass(frozen=True)
class CycleCertificate:
    """What moving every image of a cycle on to its neighbor gains; see :func:`cycle_certificate`.

    Attributes:
        points: the points x_i of the cycle, float64 of shape (L, d).
        images: their images y_i, float64 of shape (L, d).
        gain: mean squared distance before minus after; positive if the map is not optimal.
        error: bound on the error of the gain.
        covariance: twice the mean of <x_i, y_i>, both centered. Only this part of the cost
            depends on the pairing; gain / covariance is free of units and origin.
    """

    points: Tensor
    images: Tensor
    gain: float
    error: float
    covariance: float

    @property
    def accepted(self) -> bool:
        """Whether the gain is beyond doubt: more than ten times the bound on its error."""
        return self.gain > 10 * self.error


def cycle_certificate(
    transport_map: TransportMap,
    center: Tensor,
    jacobian: Tensor,
    radius: float = 0.1,
    points: int | None = None,
    refined: TransportMap | None = None,
    most_points: int = 20_000,
) -> CycleCertificate:
    r"""Look for a numerical certificate, finitely many points around a center, that a map is not
    optimal. It is no proof: the images are computed in floating-point arithmetic.

    The graph of an optimal map is cyclically monotone (Villani 2009, theorem 5.10): for no points
    x_1, ..., x_L is it cheaper to pair each with the image of the next one. The gain is

    .. math:: \frac1L \sum_i \|x_i - y_i\|^2 - \frac1L \sum_i \|x_i - y_{i+1}\|^2
              = \frac2L \sum_i \langle x_i, y_{i+1} - y_i \rangle .

    For a linear map with symmetric part S > 0 and antisymmetric part A, take the points
    :math:`S^{-1/2} u_i` with unit vectors u_i that turn by an angle :math:`\delta` in the
    plane, and against the sense, in which :math:`B = S^{-1/2} A S^{-1/2}` turns most, by b.
    The gain is :math:`2 (b \sin\delta - 1 + \cos\delta)`, positive if
    :math:`\tan(\delta / 2) < b`: a turn b of one percent, which is an asymmetry of two percent
    for S = I, needs more than 300 points. By default
    :math:`\tan(\delta / 2) = b / 2`. If S has an eigenvalue that is not positive, the cycle is
    two points in that direction.

    The Jacobian only says where to look: if it is wrong, a certificate may be missed, but none
    is false. The bound on the error of the gain comes from the change of the images under
    refinement, which does not have to be small at one point only by accident, and from the
    rounding of the images in their type.

    Args:
        transport_map: called once, with all the points.
        center: shape (d,), d at least 2.
        jacobian: derivative of the map at the center, exact or not, shape (d, d).
        radius: greatest distance of a point from the center.
        points: length L of the cycle, at least 2; by default chosen as said.
        refined: the same map, computed more accurately; the gain is then this map's. Without it
            the images are taken to be exact up to rounding.
        most_points: limit of L where it is chosen; an asymmetry below about 6 / L is missed.

    Raises:
        ValueError: if a shape, the radius or the number of points is not as above.
    """
    require_type(transport_map, Callable, "transport_map", "a function of points (B, d)")
    if refined is not None:
        require_type(refined, Callable, "refined", "a function of points (B, d), or None")
    most_points = as_whole_number(most_points, "most_points", least=3)
    cycle = _cycle(*_checked_cycle(center, jacobian, radius, points), most_points)
    given = transport_map(cycle)
    _, images = as_pair(cycle, given, ("the cycle", "what transport_map returns"))
    rounding = torch.finfo(given.dtype).eps * images.norm(dim=1).max()
    change = torch.zeros_like(cycle)
    if refined is not None:
        coarse = images
        _, images = as_pair(cycle, refined(cycle), ("the cycle", "what refined returns"))
        change = images - coarse
    around = cycle - cycle.mean(0)
    gain = 2 * (around * (images.roll(-1, 0) - images)).sum(1).mean()
    # Summed by parts the gain is linear in the images, with the sides of the cycle as factors.
    sides = (cycle - cycle.roll(1, 0)).norm(dim=1)
    error = 2 * (sides * ((change - change.mean(0)).norm(dim=1) + rounding)).mean()
    covariance = 2 * (around * (images - images.mean(0))).sum(1).mean()
    return CycleCertificate(cycle, images, float(gain), float(error), float(covariance))


def find_certificate(
    transport_map: TransportMap,
    refined: TransportMap,
    centers: Tensor,
    jacobians: Tensor,
    radii: Sequence[float] = (0.1, 0.03, 0.01),
    most_points: int = 200_000,
) -> CycleCertificate:
    """Look for a :func:`cycle_certificate` around the points with the most asymmetric Jacobians.

    Args:
        transport_map, refined: the map, and the same computed more accurately.
        centers: points around which to look, shape (B, d); the five best are tried.
        jacobians: of the map at the centers, shape (B, d, d).
        radii: sizes of the ellipses, in the order in which they are tried.
        most_points: limit of the length of a cycle.

    Returns:
        The first accepted certificate, or the last one tried.
    """
    require_points(centers, name="centers")
    require(len(centers) > 0, "centers is empty; expected at least one point")
    require_tensor(jacobians, "jacobians", "a floating-point tensor of shape (B, d, d)")
    require(
        jacobians.shape == (*centers.shape, centers.shape[1]),
        f"centers and jacobians have shapes {tuple(centers.shape)} and "
        f"{tuple(jacobians.shape)}; expected (B, d) and (B, d, d)",
    )
    require_type(refined, Callable, "refined", "a function of points (B, d)")
    require_finite(jacobians, "jacobians")
    require_type(radii, (tuple, list), "radii", "positive numbers, such as (0.1, 0.03)")
    require(len(radii) > 0, "radii is empty; expected at least one positive number")
    radii = [as_number(radius, "one of the radii", above=0) for radius in radii]
    for i in jacobian_asymmetry(jacobians).argsort(descending=True)[:5]:
        for radius in radii:
            certificate = cycle_certificate(
                transport_map,
                centers[i],
                jacobians[i],
                radius,
                refined=refined,
                most_points=most_points,
            )
            if certificate.accepted:
                return certificate
    return certificate


def _checked_cycle(
    center: Tensor, jacobian: Tensor, radius: float, points: int | None
) -> tuple[Tensor, Tensor, float, int | None]:
    require_tensor(center, "center", "a floating-point tensor of shape (d,)")
    require_tensor(jacobian, "jacobian", "a floating-point tensor of shape (d, d)")
    require(
        center.ndim == 1 and len(center) >= 2 and jacobian.shape == (len(center), len(center)),
        f"center and jacobian have shapes {tuple(center.shape)} and {tuple(jacobian.shape)}; "
        "expected (d,) and (d, d) with d at least 2",
    )
    require_finite(center, "center")
    require_finite(jacobian, "jacobian")
    radius = as_number(radius, "radius", above=0)
    points = None if points is None else as_whole_number(points, "points", least=2)
    return as_double(center), as_double(jacobian), radius, points


def _cycle(
    center: Tensor, jacobian: Tensor, radius: float, points: int | None, most_points: int
) -> Tensor:
    """Corners of the cycle, float64 of shape (L, d)."""
    spectrum, axes = torch.linalg.eigh((jacobian + jacobian.mT) / 2)
    if spectrum[0] <= 0:
        half_axes = torch.stack([axes[:, 0], torch.zeros_like(center)], dim=1)
        points = points or 2
    else:
        root = (axes * spectrum**-0.5) @ axes.mT  # S^{-1/2}
        turn = root @ (jacobian - jacobian.mT) @ root / 2
        rates, planes = torch.linalg.eigh(1j * turn)
        # turn takes the real part to b times the imaginary part, and that to -b times the real.
        half_axes = root @ torch.stack([planes[:, -1].imag, planes[:, -1].real], dim=1)
        points = points or _cycle_length(float(rates[-1]), most_points)
    half_axes = half_axes / torch.linalg.matrix_norm(half_axes, 2)
    angle = 2 * math.pi * torch.arange(points, dtype=torch.float64) / points
    return center + radius * torch.stack([angle.cos(), angle.sin()], dim=1) @ half_axes.T


def _cycle_length(turn: float, most_points: int) -> int:
    """Number of points whose step has tan(delta / 2) = turn / 2, where that is not too many."""
    half_step = math.atan(turn / 2)  # 0 for the smallest of numbers, too
    wanted = math.pi / half_step if half_step > 0 else math.inf
    return max(3, math.ceil(min(wanted, most_points)))
