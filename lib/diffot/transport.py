r"""Transport maps, and how far they are from optimal.

A transport map pairs every point x with a point y. Its cost is the mean squared distance; the
optimal pairing of the same points is the cheapest one, and

.. math:: \text{relative excess} = \frac{\text{paired} - \text{optimal}}{\text{optimal}}

says by how much a pairing misses it. (W1, the mean distance, is the case ``order=1``.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import ot
import torch
from scipy import sparse, special
from scipy.spatial import cKDTree, distance
from torch import Tensor

from diffot.errors import (
    as_classes,
    as_number,
    as_whole_number,
    require,
    require_covariance,
    require_finite,
    require_points,
    require_same_shape,
    require_tensor,
    require_type,
)
from diffot.mixtures import GaussianMixture

TransportMap = Callable[[Tensor], Tensor]  # points (B, d) to points (B, d)

_NEIGHBORS = 16  # with which swaps are tried first
_SLACK = 1e-13  # rounding in the price of a pair, as a share of the largest cost


def _as_pair(x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y")) -> tuple[Tensor, Tensor]:
    """Points and their images as float64."""
    for points, name in zip((x, y), names):
        require_points(points, name=name)
    require_same_shape(x, y, names)
    require(x.numel() > 0, f"{names[0]} has shape {tuple(x.shape)}; expected at least one point")
    return _double(x), _double(y)


def transport_cost(x: Tensor, y: Tensor, order: int = 2) -> float:
    r"""Cost of moving each x_i to y_i: the mean of :math:`\|x_i - y_i\|^p`, p = ``order``.

    Args:
        x, y: shape (n, d). order: a whole number, at least 1.

    Raises:
        ValueError: if the shapes differ, a value is not finite, or the cost is too large.
    """
    x, y = _as_pair(x, y)
    order = as_whole_number(order, "order", least=1)
    unit = float(_unit(torch.cat([x, y])))  # powers of 1e-200 or 1e200 leave float64
    mean = float((x / unit - y / unit).norm(dim=1).pow(order).mean())
    try:
        return math.ldexp(mean, order * int(math.log2(unit)))
    except OverflowError as error:
        raise ValueError(
            f"x and y are up to {unit:.1e} in size, too far for a cost of order {order} in "
            "float64; choose a larger unit of length"
        ) from error


def optimal_assignment(
    x: Tensor, y: Tensor, order: int = 2, guess: Tensor | None = None
) -> Tensor:
    r"""The permutation p that minimizes :math:`\sum_i \|x_i - y_{p(i)}\|^q`, q = ``order``.

    Solved exactly by POT's network simplex (Bonneel et al. 2011; Flamary et al. 2021). Memory
    grows as n^2 and time a little faster: about a second at n = 2500, four at n = 5000. From a
    guess that is nearly optimal it takes a fifth or less: only swaps among neighbors are tried,
    and prices (dual variables) then show whether any other pair could lower the cost; such pairs
    are let in until there is no new one.

    For order 2 only the inner products of the two clouds matter, each centered and in a unit of
    its own. So neither the unit of length nor the distance from the origin has an influence.

    Args:
        x, y: shape (n, d). order: a whole number, at least 1.
        guess: a permutation, ``torch.arange(n)`` for the pairs of a map. It changes the time
            taken; the assignment is optimal to rounding in the largest cost whatever it is.

    Returns:
        Indices into y, int64 of shape (n,).

    Raises:
        ValueError: if the shapes differ, a value is not finite or the guess no permutation.
        RuntimeError: if the solver stops before the optimum.
    """
    x, y = _as_pair(x, y)
    order = as_whole_number(order, "order", least=1)
    n = len(x)
    if guess is not None:
        guess = as_classes(guess, "guess").cpu()
        require(
            torch.equal(guess.sort().values, torch.arange(n)),
            f"guess is not a permutation of the {n} indices",
        )
    costs = _pair_costs(x, y, order)
    if guess is None:
        return torch.from_numpy(_permutation(_emd(costs)[0]))
    pairs = _neighboring_pairs(_standardized(x).numpy(), _standardized(y).numpy(), guess.numpy())
    while True:
        rows, columns = np.divmod(pairs, n)
        plan, prices = _emd(sparse.coo_matrix((costs[rows, columns], (rows, columns)), (n, n)))
        cheaper = _cheaper_pairs(costs, *prices, pairs)
        if not len(cheaper):
            return torch.from_numpy(_permutation(plan.tocsr()))
        pairs = np.union1d(pairs, cheaper)


def _pair_costs(x: Tensor, y: Tensor, order: int) -> np.ndarray:
    """Costs of all pairs, up to what does not matter for the assignment: from 0 to 1."""
    if order == 2:
        costs = (-_standardized(x) @ _standardized(y).T).numpy()
    else:
        costs = distance.cdist(*_standardized(torch.cat([x, y])).split(len(x))) ** order
    costs -= costs.min()
    costs /= max(costs.max(), np.finfo(float).tiny)
    return costs


def _standardized(points: Tensor) -> Tensor:
    """Points about their mean, in a unit in which the largest coordinate is about 1."""
    points = points / _unit(points)
    points = points - points.mean(0)
    return points / _unit(points)


def _emd(costs: np.ndarray | sparse.coo_matrix) -> tuple:
    """Optimal plan between n unit masses each, and the prices of sources and targets.

    Whole masses are never rounded, so that the plan is a permutation, ties or not.
    """
    n = costs.shape[0]
    mass = np.ones(n)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            plan, log = ot.emd(mass, mass, costs, numItermax=50_000_000, log=True)
        except UserWarning as warning:
            raise RuntimeError(f"the assignment of {n} points failed: {warning}") from warning
    return plan, (log["u"], log["v"])


def _permutation(plan: np.ndarray | sparse.csr_matrix) -> np.ndarray:
    permutation = np.asarray(plan.argmax(1)).ravel()
    if len(np.unique(permutation)) != len(permutation):
        raise RuntimeError(f"the plan of {len(permutation)} points splits mass; please report")
    return permutation


def _neighboring_pairs(x: np.ndarray, y: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Sorted numbers n i + j of the pairs that swaps between near neighbors, among the x_i or
    among their images, lead to, and of those of the guess."""
    n = len(x)
    own = np.arange(n)[:, None]
    pairs = [n * own + guess[own]]  # of many equal points, one may not be among its own neighbors
    for points in (x, y[guess]):
        near = cKDTree(points).query(points, range(1, min(n, _NEIGHBORS) + 1))[1]
        pairs += [n * own + guess[near], n * near + guess[own]]
    return np.unique(np.concatenate([p.ravel() for p in pairs]))


