"""Fitting a convex potential to a map: the dual of optimal transport, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

from diffot.transport.nodes import Nodes, neighbors
from diffot.transport.pieces import Piece, inverse_roots
from diffot.transport.potentials import Peaks, Potential
from diffot.transport.surfaces import Design, Surface

_LIGHT = 1e-6  # share of the greatest mass with which the lightest points count in metrics
_SMOOTH = 1e-6  # weight of second derivatives in metrics, where there are no points
_SMOOTHEST = 1e3
_TRIALS = 30
_FEWEST = 8  # cells along a side of a box
_LENGTHS = (1.0, 0.3, 0.1)  # of steps
_LEAST = 1e-2  # share of the Hessian's trace norm below which an eigenvalue is raised
_MARGIN = 0.03  # of the box beyond the points


@dataclass(frozen=True, eq=False)
class Pairs:
    """Latents z and points x with masses, shapes (P, 2) and (P,), of one piece of a potential
    or of all."""

    z: np.ndarray
    x: np.ndarray
    mass: np.ndarray

    def part(self, chosen: np.ndarray) -> Pairs:
        """Those that are chosen, with masses that sum to 1."""
        mass = self.mass[chosen]
        return Pairs(self.z[chosen], self.x[chosen], mass / mass.sum())


def fit_potential(part: Nodes, mode: np.ndarray, others: np.ndarray, cells: int) -> Potential:
    r"""The potential that makes the mean gap of pairs (z, x) as small as it finds.

    The mean of :math:`\varphi(x) + \varphi^*(z)` is convex in the coefficients c of
    :math:`\varphi`. With :math:`u(z)` the point where :math:`\varphi^*(z)` is attained and B the
    splines, its gradient is :math:`E B(x) - E B(u(z))` and its Hessian
    :math:`E\, \nabla B\, (\nabla^2 \varphi)^{-1} \nabla B^T` at u(z); for that matrix the mean
    of those at u(z) and at x is taken, which is the same at the optimum. Where u jumps from one
    piece to another, by the seams of :math:`\varphi^*`, the Hessian also has the squares of the
    jumps of B. The first guess fits values and slopes of the potential that the map would have
    if it were optimal.

    Args:
        part: the pairs. mode: from 0, to which of the pieces each pair belongs, shape (P,).
        others: further points that the pieces' boxes must hold, shape (O, 2).
        cells: along each side of the box of a single piece. Of several, each has its mass's share
            of the square of that number, and at least eight along a side.
    """
    center = part.mass @ part.x
    pairs = Pairs(part.z, part.x - center, part.mass)
    owner = mode[cKDTree(part.x).query(others)[1]]
    pieces = []
    for k in range(mode.max() + 1):
        count = max(_FEWEST, round(cells * np.sqrt(part.mass[mode == k].sum())))
        pieces.append(_piece(pairs.part(mode == k), others[owner == k] - center, count))
    guess = Potential(center, tuple(pieces))
    if len(pieces) > 1:
        guess = _joined(guess, pairs, mode, part)
    return _descend(guess, pairs, mode, part.side)


def _piece(pairs: Pairs, others: np.ndarray, cells: int) -> Piece:
    """A first guess, up to a constant, on a box that holds the points."""
    center, axes = pairs.mass @ pairs.x, _principal_axes(pairs.x, pairs.mass)
    local = Pairs(pairs.z @ axes, (pairs.x - center) @ axes, pairs.mass)
    everything = np.concatenate([local.x, (others - center) @ axes])
    low, high = everything.min(0), everything.max(0)
    margin = _MARGIN * (high - low)
    surface = Surface.flat(low - margin, high + margin, cells)
    linear, quadratic = _gaussian(local.x, local.z, pairs.mass)
    return _first_guess(Piece(center, axes, linear, quadratic, surface), local)


def _joined(potential: Potential, pairs: Pairs, mode: np.ndarray, part: Nodes) -> Potential:
    """The pieces with constants that make their conjugates equal, on average, half way between
    neighbors that belong to two of them."""
    one, other = neighbors(part)
    apart = mode[one] != mode[other]
    one, other = one[apart], other[apart]
    heights = potential.peaks(pairs.z, width=1e3).heights
    sides = [heights[mode[i], i] + heights[mode[i], j] for i, j in ((one, other), (other, one))]
    weights = np.sqrt(np.minimum(pairs.mass[one], pairs.mass[other]))
    rows = np.eye(len(heights))[mode[one]] - np.eye(len(heights))[mode[other]]
    right = weights * (sides[0] - sides[1]) / 2
    constants = np.linalg.lstsq(weights[:, None] * rows, right, rcond=None)[0]
    sizes = [piece.surface.coefficients.size for piece in potential.pieces]
    return potential.plus(np.repeat(constants, sizes))


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


def _first_guess(piece: Piece, pairs: Pairs) -> Piece:
    """Least squares for slopes and values; the values come from a fit on the latents' side,
    where there are no gaps between points."""
    linear, quadratic = _gaussian(pairs.z, pairs.x, pairs.mass)
    low, high = pairs.z.min(0), pairs.z.max(0)
    flat = Surface.flat(low, high, piece.surface.cells)
    slopes = pairs.x - linear - pairs.z @ quadratic
    other = _least_squares(flat, quadratic, pairs.z, slopes, pairs.mass, None)
    conjugate = other.value(pairs.z) + (pairs.z * (linear + pairs.z @ quadratic / 2)).sum(1)
    bent = pairs.x @ piece.quadratic
    values = (pairs.x * pairs.z).sum(1) - conjugate
    values -= (pairs.x * (piece.linear + bent / 2)).sum(1)
    slopes = pairs.z - piece.linear - bent
    surface = _least_squares(piece.surface, piece.quadratic, pairs.x, slopes, pairs.mass, values)
    return replace(piece, surface=surface)


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


@dataclass(frozen=True, eq=False)
class _Problem:
    """What does not change while a potential descends.

    Attributes:
        pairs: all. mode: the piece of each. side: of the cell of each.
        designs: of the points of each piece.
        rough: the roughness of all coefficients.
    """

    pairs: Pairs
    mode: np.ndarray
    side: np.ndarray
    designs: list[Design]
    rough: sparse.csr_matrix

    @classmethod
    def of(cls, potential: Potential, pairs: Pairs, mode: np.ndarray, side: np.ndarray):
        pieces, mass = potential.pieces, pairs.mass
        designs = [
            piece.surface.design(piece.inward(pairs.x[mode == k]))
            for k, piece in enumerate(pieces)
        ]
        rough = sparse.block_diag([_roughness(p.surface, p.quadratic, mass) for p in pieces])
        return cls(pairs, mode, side, designs, rough.tocsr())

    def mean_gap(self, potential: Potential, guess: Peaks | None) -> tuple[float, Peaks]:
        """The mean gap, and where the conjugates are attained."""
        peaks = potential.peaks(self.pairs.z, 2, guess, self.side)
        gaps = peaks.heights.max(0) - (self.pairs.x * self.pairs.z).sum(1)
        for k, piece in enumerate(potential.pieces):
            mine = self.mode == k
            gaps[mine] += piece.plain(piece.inward(self.pairs.x[mine]))
        return float(self.pairs.mass @ gaps), peaks

    def slopes(self, potential: Potential, peaks: Peaks) -> tuple[np.ndarray, sparse.csr_matrix]:
        """Gradient and Hessian of the mean gap."""
        mass, weights, there = self.pairs.mass, _weights(self.pairs.mass), peaks.piece
        gradients, blocks = [], []
        for k, (piece, design) in enumerate(zip(potential.pieces, self.designs)):
            mine, reached = self.mode == k, there == k
            u, place = piece.inward(self.pairs.x[mine]), peaks.places[k, reached]
            aim = piece.surface.design(place)
            above = design.matrix(design.value).T @ mass[mine]
            gradients.append(above - aim.matrix(aim.value).T @ mass[reached])
            matrix = _metric(design, piece.jet(u)[2], weights[mine])
            blocks.append((matrix + _metric(aim, piece.jet(place)[2], mass[reached])) / 2)
        matrix = sparse.block_diag(blocks).tocsr()
        if len(blocks) > 1:
            rows = _jumps(potential, peaks, mass, self.side)
            matrix = matrix + rows.T @ rows
        return np.concatenate(gradients), matrix


def _jumps(
    potential: Potential, peaks: Peaks, mass: np.ndarray, side: np.ndarray
) -> sparse.csr_matrix:
    """Jumps of the splines across seams, times the root of their weight; a row for a latent."""
    seams = potential.seams(peaks, side)
    roots = np.sqrt(mass[seams.latent] * seams.weight)
    columns = []
    for k, piece in enumerate(potential.pieces):
        design = piece.surface.design(peaks.places[k, seams.latent])
        sign = (seams.first == k).astype(float) - (seams.second == k)
        columns.append(design.matrix((roots * sign)[:, None] * design.value))
    rows = sparse.hstack(columns).tocsr()
    rows.eliminate_zeros()
    return rows


def _descend(potential: Potential, pairs: Pairs, mode: np.ndarray, side: np.ndarray) -> Potential:
    """Newton's method on the mean gap, until it falls by less than a thousandth. Steps that do
    not lower it are tried again with more weight on smoothness (Levenberg and Marquardt); where
    there are seams, which smoothness does not hold, shorter ones before."""
    problem = _Problem.of(potential, pairs, mode, side)
    mean, peaks = problem.mean_gap(potential, None)
    smooth = _SMOOTH
    lengths = _LENGTHS[: 1 if len(potential.pieces) == 1 else None]
    for _ in range(_TRIALS):
        gradient, matrix = problem.slopes(potential, peaks)
        fallen = 0.0
        while smooth < _SMOOTHEST:
            step = -_solve(matrix + smooth * problem.rough, gradient)
            for length in lengths:
                trial = potential.plus(length * step)
                value, where = problem.mean_gap(trial, peaks)
                fallen = mean - value
                enough = fallen > 0.1 * length * abs(gradient @ step) / 2
                if enough:
                    break
            if enough:
                smooth = max(smooth / 30, _SMOOTH)
                break
            smooth *= 30
        if fallen > 0:
            potential, mean, peaks = trial, value, where
        if fallen < 1e-3 * abs(mean) or mean < 1e-14:
            break
    return potential


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
