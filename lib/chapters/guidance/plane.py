"""Guided flows in the plane, where the denoisers and the classifier are exact.

Each ``measure`` function returns one row of a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.guidance import GuidedDenoiser, IntervalDenoiser, conditional_law
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_known,
    require_points,
    require_type,
)
from diffot.estimates import Estimate, columns, mean, quantile
from diffot.flows.probability import ProbabilityFlow
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture
from diffot.laws.quasi_random import quasi_normal
from diffot.learning.measured import set_whole_numbers
from diffot.processes.schedules import Rectified, Schedule
from diffot.seeds import generator
from diffot.transport.bounds import excess_bounds
from diffot.transport.certificates import jacobian_asymmetry

FAR = 5.0  # standard deviations of a mode: a point further from all of them is stranded
TOLERANCE = 1e-6  # of the flows
_COARSE = 1e-5  # of flows whose velocity jumps
_REACH = 8.0  # standard deviations of the widest mode around all of them, for quadratures
_SPLITS = 3  # of cells over which a guided flow tears the latents apart, see excess_bounds


def _overlapping() -> GaussianMixture:
    return equal_mixture([[1, 1], [-1.5, 1.2], [-1.4, -1.3], [1.3, -1.4]], 0.36)


_CONDITIONS = {
    "near mode of L.1b": (lambda: thesis_mixture("Low2DASymMix"), (0,)),
    "one of four": (_overlapping, (0,)),
    "two of four": (_overlapping, (0, 2)),
}
CONDITIONS = tuple(_CONDITIONS)


@dataclass(frozen=True, eq=False)
class Condition:
    """A mixture, and those of its components that are the class.

    Attributes:
        law: the mixture. components: of the class.
    """

    law: GaussianMixture
    components: tuple[int, ...]

    @property
    def part(self) -> GaussianMixture:
        """The law of the class."""
        return conditional_law(self.law, self.components)

    @property
    def prior(self) -> Tensor:
        """The probability of the class."""
        return self.law.weights[list(self.components)].sum()

    def guided(self, weight: float, schedule: Schedule | None = None) -> GuidedDenoiser:
        """The exact guided denoiser; with the rectified schedule if none is given."""
        schedule = schedule or Rectified()
        return GuidedDenoiser(
            ExactDenoiser(self.law, schedule), ExactDenoiser(self.part, schedule), weight
        )

    def flow(self, weight: float, tolerance: float = TOLERANCE) -> ProbabilityFlow:
        """The guided flow from N(0, I), at infinite time."""
        return ProbabilityFlow(self.guided(weight), tolerance)

    def probability(self, x: Tensor) -> Tensor:
        """Of the class given points without noise, p(y | x), shape (B,)."""
        return (self.prior.log() + self.part.log_prob(x) - self.law.log_prob(x)).exp()

    def destination(self, x: Tensor) -> Tensor:
        """The index of the most likely component of each point, or -1 if it is stranded: more
        than ``FAR`` standard deviations away from every mode."""
        require_points(x, self.law.dim)
        deviations = self.law.covariances.diagonal(dim1=1, dim2=2).mean(1).sqrt()
        near = (torch.cdist(x.double(), self.law.means) / deviations).amin(1) <= FAR
        return torch.where(near, self.law.mode(x), -1)

    def settled(self, x: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Which of the places m_j + w (m_y - m_j) is nearest to each point, shape (B,), and how
        far away it is. The class must be a single component.

        At weights of at most 1 there is one place for each component, that of y being m_y.
        """
        require(
            len(self.components) == 1,
            f"the class has {len(self.components)} components; expected one, with one center",
        )
        goal = self.law.means[self.components[0]]
        places = self.law.means + weight * (goal - self.law.means)
        return torch.cdist(x.double(), places).min(1)[::-1]


def condition(name: str) -> Condition:
    """One of the chapter's laws with a class, a name in :data:`CONDITIONS`."""
    require_known(name, "condition", CONDITIONS)
    law, components = _CONDITIONS[name]
    return Condition(law(), components)


@dataclass(frozen=True)
class Tilted:
    r"""The law :math:`p(x)\, p(y \mid x)^w / Z`, by quadrature.

    Attributes:
        share: of points that belong to the class, p(y | x) > 1/2; its error is half the
            difference of two quadratures.
        mean: one number for each coordinate. trace: of the covariance.
    """

    share: Estimate
    mean: tuple[float, ...]
    trace: float


def tilted(case: Condition, weight: float, nodes: int = 500) -> Tilted:
    """The tilted law of a condition, in one dimension or two.

    Args:
        weight: w, at least 0. nodes: of the grid, per axis; the second grid has 1.1 times more.
    """
    require_type(case, Condition, "case", "a Condition")
    weight = as_number(weight, "weight", at_least=0)
    nodes = as_whole_number(nodes, "nodes", least=50)
    (share, center, trace), (again, _, _) = (
        _tilted_moments(case, weight, count) for count in (nodes, int(1.1 * nodes))
    )
    return Tilted(Estimate((share + again) / 2, abs(share - again) / 2), center, trace)


def _tilted_moments(
    case: Condition, weight: float, nodes: int
) -> tuple[float, tuple[float, ...], float]:
    """Share, mean and trace of the covariance on one grid (trapezoidal rule)."""
    margin = _REACH * float(case.law.covariances.diagonal(dim1=1, dim2=2).max()) ** 0.5
    low, high = case.law.means.amin(0) - margin, case.law.means.amax(0) + margin
    lines = [torch.linspace(*ends, nodes, dtype=torch.float64) for ends in zip(low, high)]
    x = torch.cartesian_prod(*lines).reshape(-1, case.law.dim)
    log_whole = case.law.log_prob(x)
    log_class = case.prior.log() + case.part.log_prob(x) - log_whole
    mass = torch.softmax(log_whole + weight * log_class, 0)
    center = mass @ x
    share = mass @ (log_class > torch.tensor(0.5).log()).double()
    return float(share), tuple(center.tolist()), float(mass @ (x - center).square().sum(1))


