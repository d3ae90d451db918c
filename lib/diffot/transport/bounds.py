r"""The excess of a map from N(0, I) in the plane, from below and from above.

From above, by duality: for any function :math:`\varphi` with its true conjugate, the cost of a
map D exceeds the optimal one by at most

.. math:: G = 2\, E[\varphi(D(z)) + \varphi^*(z) - \langle z, D(z) \rangle],

and by exactly that for the optimal :math:`\varphi` (Villani 2009, theorem 5.10). From below, by a
rearrangement of the latents: it keeps N(0, I), and makes the pairing with their images cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import spsolve
from torch import Tensor

from diffot.errors import as_number, as_whole_number, require_type
from diffot.estimates import columns
from diffot.flows.maps import Map
from diffot.transport.fitting import fit_potential
from diffot.transport.nodes import Nodes, modes, nodes
from diffot.transport.pieces import inverse_roots
from diffot.transport.potentials import Potential
from diffot.transport.surfaces import DEGREE, Surface

# Of the grids for evaluation, in cells. No reflection or exchange of the axes maps one to
# another, and none has nodes on an axis, where maps of symmetric laws jump.
_OFFSETS = ((0.95, 0.7), (0.35, 0.95), (0.58, 0.55))
_COARSER = 2.4  # cells of stream functions, in spacings of the nodes, which have to resolve them
_RIDGE = 1e-8  # of the fields' linear system


@dataclass(frozen=True)
class Bound:
    """A bound, and the numerical error of its value: half the range of three quadratures."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Bounds:
    """What is known of the relative excess (cost - optimal) / optimal of a map.

    Attributes:
        lower, upper: of the relative excess.
        cost: mean squared distance between latents and their points.
        potential: the one of the upper bound; as a map, it is nearly the optimal one.
    """

    lower: Bound
    upper: Bound
    cost: float
    potential: Potential

    def row(self) -> dict[str, float]:
        """The numbers as a row of a table: ``cost``, ``lower``, ``upper``, and the errors."""
        return {
            "cost": self.cost,
            **columns("lower", self.lower),
            **columns("upper", self.upper),
        }


def excess_bounds(
    transport_map: Map | Callable[[Tensor], Tensor],
    spacing: float = 0.15,
    cells: int = 32,
    rounds: int = 3,
    reach: float = 6.0,
    splits: int = 0,
) -> Bounds:
    """Bracket the relative excess of a map from N(0, I) in the plane.

    Potential and rearrangement are fitted on one grid of latents and evaluated on three others,
    of the same spacing, which lie between its nodes; the bounds are means over these, the lower
    one at least 0. Mass
    outside the disk of radius ``reach`` is left out: 2e-8 for 6, 7e-10 for 6.5. The quadratures
    see features of the map down to their spacing. Where modes of the data are separated the map
    is steeper than that: their errors say so, and with ``splits`` cells over which it is steep
    are quartered. Then modes between which the map still jumps get a potential of their own each,
    and phi is the least of these; otherwise modes that are narrower than a cell of the potential
    make the upper bound wide, but not wrong.

    In other dimensions there is no such bracket here: a conjugate has to be a maximum over all
    points. :class:`~diffot.transport.potentials.Potential` is for the plane.

    Args:
        transport_map: a map, or its ``decode``: takes float64 latents (B, 2) to points (B, 2).
        spacing: of the grids, in (0, 0.5].
        cells: of the potential along each side of the box that holds the data, at least 8.
        rounds: greatest number of fields of the rearrangement, followed one after the other; ends
            where a further one promises less than a hundredth. 0 for none.
        reach: at least 5.
        splits: how often a cell of the grids is quartered where the map is steep, at most.

    Raises:
        TypeError, ValueError: for other arguments, or a map that returns other shapes.
    """
    decode = transport_map.decode if isinstance(transport_map, Map) else transport_map
    require_type(decode, Callable, "transport_map", "a Map or a function of points (B, 2)")
    spacing = as_number(spacing, "spacing", above=0, at_most=0.5)
    cells = as_whole_number(cells, "cells", least=8)
    rounds = as_whole_number(rounds, "rounds", least=0)
    reach = as_number(reach, "reach", at_least=5)
    splits = as_whole_number(splits, "splits", least=0)
    fitted = nodes(decode, spacing, reach, splits=splits)
    evaluated = [nodes(decode, spacing, reach, offset, splits) for offset in _OFFSETS]
    others = np.concatenate([part.x for part in evaluated])
    mode = modes(fitted) if splits else np.zeros(len(fitted.z), int)
    potential = fit_potential(fitted, mode, others, cells)
    gains = saved(potential, fitted, evaluated, rounds)
    lower = [gain / (part.cost - gain) for gain, part in zip(gains, evaluated)]
    gaps = [duality_gap(potential, part) for part in evaluated]
    upper = [gap / (part.cost - gap) for gap, part in zip(gaps, evaluated)]
    cost = sum(part.cost for part in evaluated) / len(evaluated)
    return Bounds(_bound(lower, least=0.0), _bound(upper), cost, potential)