def _cheaper_pairs(
    costs: np.ndarray, source: np.ndarray, target: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Numbers n i + j of pairs that cost less than their prices, the five cheapest per i.

    The known pairs, sorted, are left out: they are at their prices up to rounding.
    """
    n = len(costs)
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, n, 256):
        slack = costs[start : start + 256] - source[start : start + 256, None] - target
        first, last = np.searchsorted(known, (n * start, n * (start + 256)))
        slack.ravel()[known[first:last] - n * start] = 0
        bad = np.flatnonzero(slack.min(1) < -_SLACK)
        if len(bad):
            slack = slack[bad]
            columns = np.argsort(slack, 1)[:, :5]
            rows = np.broadcast_to(bad[:, None] + start, columns.shape)
            below = np.take_along_axis(slack, columns, 1) < -_SLACK
            found.append((n * rows + columns)[below])
    return np.concatenate(found)


def relative_excess_cost(x: Tensor, y: Tensor, optimal: Tensor | None = None) -> float:
    """(paired - optimal) / optimal for the pairs (x_i, y_i), squared distance; 0 is optimal.

    On n sampled points this understates, in the mean, the excess of the map they come from: the
    cost can only be lowered by swaps among the sampled points. It has no unit of length, and
    moving x and y by the same vector does not change it.

    Args:
        x, y: shape (n, d).
        optimal: y in the optimal order, where that is known already.

    Raises:
        ValueError: if the shapes differ, a value is not finite, or the optimal cost is 0 and the
            other is not.
    """
    pair = _as_pair(x, y)
    if optimal is None:
        optimal = y[optimal_assignment(x, y, guess=torch.arange(len(x))).to(y.device)]
    _, optimal = _as_pair(x, optimal, ("x", "optimal"))
    unit = _unit(torch.cat([*pair, optimal]))
    x, y, optimal = (points / unit for points in (*pair, optimal))
    least, change = x - optimal, optimal - y
    unit = _unit(torch.cat([least, change]))
    least, change = least / unit, change / unit
    # |x - y|^2 - |x - optimal|^2, without the difference of two nearly equal numbers
    excess = float((change * (2 * least + change)).sum(1).mean())
    cost = float(least.square().sum(1).mean())
    if cost == 0:
        require(
            excess == 0,
            "the optimal cost is 0, so a relative excess is not defined; compare transport_cost",
        )
        return 0.0
    return excess / cost


# --- Maps between Gaussian mixtures -----------------------------------------------------------
#
# In one dimension everything goes through the normal score Phi^{-1}(F(x)), the map to N(0, 1):
# unlike the probability F(x), it resolves both tails.


def quantile_map(source: GaussianMixture, target: GaussianMixture) -> TransportMap:
    r"""The optimal map in one dimension, :math:`x \mapsto F_b^{-1}(F_a(x))`.

    The only increasing map from one law to the other, optimal for every convex cost (Peyré &
    Cuturi 2019, remark 2.30). Where the target has a density it is met to about 1e-14; in a gap
    between two modes, where the mass is nearly nothing, the point itself is less sharply
    determined by its probability. No gradients.

    Args:
        source, target: the laws F_a and F_b, with d = 1.

    Returns:
        A map of points of shape (B, 1).

    Raises:
        ValueError: if a mixture is not one-dimensional.
    """
    for name, law in (("source", source), ("target", target)):
        require_type(law, GaussianMixture, name, "a GaussianMixture with d = 1")
        require(law.dim == 1, f"{name} has dimension {law.dim}; the quantile map expects d = 1")

    def block(x: Tensor) -> Tensor:
        return _inverse_normal_score(_normal_score(x, *_line(source)), *_line(target))

    def transport(x: Tensor) -> Tensor:
        require_points(x, 1)
        components = max(len(source.weights), len(target.weights))
        return _in_parts(block, _double(x)[:, 0], components)[:, None].to(x)

    return transport


def gaussian_monge_map(
    mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor
) -> TransportMap:
    r"""The optimal map from one Gaussian to another, :math:`x \mapsto m_b + A (x - m_a)`.

    .. math:: A = C_a^{-1/2} \big(C_a^{1/2} C_b C_a^{1/2}\big)^{1/2} C_a^{-1/2}

    (Peyré & Cuturi 2019, remark 2.31; for C_a = I the inverse of Khrulkov et al. 2023, theorem
    3.1).

    Args:
        mean_a, mean_b: shape (d,). cov_a, cov_b: symmetric positive definite, shape (d, d).

    Returns:
        A map of points of shape (B, d).

    Raises:
        ValueError: if a shape or a covariance is not as above.
    """
    for mean, cov, law in ((mean_a, cov_a, "a"), (mean_b, cov_b, "b")):
        require_tensor(mean, f"mean_{law}", "a floating-point tensor of shape (d,)")
        require_finite(mean, f"mean_{law}")
        require_covariance(cov, f"cov_{law}")
        require(
            cov.shape == 2 * mean_a.shape and mean.shape == mean_a.shape,
            f"mean_{law} and cov_{law} have shapes {tuple(mean.shape)} and {tuple(cov.shape)}, "
            f"mean_a {tuple(mean_a.shape)}; expected two Gaussians in the same dimension, (d,) "
            "and (d, d)",
        )
    mean_a, mean_b, cov_a, cov_b = map(_double, (mean_a, mean_b, cov_a, cov_b))
    root = _power(cov_a, 0.5)
    inverse = _power(cov_a, -0.5)
    matrix = inverse @ _power(root @ cov_b @ root, 0.5) @ inverse

    def transport(x: Tensor) -> Tensor:
        require_points(x, len(mean_a))
        return (mean_b + (_double(x) - mean_a) @ matrix).to(x)

    return transport


def composition_excess(cov_a: Tensor, cov_b: Tensor) -> float:
    r"""Relative excess cost of encoding with one centered Gaussian and decoding with another.

    The map is :math:`C_b^{1/2} C_a^{-1/2}`, which pairs A and B at the cost
    :math:`\operatorname{tr}(C_a + C_b - 2 C_a^{1/2} C_b^{1/2})`; the optimal cost has
    :math:`(C_a^{1/2} C_b C_a^{1/2})^{1/2}` in the last term (Peyré & Cuturi 2019, remark 2.31).
    It is zero if and only if the covariances commute.

    Args:
        cov_a, cov_b: symmetric positive definite, shape (d, d), not equal.

    Raises:
        ValueError: if the covariances are equal, so that nothing has to be moved.
    """
    for cov, name in ((cov_a, "cov_a"), (cov_b, "cov_b")):
        require_covariance(cov, name)
    require_same_shape(cov_a, cov_b, ("cov_a", "cov_b"))
    require(cov_a.ndim == 2, f"cov_a has shape {tuple(cov_a.shape)}; expected (d, d)")
    a, b = _double(cov_a), _double(cov_b)
    unit = _unit(torch.stack([a, b]))
    a, b = a / unit, b / unit
    root_a, root_b = _power(a, 0.5), _power(b, 0.5)
    left, _, right = torch.linalg.svd(root_b @ root_a)
    # Both costs as squared distances of roots: that of the optimal map has the orthogonal factor
    # of root_b root_a between them.
    paired = float((root_a - root_b).square().sum())
    optimal = float((root_a - (left @ right).mT @ root_b).square().sum())
    require(
        optimal > 1e-12 * float((a + b).trace()),
        "cov_a and cov_b are equal; there is nothing to move",
    )
    return paired / optimal - 1


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
            found = _inverse_normal_score(z[:, i], log_weights, centers, spreads)
            y[:, order[i]] = found
            u[:, :, i] = (found[:, None] - centers) / spreads
            log_weights = torch.log_softmax(
                log_weights - u[:, :, i] ** 2 / 2 - spreads.log(), dim=1
            )
        return y

    def transport(z: Tensor) -> Tensor:
        require_points(z, mixture.dim, "z")
        return _in_parts(block, _double(z)[:, order], len(means)).to(z)

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
    sample = _double(points)[:, order]
    sample = sample[sample[:, 0].argsort()]

    def image(levels: Tensor) -> Tensor:
        found, kept = torch.empty_like(levels), sample
        for i, level in enumerate(levels):
            ranked = kept[:, i] if i == 0 else kept[:, i].sort().values
            found[i] = ranked[min(int(level * len(ranked)), len(ranked) - 1)]
            distance = (kept[:, i] - found[i]).abs()
            kept = kept[distance <= max(tolerance, float(distance.min()))]
        return found

    def transport(z: Tensor) -> Tensor:
        require_points(z, dim, "z")
        levels = torch.special.ndtr(_double(z)[:, order])
        y = torch.empty_like(levels)
        y[:, order] = torch.stack([image(row) for row in levels])
        return y.to(z)

    return transport


def affine_fit(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
    r"""The affine map nearest to the pairs (x_i, y_i): least squares for :math:`y = A x + b`.

    Args:
        x, y: shape (n, d), n greater than d.

    Returns:
        A (d, d), b (d,), both float64, and the root mean square of :math:`\|y - A x - b\|`.

    Raises:
        ValueError: if the shapes differ or there are too few points.
    """
    x, y = _as_pair(x, y)
    n, d = x.shape
    require(n > d, f"x holds {n} points in dimension {d}; an affine map needs at least {d + 1}")
    center, mean = x.mean(0), y.mean(0)
    x, y = x - center, y - mean
    unit = _unit(x, 0)
    solution = torch.linalg.lstsq(x / unit, y).solution / unit.T
    residual = transport_cost(x @ solution, y) ** 0.5
    return solution.T, mean - center @ solution, residual


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


def _unit(a: Tensor, dim: int | tuple[int, ...] = ()) -> Tensor:
    """The power of two next below the largest entry, float64: dividing by it does not round."""
    largest = a.abs().amax(dim, keepdim=dim != ())
    return torch.as_tensor(np.ldexp(1.0, np.frexp(largest.numpy())[1] - 1))


def _double(x: Tensor) -> Tensor:
    """Float64 on the CPU, without gradients."""
    return x.detach().to("cpu", torch.float64)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Power of a symmetric positive definite matrix."""
    spectrum, axes = torch.linalg.eigh(matrix)
    spectrum = spectrum.clamp(min=torch.finfo(matrix.dtype).tiny)  # may be negative by rounding
    return (axes * spectrum**exponent) @ axes.mT


def _in_parts(function: TransportMap, x: Tensor, components: int) -> Tensor:
    """function(x), a few points at a time: an array of (points, components) takes 8 MiB."""
    return torch.cat([function(part) for part in x.split(max(1, 2**20 // components))])


def _line(mixture: GaussianMixture) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights, means and standard deviations of a mixture with d = 1, each (1, K)."""
    spreads = mixture.covariances[:, 0, 0].sqrt()
    return tuple(a[None] for a in (mixture.weights.log(), mixture.means[:, 0], spreads))


def _log_cdf(u: Tensor, log_weights: Tensor) -> Tensor:
    """log F from the standardized distances u of shape (B, K); (B,)."""
    return torch.logsumexp(log_weights + torch.special.log_ndtr(u), 1)


def _score_of_log(log_probability: Tensor) -> Tensor:
    return torch.from_numpy(special.ndtri_exp(log_probability.numpy()))


def _normal_score(x: Tensor, log_weights: Tensor, means: Tensor, spreads: Tensor) -> Tensor:
    """Phi^{-1}(F(x)) at x of shape (B,); the mixtures are (1 or B, K)."""
    u = (x[:, None] - means) / spreads
    below, above = _log_cdf(u, log_weights), _log_cdf(-u, log_weights)
    score = _score_of_log(torch.minimum(below, above))
    return torch.where(below < above, score, -score)


def _inverse_normal_score(
    score: Tensor, log_weights: Tensor, means: Tensor, spreads: Tensor
) -> Tensor:
    """The x with Phi^{-1}(F(x)) = score, of shape (B,); the mixtures are (1 or B, K).

    The quantile lies between the smallest and the greatest quantile of a component. Within these
    bounds, Newton's method for the normal score, which is a straight line for a single Gaussian
    and nearly one in the tails of a mixture; bisection where Newton's step leaves the bounds or
    is not half as long as the one before. Positive scores are mirrored, so that only lower tails
    occur.
    """
    sign = torch.where(score > 0, -1.0, 1.0).to(score)
    score = sign * score
    log_weights, means, spreads = (
        a.expand(len(score), -1) for a in (log_weights, sign[:, None] * means, spreads)
    )
    quantiles = means + spreads * score[:, None]
    low, high = quantiles.amin(1), quantiles.amax(1)
    x = (log_weights.exp() * quantiles).sum(1).clamp(low, high)
    last_step = high - low
    open_ = torch.arange(len(score))  # points not found yet
    while len(open_):
        step, above = _newton_step(
            x[open_], score[open_], log_weights[open_], means[open_], spreads[open_]
        )
        high[open_] = torch.where(above, x[open_], high[open_])
        low[open_] = torch.where(above, low[open_], x[open_])
        new = x[open_] + step
        # A step that is not a number fails each comparison.
        sound = (new >= low[open_]) & (new <= high[open_])
        sound &= step.abs() <= 0.5 * last_step[open_]
        new = torch.where(sound, new, (low[open_] + high[open_]) / 2)
        last_step[open_] = (new - x[open_]).abs()
        x[open_] = new
        scale = spreads[open_].amin(1) + new.abs()
        open_ = open_[last_step[open_] > 4e-16 * scale]
    return sign * x


def _newton_step(
    x: Tensor, score: Tensor, log_weights: Tensor, means: Tensor, spreads: Tensor
) -> tuple[Tensor, Tensor]:
    """Newton's step towards the score, and whether x is beyond it."""
    u = (x[:, None] - means) / spreads
    found = _score_of_log(_log_cdf(u, log_weights))
    log_density = torch.logsumexp(log_weights - spreads.log() - u**2 / 2, 1)
    slope = (log_density + found**2 / 2).exp()  # the factors 1 / sqrt(2 pi) cancel
    return (score - found) / slope, found > score


# --- Certificates that a map is not optimal ---------------------------------------------------


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
    matrices = _double(jacobian)
    matrices = matrices / _unit(matrices, (1, 2))
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
    r"""Try to prove, with finitely many points around a center, that a map is not optimal.

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
    _, images = _as_pair(cycle, given, ("the cycle", "what transport_map returns"))
    rounding = torch.finfo(given.dtype).eps * images.norm(dim=1).max()
    change = torch.zeros_like(cycle)
    if refined is not None:
        coarse = images
        _, images = _as_pair(cycle, refined(cycle), ("the cycle", "what refined returns"))
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
    return _double(center), _double(jacobian), radius, points


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
    wanted = math.pi / math.atan(turn / 2) if turn > 0 else math.inf
    return max(3, math.ceil(min(wanted, most_points)))