@dataclass(frozen=True)
class WeightTask:
    """A condition and a weight of guidance, measured on several sets of even latents.

    Attributes:
        condition: a name in :data:`CONDITIONS`.
        weight: of guidance, at least 0.
        latents: in each set, at least 8, best a power of two.
        sets: how many, at least 2; independent scramblings.
        seed: of the latents.
    """

    condition: str
    weight: float
    latents: int
    sets: int
    seed: int = 0

    def __post_init__(self):
        require_known(self.condition, "condition", CONDITIONS)
        object.__setattr__(self, "weight", as_number(self.weight, "weight", at_least=0))
        set_whole_numbers(self, latents=8, sets=2, seed=0)

    def draws(self) -> list[Tensor]:
        """The sets of latents, the same for all weights and conditions."""
        return [
            quasi_normal(self.latents, 2, generator(self.seed, f"guidance in the plane {i}"))
            for i in range(self.sets)
        ]


def measure_weight(task: WeightTask) -> dict[str, float]:
    """Where the guided flow takes latents: :func:`flow_columns`."""
    require_type(task, WeightTask, "task", "a WeightTask")
    case = condition(task.condition)
    return flow_columns(case, case.flow(task.weight), task.draws())


@dataclass(frozen=True)
class IntervalTask:
    """Guidance in an interval of noise levels, and the class alone outside of it.

    Attributes:
        condition, weight, latents, sets, seed: as in :class:`WeightTask`.
        low, high: of the noise level sigma / alpha; see
            :class:`~diffot.denoisers.guidance.IntervalDenoiser`.
    """

    condition: str
    weight: float
    low: float
    high: float
    latents: int
    sets: int
    seed: int = 0

    def __post_init__(self):
        of_weight = WeightTask(self.condition, self.weight, self.latents, self.sets, self.seed)
        for name in ("weight", "latents", "sets", "seed"):
            object.__setattr__(self, name, getattr(of_weight, name))
        object.__setattr__(self, "low", as_number(self.low, "low", at_least=0))
        object.__setattr__(self, "high", as_number(self.high, "high", above=self.low))


def measure_interval(task: IntervalTask) -> dict[str, float]:
    """Where the flow with guidance in an interval takes latents: :func:`flow_columns`."""
    require_type(task, IntervalTask, "task", "an IntervalTask")
    case = condition(task.condition)
    denoiser = IntervalDenoiser(case.guided(task.weight), case.guided(1.0), task.low, task.high)
    draws = WeightTask(task.condition, task.weight, task.latents, task.sets, task.seed).draws()
    return flow_columns(case, ProbabilityFlow(denoiser, _COARSE), draws)


def flow_columns(
    case: Condition, guided: ProbabilityFlow, sets: list[Tensor]
) -> dict[str, float]:
    """Where a guided flow takes latents, and its Jacobian there.

    Args:
        sets: of latents, at least two, of equal size, shape (B, 2) each.

    Returns:
        One row. With standard errors over the sets: ``share`` of points that belong to the
        class, p(y | x) > 1/2; ``stranded``, the share far from every mode; ``trace``, that of
        the covariance; ``mean``, that of both coordinates. Over all latents: ``entered`` and
        ``left``, how many belong to the class with guidance and not without, and the other way
        around. On the first set: ``asymmetry``, the median, with its error, and ``folded``,
        the share of Jacobians whose symmetric part is not positive.
    """
    free = case.flow(0.0)
    points = [guided.decode(z) for z in sets]
    inside = torch.stack([case.probability(x) > 0.5 for x in points])
    before = torch.stack([case.probability(free.decode(z)) > 0.5 for z in sets])

    def over_sets(value: Callable[[Tensor], Tensor]) -> Estimate:
        return mean(torch.stack([value(x).double() for x in points]))

    jacobian = guided.jacobian(sets[0])
    positive = torch.linalg.eigvalsh((jacobian + jacobian.mT) / 2).amin(1) > 0
    return {
        **columns("share", mean(inside.double().mean(1))),
        **columns("stranded", over_sets(lambda x: (case.destination(x) < 0).double().mean())),
        **columns("trace", over_sets(lambda x: x.var(0).sum())),
        **columns("mean", over_sets(lambda x: x.mean())),
        "entered": int((inside & ~before).sum()),
        "left": int((before & ~inside).sum()),
        **columns("asymmetry", quantile(jacobian_asymmetry(jacobian))),
        "folded": float((~positive).double().mean()),
    }


@dataclass(frozen=True)
class BracketTask:
    """A guided flow whose excess is bracketed.

    Attributes:
        condition, weight: as in :class:`WeightTask`.
        spacing, cells: see :func:`~diffot.transport.bounds.excess_bounds`.
    """

    condition: str
    weight: float
    spacing: float
    cells: int

    def __post_init__(self):
        require_known(self.condition, "condition", CONDITIONS)
        object.__setattr__(self, "weight", as_number(self.weight, "weight", at_least=0))
        object.__setattr__(self, "spacing", as_number(self.spacing, "spacing", above=0))
        object.__setattr__(self, "cells", as_whole_number(self.cells, "cells", least=8))


def measure_bracket(task: BracketTask) -> dict[str, float]:
    """Cost of the guided flow, and its relative excess over the optimal map to its own output
    from both sides, with its numerical errors."""
    require_type(task, BracketTask, "task", "a BracketTask")
    flow = condition(task.condition).flow(task.weight)
    return excess_bounds(flow, task.spacing, task.cells, splits=_SPLITS).row()
