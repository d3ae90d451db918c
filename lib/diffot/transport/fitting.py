"""Fitting a convex potential to a map: the dual of optimal transport, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import spsolve

from diffot.transport.potentials import Potential, inverse_roots
from diffot.transport.surfaces import Design, Surface

_LIGHT = 1e-6  # share of the greatest mass with which the lightest points count in metrics
_SMOOTH = 1e-6  # weight of second derivatives in metrics, where there are no points
_SMOOTHEST = 1e3
_TRIALS = 30
_LEAST = 1e-2  # share of the Hessian's trace norm below which an eigenvalue is raised
_MARGIN = 0.03  # of the box beyond the points


@dataclass(frozen=True, eq=False)
class Pairs:
    """Latents v and points u with masses, in the coordinates of a potential; shapes (P, 2)."""

    v: np.ndarray
    u: np.ndarray
    mass: np.ndarray


def fit_potential(
    z: np.ndarray, x: np.ndarray, mass: np.ndarray, others: np.ndarray, cells: int
) -> Potential:
    r"""The potential that makes the mean gap of pairs (z, x) as small as it finds.

    The mean of :math:`\varphi(x) + \varphi^*(z)` is convex in the coefficients c of
    :math:`\varphi`. With :math:`u(z)` the point where :math:`\varphi^*(z)` is attained and B the
    splines, its gradient is :math:`E B(x) - E B(u(z))` and its Hessian
    :math:`E\, \nabla B\, (\nabla^2 \varphi)^{-1} \nabla B^T` at u(z); for that matrix the mean
    of those at u(z) and at x is taken, which is the same at the optimum. The first guess fits
    values and slopes of the potential that the map would have if it were optimal.

    Args:
        z, x: shape (P, 2). mass: shape (P,), summing to 1. others: further points that the box
            must hold, shape (O, 2). cells: of the surface, along each side.
    """
    center, axes = mass @ x, _principal_axes(x, mass)
    pairs = Pairs(z @ axes, (x - center) @ axes, mass)
    everything = np.concatenate([pairs.u, (others - center) @ axes])
    low, high = everything.min(0), everything.max(0)
    margin = _MARGIN * (high - low)
    surface = Surface.flat(low - margin, high + margin, cells)
    linear, quadratic = _gaussian(pairs.u, pairs.v, mass)
    guess = _first_guess(Potential(center, axes, linear, quadratic, surface), pairs)
    return _descend(guess, pairs)


def _principal_axes(x: np.ndarray, mass: np.ndarray) -> np.ndarray:
    centered = x - mass @ x
    axes = np.linalg.eigh((centered * mass[:, None]).T @ centered)[1]
    return axes * np.sign(np.linalg.det(axes))


def _gaussian(a: np.ndarray, b: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset and matrix of the optimal map a -> b between Gaussians with the moments of both."""
    mean_a, mean_b = mass @ a, mass @ b
    cov_a, cov_b = (((c - mass @ c) * mass[:, None]).T @ (c - mass @ c) for c in (a, b))
    root = np.real(linalg.sqrtm(cov_a))
    inverse = np.linalg.inv(root)
    matrix = inverse @ np.real(linalg.sqrtm(root @ cov_b @ root)) @ inverse
    matrix = (matrix + matrix.T) / 2
    return mean_b - matrix @ mean_a, matrix


def _first_guess(potential: Potential, pairs: Pairs) -> Potential:
    """Least squares for slopes and values; the values come from a fit on the latents' side,
    where there are no gaps between points."""
    linear, quadratic = _gaussian(pairs.v, pairs.u, pairs.mass)
    low, high = pairs.v.min(0), pairs.v.max(0)
    flat = Surface.flat(low, high, potential.surface.cells)
    slopes = pairs.u - linear - pairs.v @ quadratic
    other = _least_squares(flat, quadratic, pairs.v, slopes, pairs.mass, None)
    conjugate = other.value(pairs.v) + (pairs.v * (linear + pairs.v @ quadratic / 2)).sum(1)
    bent = pairs.u @ potential.quadratic
    values = (pairs.u * pairs.v).sum(1) - conjugate
    values -= (pairs.u * (potential.linear + bent / 2)).sum(1)
    slopes = pairs.v - potential.linear - bent
    surface = _least_squares(
        potential.surface, potential.quadratic, pairs.u, slopes, pairs.mass, values
    )
    return replace(potential, surface=surface)


