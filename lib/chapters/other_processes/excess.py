r"""How far the maps of several processes are from optimal, from N(0, I) to the same laws.

Kernels with heavy tails start from N(0, I) by their radial map. Processes that corrupt the two
coordinates at different rates, :math:`z_i = r_i x_{0,i} + \varepsilon_i` with a ratio
:math:`r_1 / r_2 = \kappa`, are diffusions in other units: their map is
:math:`D^{-1} T_D(z)`, :math:`D = \mathrm{diag}(\sqrt\kappa, 1 / \sqrt\kappa)`, :math:`T_D` the
flow's map to the law of :math:`D x_0`. In the limit one coordinate is made after the other, by
the map of Knothe and Rosenblatt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.errors import as_number, as_whole_number, require_known, require_type
from diffot.flows.exact import ExactFlow
from diffot.flows.kernel import KernelFlow
from diffot.laws import examples
from diffot.laws.mixtures import GaussianMixture, equal_mixture
from diffot.processes.kernels import StudentKernel
from diffot.transport.bounds import excess_bounds
from diffot.transport.nodes import nodes
from diffot.transport.points import TransportMap
from diffot.transport.triangular import knothe_rosenblatt_map

_TOLERANCE = 1e-6
_KERNEL_TOLERANCE = 1e-5  # of flows that take long


def tilted_gaussian() -> GaussianMixture:
    """One Gaussian with variances 2.25 and 0.25, its long axis at 30 degrees."""
    angle = math.pi / 6
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    ).double()
    covariance = turn @ torch.diag(torch.tensor([2.25, 0.25]).double()) @ turn.T
    return GaussianMixture([1.0], [[0.0, 0.0]], covariance[None])


def two_modes() -> GaussianMixture:
    """Two equal round Gaussians, at an angle of 30 degrees: the flow's map is optimal."""
    center = [1.5 * math.cos(math.pi / 6), 1.5 * math.sin(math.pi / 6)]
    return equal_mixture([center, [-c for c in center]], 0.25)


def four_modes() -> GaussianMixture:
    """Four round Gaussians that overlap a little."""
    return equal_mixture([[1.0, 1.0], [-1.5, 1.2], [-1.4, -1.3], [1.3, -1.4]], 0.36)


LAWS = {
    "one Gaussian": tilted_gaussian,
    "two modes": two_modes,
    "four modes": four_modes,
    "V": examples.bent_pair,
}


def stretched(law: GaussianMixture, units: Tensor) -> GaussianMixture:
    """The law of points whose coordinates are multiplied by ``units``, shape (d,)."""
    covariances = units[:, None] * law.covariances * units
    return GaussianMixture(law.weights, law.means * units, covariances)


def anisotropic_map(law: GaussianMixture, ratio: float, tolerance: float) -> TransportMap:
    """The map of the diffusion whose first coordinate has the signal-to-noise ratio of the
    second times ``ratio``, in amplitudes; points in the plane."""
    ratio = as_number(ratio, "ratio", above=0)
    units = torch.tensor([math.sqrt(ratio), 1 / math.sqrt(ratio)]).double()
    flow = ExactFlow(stretched(law, units), tolerance)
    return lambda z: flow.decode(z) / units


def _student(dof: float) -> Callable[[GaussianMixture], TransportMap]:
    return lambda law: KernelFlow(law, StudentKernel(dof), _KERNEL_TOLERANCE).decode


def _anisotropic(ratio: float) -> Callable[[GaussianMixture], TransportMap]:
    return lambda law: anisotropic_map(law, ratio, _TOLERANCE)


KERNELS = {
    "diffusion": lambda law: ExactFlow(law, _TOLERANCE).decode,
    **{f"D = {dof}": _student(dof) for dof in (16, 8, 4, 2)},
    "Poisson (D = 1)": _student(1),
}
RATIOS = {
    "second coordinate first": lambda law: knothe_rosenblatt_map(law, [1, 0]),
    **{f"ratio 1/{k}": _anisotropic(1 / k) for k in (16, 4, 2)},
    **{f"ratio {k}": _anisotropic(k) for k in (2, 4, 16)},
    "first coordinate first": knothe_rosenblatt_map,
}
NEARLY_EQUAL = {f"ratio {k:g}": _anisotropic(k) for k in (0.7, 0.8, 0.9, 1.1)}
PROCESSES = {**KERNELS, **RATIOS, **NEARLY_EQUAL}


@dataclass(frozen=True)
class CostTask:
    """A process whose map's cost is measured.

    Args:
        law: a name in :data:`LAWS`. process: a name in :data:`PROCESSES`.
        spacing: of the grid of latents.
    """

    law: str
    process: str
    spacing: float

    def __post_init__(self):
        require_known(self.law, "law", list(LAWS))
        require_known(self.process, "process", list(PROCESSES))
        object.__setattr__(self, "spacing", as_number(self.spacing, "spacing", above=0))

    def decode(self) -> TransportMap:
        """The process's map to the law."""
        return PROCESSES[self.process](LAWS[self.law]())


@dataclass(frozen=True)
class ExcessTask(CostTask):
    """A process whose map from N(0, I) is compared with the optimal one.

    Args:
        law: a name in :data:`LAWS`. process: a name in :data:`PROCESSES`.
        spacing, cells: see :func:`~diffot.transport.bounds.excess_bounds`.
    """

    cells: int

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "cells", as_whole_number(self.cells, "cells", least=8))


def measure_excess(task: ExcessTask) -> dict[str, float]:
    """Cost of the process's map, and its relative excess from both sides."""
    require_type(task, ExcessTask, "task", "an ExcessTask")
    return excess_bounds(task.decode(), task.spacing, task.cells).row()


def measure_cost(task: CostTask) -> dict[str, float]:
    """Mean squared distance of latents from their points, on two grids whose nodes lie between
    each other's.

    Where a map is steep the quadrature's error is that of the steep places, and much the same for
    all maps to one law: differences of costs on one grid are known better than costs.
    """
    require_type(task, CostTask, "task", "a CostTask")
    decode = task.decode()
    grids = [nodes(decode, task.spacing, 6.0, (offset, 0.25)) for offset in (0.0, 0.5)]
    return {"cost": grids[0].cost, "cost_between": grids[1].cost}
