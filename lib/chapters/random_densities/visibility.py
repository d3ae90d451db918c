"""How much of a map's excess a finite sample shows.

Each ``measure`` function measures one random law in many ways and returns one row of a table,
whose key is its task; a sweep (:mod:`bookkit.sweeps`) calls it for many laws. The columns:

- ``components``: of the mixture;
- ``cost``, ``relative_error``: mean squared distance and relative excess on the first 2500
  points, the two numbers of Khrulkov et al. (2023, section 3.4);
- ``excess_N``, ``error_N``: relative excess on N points, mean over disjoint subsamples of one
  cloud and the standard error of that mean (0 where there is one subsample);
- ``unmoved_N``: share of these subsamples for which the optimal assignment is the map's own;
- ``asymmetry``: of the Jacobian of the decoder, mean over N(0, I);
- ``folded``: share of N(0, I) where the symmetric part of that Jacobian is not positive definite,
  so that two points suffice to see that the map is not optimal;
- ``certified``: 1 if a numerical certificate, a cycle of points, says that it is not optimal;
  ``gain`` and ``cycle``: what the certificate gains, in mean squared distance, and its length;
- ``lower``, ``upper``, each with an ``_error``: bracket of that excess, with its numerical errors
  (:func:`~diffot.transport.bounds.excess_bounds`; densities in the plane only);
- ``map_error``: root mean square distance from the same map, computed more finely, at 200 points
  (densities only).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffot.errors import (
    as_whole_number,
    require_generator,
    require_known,
    require_type,
)
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow
from diffot.laws.densities import FAMILIES, QuarticMixture, random_density
from diffot.laws.mixtures import GaussianMixture
from diffot.seeds import generator
from diffot.transport import bounds
from diffot.transport.assignment import relative_excess_cost, transport_cost
from diffot.transport.certificates import CycleCertificate, find_certificate, jacobian_asymmetry

CLOUD = 5000
SUBSAMPLES = {500: 10, 1000: 5, 2500: 2, 5000: 1}  # disjoint, of one cloud

# Spacing of the grid of latents for the asymmetry: the more separated the components, the finer
# are the folds of the map between them.
_SPACING = {"compact": 0.3, "separated": 0.2}
_REACH = 5.0
_BRACKETS: dict[str, dict[str, Any]] = {
    "compact": {"spacing": 0.25, "cells": 24},
    "separated": {"spacing": 0.2, "cells": 24, "splits": 3},
}


@dataclass(frozen=True)
class DensityTask:
    """A random density of Khrulkov et al. (2023, section 3.4).

    Attributes:
        family: of :func:`~diffot.laws.densities.random_density`.
        index, seed: which of the family's laws.
    """

    family: str
    index: int
    seed: int = 0

    def __post_init__(self):
        require_known(self.family, "family", FAMILIES)
        _set_whole_numbers(self, "index", "seed")

    def law(self) -> tuple[QuarticMixture, torch.Generator]:
        """The density, and the generator for what is drawn from it."""
        draws = generator(self.seed, f"{self.family} density {self.index}")
        return random_density(self.family, draws), draws


@dataclass(frozen=True)
class BracketTask:
    """A density whose excess is bounded from below and from above."""

    family: str
    index: int
    seed: int = 0

    def __post_init__(self):
        DensityTask(self.family, self.index, self.seed)
        _set_whole_numbers(self, "index", "seed")


@dataclass(frozen=True)
class MixtureTask:
    """A random Gaussian mixture, by the dimension, and which of the laws of that dimension."""

    dim: int
    index: int
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "dim", as_whole_number(self.dim, "dim", least=2))
        _set_whole_numbers(self, "index", "seed")

    def law(self) -> tuple[GaussianMixture, torch.Generator]:
        """The mixture, and the generator for what is drawn from it."""
        draws = generator(self.seed, f"mixture {self.index} in dimension {self.dim}")
        return random_gaussian_mixture(self.dim, draws), draws


def _set_whole_numbers(task: object, *names: str) -> None:
    for name in names:
        object.__setattr__(task, name, as_whole_number(getattr(task, name), name, least=0))


def measure_density(task: DensityTask) -> dict:
    """The columns above, of a density and its encoder on [0, 8]."""
    require_type(task, DensityTask, "task", "a DensityTask")
    density, draws = task.law()
    x = density.sample(CLOUD, draws)
    codes = DensityFlow(density).encode(x)
    finer = DensityFlow(density, tolerance=1e-11, nodes=320).encode(x[:200])

    spacing = _SPACING[task.family]
    line = torch.arange(-_REACH + spacing / 2, _REACH, spacing, dtype=torch.float64)
    latents = torch.cartesian_prod(line, line)
    jacobians = DensityFlow(density, tolerance=1e-6).decode_with_jacobian(latents)[1]
    mass = torch.exp(-(latents**2).sum(1) / 2)
    mass = mass / mass.sum()
    likely = latents.norm(dim=1) < 3
    certificate = find_certificate(
        DensityFlow(density).decode,
        DensityFlow(density, tolerance=1e-10, nodes=256).decode,
        latents[likely],
        jacobians[likely],
        most_points=20_000,
    )
    return {
        "components": len(density.a1),
        **_sample_columns(x, codes),
        **_jacobian_columns(jacobians, mass),
        **_certificate_columns(certificate),
        "map_error": float((finer - codes[:200]).square().sum(1).mean().sqrt()),
    }


def measure_bracket(task: BracketTask) -> dict:
    """The excess of the decoder of one random density, from both sides."""
    require_type(task, BracketTask, "task", "a BracketTask")
    density, _ = DensityTask(task.family, task.index, task.seed).law()
    flow = DensityFlow(density, tolerance=1e-5)
    return bounds.excess_bounds(flow, **_BRACKETS[task.family]).row()


def random_gaussian_mixture(dim: int, draws: torch.Generator) -> GaussianMixture:
    """Two to four Gaussians of any shape: centers from N(0, 2 I), weights from 1/2 to 1 before
    they are normalized, standard deviations along random axes from 0.3 to 1 (uniform in the
    logarithm)."""
    dim = as_whole_number(dim, "dim", least=2)
    require_generator(draws, "draws")
    k = int(torch.randint(2, 5, (1,), generator=draws))
    weights = 0.5 + 0.5 * torch.rand(k, dtype=torch.float64, generator=draws)
    means = math.sqrt(2) * torch.randn(k, dim, dtype=torch.float64, generator=draws)
    spread = 0.3 * (1 / 0.3) ** torch.rand(k, dim, dtype=torch.float64, generator=draws)
    axes = torch.linalg.qr(torch.randn(k, dim, dim, dtype=torch.float64, generator=draws))[0]
    covariances = axes * spread[:, None] ** 2 @ axes.mT
    return GaussianMixture(weights / weights.sum(), means, (covariances + covariances.mT) / 2)


def measure_mixture(task: MixtureTask) -> dict:
    """The columns above, but for the last two, of a mixture and its encoder for infinite time."""
    require_type(task, MixtureTask, "task", "a MixtureTask")
    mixture, draws = task.law()
    x = mixture.sample(CLOUD, draws)
    flow = ExactFlow(mixture, tolerance=1e-8)
    codes = flow.encode(x)
    latents = torch.randn(500, task.dim, dtype=torch.float64, generator=draws)
    jacobians = flow.jacobian(latents)
    certificate = find_certificate(
        ExactFlow(mixture, tolerance=1e-10).decode,
        ExactFlow(mixture).decode,
        latents,
        jacobians,
        most_points=20_000,
    )
    return {
        "components": len(mixture.weights),
        **_sample_columns(x, codes),
        **_jacobian_columns(jacobians, torch.full((len(latents),), 1 / len(latents))),
        **_certificate_columns(certificate),
    }


def _sample_columns(x: Tensor, y: Tensor) -> dict:
    columns: dict[str, float] = {}
    for n, count in SUBSAMPLES.items():
        parts = list(zip(x.split(n)[:count], y.split(n)[:count]))
        excess = torch.tensor([relative_excess_cost(*pair) for pair in parts]).double()
        columns |= {
            f"excess_{n}": float(excess.mean()),
            f"error_{n}": float(excess.std() / math.sqrt(count)) if count > 1 else 0.0,
            f"unmoved_{n}": float((excess == 0).double().mean()),
        }
        if n == 2500:
            columns |= {"cost": transport_cost(*parts[0]), "relative_error": float(excess[0])}
    return columns


def _jacobian_columns(jacobians: Tensor, mass: Tensor) -> dict:
    least = torch.linalg.eigvalsh((jacobians + jacobians.mT) / 2)[:, 0]
    return {
        "asymmetry": float((mass * jacobian_asymmetry(jacobians)).sum()),
        "folded": float(mass[least <= 0].sum()),
    }


def _certificate_columns(certificate: CycleCertificate) -> dict:
    return {
        "certified": int(certificate.accepted),
        "gain": certificate.gain,
        "cycle": len(certificate.points),
    }