def _least_squares(
    surface: Surface,
    quadratic: np.ndarray,
    points: np.ndarray,
    slopes: np.ndarray,
    mass: np.ndarray,
    values: np.ndarray | None,
) -> Surface:
    """The surface with slopes near given ones, in the metric of the inverse of a matrix, and
    values near given ones, if any."""
    design = surface.design(points)
    weights = _weights(mass)
    inverse = np.linalg.inv(quadratic)
    matrix = _metric(design, np.broadcast_to(quadratic, (len(points), 2, 2)), weights)
    matrix = matrix + _SMOOTH * _roughness(surface, quadratic, mass)
    pulled = weights[:, None] * (slopes @ inverse)
    right = sum(design.matrix(s).T @ pulled[:, k] for k, s in enumerate(design.slopes))
    if values is not None:
        rows = design.matrix(design.value)
        # the unit of length of the latents is 1
        matrix = matrix + rows.T @ sparse.diags(weights / np.trace(quadratic)) @ rows
        right = right + rows.T @ (weights / np.trace(quadratic) * values)
    return surface.plus(_solve(matrix, right))


def _descend(potential: Potential, pairs: Pairs) -> Potential:
    """Newton's method on the mean gap, until it falls by less than a thousandth. Steps that do
    not lower it are tried again with more weight on smoothness (Levenberg and Marquardt)."""
    design, weights = potential.surface.design(pairs.u), _weights(pairs.mass)
    points_side = design.matrix(design.value).T @ pairs.mass
    rough = _roughness(potential.surface, potential.quadratic, pairs.mass)
    mean, best = _mean_gap(potential, pairs, None)
    smooth = _SMOOTH
    for _ in range(_TRIALS):
        there = potential.surface.design(best)
        gradient = points_side - there.matrix(there.value).T @ pairs.mass
        matrix = _metric(design, potential.jet(pairs.u)[2], weights)
        matrix = (matrix + _metric(there, potential.jet(best)[2], pairs.mass)) / 2
        fallen = 0.0
        while smooth < _SMOOTHEST:
            step = -_solve(matrix + smooth * rough, gradient)
            trial = replace(potential, surface=potential.surface.plus(step))
            value, where = _mean_gap(trial, pairs, best)
            fallen = mean - value
            if fallen > 0.1 * abs(gradient @ step) / 2:
                smooth = max(smooth / 30, _SMOOTH)
                break
            smooth *= 30
        if fallen > 0:
            potential, mean, best = trial, value, where
        if fallen < 1e-3 * abs(mean) or mean < 1e-14:
            break
    return potential


def _mean_gap(
    potential: Potential, pairs: Pairs, guess: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """The mean gap, and where the conjugates are attained."""
    conjugate, best = potential.greatest(pairs.v, 2, guess)
    gaps = potential.plain(pairs.u) + conjugate - (pairs.u * pairs.v).sum(1)
    return float(pairs.mass @ gaps), best


def _weights(mass: np.ndarray) -> np.ndarray:
    return np.maximum(mass, _LIGHT * mass.max())


def _metric(design: Design, hessian: np.ndarray, weights: np.ndarray) -> sparse.csr_matrix:
    """Sum over points of the weight times grad B H^-1 grad B^T."""
    roots = [np.sqrt(weights)[:, None] * root for root in inverse_roots(hessian, _LEAST)]
    first, second = design.slopes
    rows = design.matrix(*(root[:, :1] * first + root[:, 1:] * second for root in roots))
    return rows.T @ rows


def _roughness(surface: Surface, quadratic: np.ndarray, mass: np.ndarray) -> sparse.csr_matrix:
    """Sum over the box of squared second derivatives, in the same units as the metric."""
    design = surface.design(surface.nodes(2))
    along, mixed, across = design.curvatures
    rows = design.matrix(along, np.sqrt(2) * mixed, across)
    return (mass.max() * np.trace(np.linalg.inv(quadratic)) / 2) * (rows.T @ rows)


def _solve(matrix: sparse.spmatrix, right: np.ndarray) -> np.ndarray:
    """The solution of a system that is positive but for constants."""
    ridge = 1e-13 * matrix.diagonal().max()
    matrix = (matrix + ridge * sparse.eye(matrix.shape[0])).tocsc()
    return spsolve(matrix, right, permc_spec="MMD_AT_PLUS_A")
