"""What the maps of the four methods are worth.

A row holds, of points that the map makes of fresh latents:

- ``distance``: squared energy distance to fresh points of the law, without bias;
- ``stray``: share of points farther from every mode than a point of the law is in one of a
  thousand cases, :data:`REACH` standard deviations;
- ``share_1`` to ``share_4``: of the points, by the nearest mode, and ``uneven``, half the sum of
  the differences of these from 1/4;
- ``shortfall``: mean of log p - log q at fresh points of the law, in nats, p being its density
  and q that of the model or a bound of it (not of the GAN), with the standard error of the mean;
- ``distance_k``, ``stray_k``: of the diffusion, with k steps;
- ``drawn``: the first :data:`SHOWN` points, as a text that :func:`points_of` reads;
- ``parameters``; ``train_seconds`` and ``sample_seconds``, CPU time, of the training and of
  10 000 points, as texts: they are not compared when a row is computed again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from scipy import stats
from torch import Tensor

from chapters.four_ways.methods import METHODS, SCALE, GenerationTask, Made, law
from diffot.errors import require_points, require_type
from diffot.estimates import mean
from diffot.flows.maps import Map
from diffot.flows.sampled import SampledMap

REACH = math.sqrt(-2 * math.log(1e-3))  # P(|x| > r) = exp(-r^2 / 2) in the plane
FEWER = (1, 2, 4, 8)  # steps of the diffusion's sampler
LIKELIHOODS = 1000  # points
TIMED = 10_000  # points
SHOWN = 400  # points kept for figures


def measure_generation(task: GenerationTask) -> dict[str, float | str]:
    """The columns above."""
    require_type(task, GenerationTask, "task", "a GenerationTask")
    made = METHODS[task.method](task)
    draws = task.draws("measuring")
    z = torch.randn(task.points, made.latents, dtype=torch.float64, generator=draws)
    fresh = law().sample(task.points, draws)
    x = SCALE * made.map.decode(z)
    shares = mode_shares(x)
    return {
        "distance": energy_distance(x, fresh),
        "stray": stray_share(x),
        **{f"share_{k + 1}": share for k, share in enumerate(shares)},
        "uneven": unevenness(shares),
        **_likelihood(made, fresh[:LIKELIHOODS]),
        **_with_fewer_steps(made.map, z, fresh),
        "drawn": " ".join(f"{first:.2f},{second:.2f}" for first, second in x[:SHOWN].tolist()),
        "parameters": made.parameters,
        "train_seconds": f"{made.seconds:.2f}",
        "sample_seconds": f"{_sampling_seconds(made):.4f}",
    }


def measure_floor(points: int, draws: torch.Generator) -> dict[str, float]:
    """``distance``, ``stray`` and ``uneven`` of points of the law in the place of a map's:
    what no method can be asked to go below."""
    x, fresh = law().sample(2 * points, draws).chunk(2)
    return {
        "distance": energy_distance(x, fresh),
        "stray": stray_share(x),
        "uneven": unevenness(mode_shares(x)),
    }


def points_of(drawn: str) -> Tensor:
    """The points of a row's column ``drawn``, shape (n, 2), to two decimals."""
    pairs = [[float(number) for number in pair.split(",")] for pair in drawn.split()]
    return torch.tensor(pairs, dtype=torch.float64)


def half_interval(values: Sequence[float], level: float = 0.95) -> float:
    """Half the interval of the mean of independent normal numbers, by Student's t."""
    return float(stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values))


def energy_distance(x: Tensor, y: Tensor) -> float:
    r"""An estimate without bias, so that it may be negative, of
    :math:`2 E|X - Y| - E|X - X'| - E|Y - Y'|` (Székely & Rizzo 2013), which is 0 only for
    equal laws, from samples of shape (n, d) and (m, d)."""
    require_points(x, name="x")
    require_points(y, x.shape[1], "y")
    within = sum(torch.pdist(sample).mean() for sample in (x, y))
    return float(2 * torch.cdist(x, y).mean() - within)


def stray_share(x: Tensor) -> float:
    """Share of points that no mode accounts for; 0.001 under the law."""
    return float(is_stray(x).double().mean())


def is_stray(x: Tensor) -> Tensor:
    """Which points (n, 2) no mode accounts for, shape (n,)."""
    return _distances(x).amin(1) > REACH


def mode_shares(x: Tensor) -> list[float]:
    """Share of the points that are nearest to each mode."""
    nearest = _distances(x).argmin(1)
    return (torch.bincount(nearest, minlength=4).double() / len(x)).tolist()


def unevenness(shares: list[float]) -> float:
    """The share of points that would have to move for all modes to have the same."""
    return sum(abs(share - 1 / len(shares)) for share in shares) / 2


def _distances(x: Tensor) -> Tensor:
    """To the means, in standard deviations of the modes, shape (n, 4)."""
    target = law()
    return torch.cdist(x, target.means) / float(target.covariances[0, 0, 0]) ** 0.5


def _likelihood(made: Made, x: Tensor) -> dict[str, float]:
    if made.log_likelihood is None:
        return {}
    found = made.log_likelihood(x / SCALE).double() - 2 * math.log(SCALE)
    estimate = mean(law().log_prob(x) - found)
    return {"shortfall": estimate.value, "shortfall_error": estimate.error}


def _with_fewer_steps(found: Map, z: Tensor, fresh: Tensor) -> dict[str, float]:
    if not isinstance(found, SampledMap):
        return {}
    row: dict[str, float] = {}
    for steps in FEWER:
        x = SCALE * SampledMap(found.denoiser, steps, found.sampler).decode(z)
        row |= {f"distance_{steps}": energy_distance(x, fresh), f"stray_{steps}": stray_share(x)}
    return row


def _sampling_seconds(made: Made) -> float:
    """CPU seconds for :data:`TIMED` points, the least of three times."""
    z = torch.randn(TIMED, made.latents, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(3):
        start = time.process_time()
        with torch.no_grad():
            made.map.decode(z)
        times.append(time.process_time() - start)
    return min(times)
