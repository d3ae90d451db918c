r"""Transport maps, and how far they are from optimal.

A transport map pairs every point x with a point y. Its cost is the mean squared distance; the
optimal pairing of the same points is the cheapest one, and

.. math:: \text{relative excess} = \frac{\text{paired} - \text{optimal}}{\text{optimal}}

says by how much a pairing misses it. (W1, the mean distance, is the case ``order=1``.)
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import ot
import torch
from scipy import sparse
from scipy.spatial import cKDTree, distance
from torch import Tensor

from diffot.errors import (
    as_classes,
    as_whole_number,
    require,
)
from diffot.transport.points import as_pair, unit_of

_NEIGHBORS = 16  # with which swaps are tried first
_SLACK = 1e-13  # rounding in the price of a pair, as a share of the largest cost


def transport_cost(x: Tensor, y: Tensor, order: int = 2) -> float:
    r"""Cost of moving each x_i to y_i: the mean of :math:`\|x_i - y_i\|^p`, p = ``order``.

    The integral of thesis eq. 3.50 and of Khrulkov et al. 2023, eq. 13, over a sample.

    Args:
        x, y: shape (n, d). order: a whole number, at least 1.

    Raises:
        ValueError: if the shapes differ, a value is not finite, or the cost is too large.
    """
    x, y = as_pair(x, y)
    order = as_whole_number(order, "order", least=1)
    unit = float(unit_of(torch.cat([x, y])))  # powers of 1e-200 or 1e200 leave float64
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

    (Khrulkov et al. 2023, eq. 12, for equal masses; thesis eq. 3.50.) Solved exactly by POT's
    network simplex (Bonneel et al. 2011; Flamary et al. 2021). Memory grows as n^2 and time a
    little faster: about a second at n = 2500, four at n = 5000. From a guess that is nearly
    optimal it takes a fifth or less: only swaps among neighbors are tried, and prices (dual
    variables) then show whether any other pair could lower the cost; such pairs are let in until
    there is no new one.

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
    x, y = as_pair(x, y)
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
        plan, (source, target) = _emd(
            sparse.coo_matrix((costs[rows, columns], (rows, columns)), (n, n))
        )
        cheaper = _cheaper_pairs(costs, source, target, pairs)
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
    points = points / unit_of(points)
    points = points - points.mean(0)
    return points / unit_of(points)


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
    costs: np.ndarray, source: np.ndarray, target: np.ndarray, priced: np.ndarray
) -> np.ndarray:
    """Numbers n i + j of pairs that cost less than their prices, the five cheapest per i.

    The pairs already priced, sorted, are left out: they are at their prices up to rounding.
    """
    n = len(costs)
    cheaper = [np.empty(0, dtype=np.int64)]
    for start in range(0, n, 256):
        slack = costs[start : start + 256] - source[start : start + 256, None] - target
        first, last = np.searchsorted(priced, (n * start, n * (start + 256)))
        slack.ravel()[priced[first:last] - n * start] = 0
        bad = np.flatnonzero(slack.min(1) < -_SLACK)
        if len(bad):
            slack = slack[bad]
            columns = np.argsort(slack, 1)[:, :5]
            rows = np.broadcast_to(bad[:, None] + start, columns.shape)
            below = np.take_along_axis(slack, columns, 1) < -_SLACK
            cheaper.append((n * rows + columns)[below])
    return np.concatenate(cheaper)


def relative_excess_cost(x: Tensor, y: Tensor, optimal: Tensor | None = None) -> float:
    """(paired - optimal) / optimal for the pairs (x_i, y_i), squared distance; 0 is optimal.

    This is the relative error of Khrulkov et al. 2023, section 3.4. On n sampled points it
    understates, in the mean, the excess of the map they come from: the cost can only be lowered
    by swaps among the sampled points. It has no unit of length, and moving x and y by the same
    vector does not change it.

    Args:
        x, y: shape (n, d).
        optimal: y in the optimal order, where that is known already.

    Raises:
        ValueError: if the shapes differ, a value is not finite, or the optimal cost is 0 and the
            other is not.
    """
    pair = as_pair(x, y)
    if optimal is None:
        optimal = y[optimal_assignment(x, y, guess=torch.arange(len(x))).to(y.device)]
    _, optimal = as_pair(x, optimal, ("x", "optimal"))
    unit = unit_of(torch.cat([*pair, optimal]))
    x, y, optimal = (points / unit for points in (*pair, optimal))
    least, change = x - optimal, optimal - y
    unit = unit_of(torch.cat([least, change]))
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