def _bound(values: list[float], least: float = -math.inf) -> Bound:
    return Bound(max(least, sum(values) / len(values)), (max(values) - min(values)) / 2)


def duality_gap(potential: Potential, part: Nodes) -> float:
    """Upper bound on cost minus optimal cost."""
    gaps = potential.gaps(torch.from_numpy(part.z), torch.from_numpy(part.x))
    return 2 * part.mean(gaps.numpy())


def saved(
    potential: Potential, fitted: Nodes, evaluated: list[Nodes], rounds: int = 3
) -> list[float]:
    r"""What a rearrangement of the latents saves: lower bounds on cost minus optimal cost.

    Each round follows for unit time a field :math:`\nabla^\perp \psi - \psi\, y^\perp`, which
    keeps N(0, I). Since the law of :math:`\chi(z)` is that of z for the composition
    :math:`\chi` of all, the saving is :math:`2 E \langle \chi(z) - z, D(z) \rangle`. To second
    order in the field, w, it is :math:`2 E \langle w, D \rangle - E \langle w, H w \rangle` near
    the optimum, with H the Jacobian of the optimal map.

    Args:
        fitted: the pairs that fields are chosen for. evaluated: those that savings are for.
        rounds: greatest number of fields.

    Returns:
        One number for each of ``evaluated``; below 0 where the fields chosen save nothing there.
    """
    places = [part.z for part in (fitted, *evaluated)]
    sizes = np.cumsum([len(z) for z in places])[:-1]
    size = max(np.abs(z).max() for z in places) + 1.0
    spacing = fitted.side.max()
    cells = max(2 * DEGREE + 2, int(2 * size / (_COARSER * spacing)))
    streams = Surface.flat(np.full(2, -size), np.full(2, size), cells)
    best = 0.0
    for _ in range(rounds):
        field, promised = _best_field(streams, places[0], fitted, potential)
        if promised < 0.01 * best:
            break
        for length in (1.0, 0.5, 0.25):
            stream = streams.plus(length * field)
            moved = np.split(_follow(np.concatenate(places), stream), sizes)
            gain = _saving(moved[0], fitted)
            if gain > best:
                break
        else:
            break
        places, best = moved, gain
    return [_saving(moved, part) for moved, part in zip(places[1:], evaluated)]


def _saving(moved: np.ndarray, part: Nodes) -> float:
    """2 E <chi(z) - z, D(z)>; D about its mean, which changes nothing but rounding."""
    centered = part.x - part.mass @ part.x
    return 2 * part.mean(((moved - part.z) * centered).sum(1))


def _best_field(
    streams: Surface, y: np.ndarray, part: Nodes, potential: Potential
) -> tuple[np.ndarray, float]:
    """Coefficients of the stream function that saves most to second order, and that saving.
    Those at the edge of the box are zero, so that the field ends there smoothly."""
    inner = np.zeros(streams.coefficients.shape, bool)
    inner[DEGREE:-DEGREE, DEGREE:-DEGREE] = True
    kept = np.flatnonzero(inner.ravel())
    design = streams.design(y)
    along = -(design.slopes[1] - y[:, 1:] * design.value)
    across = design.slopes[0] - y[:, :1] * design.value
    image = (part.x - part.mass @ part.x) * part.mass[:, None]
    linear = design.matrix(along).T @ image[:, 0] + design.matrix(across).T @ image[:, 1]
    jacobian = potential.jacobian(torch.from_numpy(y), part.side).numpy()
    first, second = inverse_roots(np.linalg.inv(jacobian), 1e-2)
    weights = np.sqrt(part.mass)[:, None]
    rows = design.matrix(
        *(weights * (root[:, :1] * along + root[:, 1:] * across) for root in (first, second))
    )[:, kept]
    matrix = (rows.T @ rows).tocsc()
    matrix.setdiag(matrix.diagonal() + _RIDGE * matrix.diagonal().max())
    field = np.zeros(inner.size)
    field[kept] = spsolve(matrix, linear[kept], permc_spec="MMD_AT_PLUS_A")
    return field, float(linear @ field)


def _follow(y: np.ndarray, stream: Surface) -> np.ndarray:
    """Where the field takes the points in unit time; (P, 2)."""

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        at = np.clip(flat.reshape(-1, 2), stream.low, stream.high)
        value, slope = stream.jet(at)[:2]
        field = np.stack([-(slope[:, 1] - at[:, 1] * value), slope[:, 0] - at[:, 0] * value], 1)
        return field.ravel()

    return solve_ivp(velocity, (0, 1), y.ravel(), rtol=1e-6, atol=1e-7).y[:, -1].reshape(-1, 2)
