"""Basins of the flow of finitely many points against the cells of the optimal transport.

A basin is the set of latents that the flow takes to one of the points. Each ``measure`` function
returns one row of a table, with the columns of :func:`compare`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.data import faces
from diffot.denoisers.exact import ExactDenoiser
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_generator,
    require_known,
    require_points,
    require_type,
)
from diffot.estimates import columns, mean
from diffot.flows.probability import ProbabilityFlow
from diffot.laws.mixtures import thesis_mixture
from diffot.laws.points import PointSet
from diffot.learning.measured import set_whole_numbers
from diffot.processes.schedules import Rectified
from diffot.seeds import generator
from diffot.transport.semidiscrete import (
    LaguerreDiagram,
    approximate_diagram,
    optimal_diagram,
)

LAWS = ("normal", "Low2DASymMix")
STEPS = 5000  # of each of the two searches for weights
MANY = 2**16  # latents for the cost, where there is no closed form


@dataclass(frozen=True)
class PointsTask:
    """Points drawn at random, as a training set.

    Attributes:
        law: that they are drawn from: ``"normal"``, N(0, I), or ``"Low2DASymMix"``.
        dim: their dimension, at least 2.
        n: how many, at least 2.
        index: which set of that many.
        latents: for the comparison, at least 2.
        seed: of all draws.
    """

    law: str
    dim: int
    n: int
    index: int
    latents: int
    seed: int = 0

    def __post_init__(self):
        require_known(self.law, "law", LAWS)
        set_whole_numbers(self, dim=2, n=2, index=0, latents=2, seed=0)
        require(
            self.law == "normal" or self.dim == 2,
            f"dim is {self.dim}; expected 2 for {self.law}, a law in the plane",
        )

    def draw(self) -> tuple[Tensor, torch.Generator]:
        """The points, and the generator for what is drawn after them."""
        key = f"{self.n} points of {self.law} in dimension {self.dim}, set {self.index}"
        draws = generator(self.seed, key)
        if self.law == "normal":
            points = torch.randn(self.n, self.dim, dtype=torch.float64, generator=draws)
        else:
            points = thesis_mixture(self.law).sample(self.n, draws)
        return points, draws


@dataclass(frozen=True)
class FacesTask:
    """Drawn faces of 32 pixels as a training set.

    Attributes:
        n: how many, at least 2.
        index: which set: the first n, the next n, and so on.
        latents: for the comparison, at least 2.
        seed: of the latents.
    """

    n: int
    index: int
    latents: int
    seed: int = 0

    def __post_init__(self):
        set_whole_numbers(self, n=2, index=0, latents=2, seed=0)

    def draw(self) -> tuple[Tensor, torch.Generator]:
        """The images as rows of 3072 numbers, and the generator for latents."""
        images = faces.load(self.n * (self.index + 1)).images[-self.n :]
        draws = generator(self.seed, f"{self.n} faces, set {self.index}")
        return images.flatten(1).double(), draws


def measure_points(task: PointsTask) -> dict[str, float]:
    """The columns of :func:`compare` for one set of points."""
    require_type(task, PointsTask, "task", "a PointsTask")
    points, draws = task.draw()
    return compare(points, task.latents, draws)


def measure_faces(task: FacesTask) -> dict[str, float]:
    """The columns of :func:`compare` for one set of faces."""
    require_type(task, FacesTask, "task", "a FacesTask")
    images, draws = task.draw()
    return compare(images, task.latents, draws)


def flow_cells(points: Tensor, z: Tensor, tolerance: float = 1e-5) -> Tensor:
    """Index of the point to which the flow of the points takes each latent, from infinite time.

    It is the book's flow with the posterior mean of a data set in the place of a network; where
    it ends is a point to within the tolerance, and the nearest one is taken.

    Args:
        points: shape (n, d). z: latents, shape (B, d).
    """
    require_points(points, name="points")
    require_points(z, points.shape[1], "z")
    tolerance = as_number(tolerance, "tolerance", above=0, below=1)
    flow = ProbabilityFlow(ExactDenoiser(PointSet(points), Rectified()), tolerance)
    return torch.cdist(flow.decode(z), points).argmin(1)


@dataclass(frozen=True, eq=False)
class Span:
    """Points in the directions in which they differ.

    Both the flow and the optimal transport compare :math:`z \\cdot x_i` among the points, so
    that neither sees z along directions in which all points have the same coordinate.

    Attributes:
        points: their coordinates in an orthonormal basis of these directions, shape (n, r).
        basis: shape (d, r).
        cost: mean squared distance in all other directions, which no map can change.
    """

    points: Tensor
    basis: Tensor
    cost: float


def span_of(points: Tensor) -> Span:
    """The directions of the plane for points in the plane; otherwise at most n - 1.

    Args:
        points: shape (n, d), n >= 2, d >= 2.
    """
    require_points(points, name="points")
    n, d = points.shape
    require(n >= 2 and d >= 2, f"points has shape {(n, d)}; expected (n, d), both at least 2")
    points = points.double()
    if d == 2:
        return Span(points, torch.eye(2, dtype=torch.float64), 0.0)
    _, size, basis = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    basis = basis[size > 1e-10 * size[0]].T
    rest = points.mean(0) - basis @ (basis.T @ points.mean(0))
    return Span(points @ basis, basis, d - basis.shape[1] + float(rest.square().sum()))


@dataclass(frozen=True, eq=False)
class Optimal:
    """The optimal transport to equally likely points.

    Attributes:
        diagram: its cells.
        cost: mean squared distance between latents and their points.
        again: two diagrams that were found independently; in the plane, twice the same.
    """

    diagram: LaguerreDiagram
    cost: float
    again: tuple[LaguerreDiagram, LaguerreDiagram]


def optimal(points: Tensor, draws: torch.Generator) -> Optimal:
    """Exact in the plane; otherwise the mean of two searches for weights, so that the
    difference of the two says how far off they are.

    Args:
        points: distinct, shape (n, d).
    """
    require_points(points, name="points")
    require_generator(draws, "draws")
    n, d = points.shape
    equal = torch.full((n,), 1 / n, dtype=torch.float64)
    if d == 2:
        diagram = optimal_diagram(points, equal)
        return Optimal(diagram, diagram.cost(), (diagram, diagram))
    one, two = (approximate_diagram(points, equal, draws, STEPS) for _ in range(2))
    diagram = LaguerreDiagram(points, (one.weights + two.weights) / 2)
    z = torch.randn(MANY, d, dtype=torch.float64, generator=draws)
    return Optimal(diagram, float(dual_values(diagram, z).mean()), (one, two))


def dual_values(diagram: LaguerreDiagram, z: Tensor) -> Tensor:
    r"""Numbers whose mean over N(0, I) is at most the cost of any map that gives equal masses,
    and is that of the diagram's if it is optimal:
    :math:`\min_k (\|z - p_k\|^2 - w_k) + \bar w`, shape (B,)."""
    squares = (z - diagram.decode(z)).square().sum(1)
    return squares - diagram.weights[diagram.cells(z)] + diagram.weights.mean()


def compare(points: Tensor, latents: int, draws: torch.Generator) -> dict[str, float]:
    """The flow of the points against the optimal transport to them.

    Args:
        points: distinct, shape (n, d), n >= 2, d >= 2.
        latents: drawn from N(0, I), at least 2.

    Returns:
        One row: ``agreement``, the share of latents that both maps send to the same point, with
        its standard error over latents; ``excess``, the cost of the flow over the optimal cost
        less 1, with its error; ``lost``, the same difference as a share of what the optimal map
        saves over random pairs, with its error; ``nearest``, the share of latents that the
        optimal map sends to the nearest point; ``cost``, the optimal one; ``uneven``, chi-squared
        of the numbers of latents in the basins, in standard deviations from its expectation for
        equal masses; ``refit``, the agreement of the two searches for weights, and ``overshoot``,
        by how much ``excess`` is too large because of them (both estimates; 1 and 0 in the
        plane).
    """
    latents = as_whole_number(latents, "latents", least=2)
    span = span_of(points)
    n, d = span.points.shape
    best = optimal(span.points, draws)
    z = torch.randn(latents, d, dtype=torch.float64, generator=draws)
    chosen, cells = flow_cells(span.points, z), best.diagram.cells(z)
    cost = best.cost + span.cost
    saved = points.shape[1] + float(points.double().square().sum(1).mean()) - cost
    surplus = mean(best.diagram.surplus(z, chosen))
    one, two = best.again
    gap = dual_values(best.diagram, z) - (dual_values(one, z) + dual_values(two, z)) / 2
    counts = chosen.bincount(minlength=n).double()
    square = float((counts - latents / n).square().sum() * n / latents)
    return {
        **columns("agreement", mean((chosen == cells).double())),
        "excess": surplus.value / cost,
        "excess_error": surplus.error / cost,
        "lost": surplus.value / saved,
        "lost_error": surplus.error / saved,
        "nearest": float((torch.cdist(z, span.points).argmin(1) == cells).double().mean()),
        "cost": cost,
        "uneven": (square - (n - 1)) / math.sqrt(2 * (n - 1)),
        "refit": float((one.cells(z) == two.cells(z)).double().mean()),
        "overshoot": float(gap.mean()) / cost,
    }
