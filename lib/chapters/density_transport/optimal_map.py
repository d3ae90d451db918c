"""How far the flow of the S-curve is from the optimal map, latent by latent."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from diffot.errors import as_number, as_whole_number, require_type
from diffot.estimates import columns, mean, of_sums
from diffot.flows.exact import ExactFlow
from diffot.laws import toy
from diffot.seeds import generator
from diffot.transport.bounds import excess_bounds
from diffot.transport.triangular import knothe_rosenblatt_map

_SPLITS = 2  # of cells where the flow tears the ends of the curve apart


@dataclass(frozen=True)
class OptimalMapTask:
    """The optimal map by a potential, and latents at which maps are compared.

    Args:
        spacing, cells: see :func:`~diffot.transport.bounds.excess_bounds`.
        n: number of latents from N(0, I). seed: of these.
        components: of the mixture that stands for the S-curve.
    """

    spacing: float
    cells: int
    n: int
    seed: int = 0
    components: int = 400

    def __post_init__(self):
        object.__setattr__(self, "spacing", as_number(self.spacing, "spacing", above=0))
        for name, least in (("cells", 8), ("n", 2), ("seed", 0), ("components", 1)):
            object.__setattr__(self, name, as_whole_number(getattr(self, name), name, least))


def measure_distances(task: OptimalMapTask) -> dict[str, float]:
    """How far maps of the S-curve are from each other.

    Returns:
        One row. Mean distances between the images of a latent, each with a standard error:
        ``to_optimal``, of the flow from the gradient of the fitted potential; ``to_cdf``, of the
        flow from the Knothe-Rosenblatt map, x first; ``ratio`` of the second to the first.
        ``lower`` and ``upper``, each with its numerical error: bounds of the flow's excess.
    """
    require_type(task, OptimalMapTask, "task", "an OptimalMapTask")
    law = toy.s_curve_mixture(task.components)
    flow = ExactFlow(law, 1e-6)
    bracket = excess_bounds(flow, task.spacing, task.cells, splits=_SPLITS)
    draws = generator(task.seed, "latents of the optimal map")
    z = torch.randn(task.n, 2, dtype=torch.float64, generator=draws)
    x = flow.decode(z)
    optimal = (x - bracket.potential.decode(z)).norm(dim=1)
    cdf = (x - knothe_rosenblatt_map(law)(z)).norm(dim=1)
    return {
        **columns("to_optimal", mean(optimal)),
        **columns("to_cdf", mean(cdf)),
        **columns("ratio", of_sums(lambda a, b: a / b, cdf, optimal)),
        **columns("lower", bracket.lower),
        **columns("upper", bracket.upper),
    }
