"""One map by many processes, and lines that do not meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.parametrization import PARAMETRIZATIONS
from diffot.errors import as_number, as_whole_number, require_points, require_type
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow

_INSIDE = 1e-9  # of a step, by which its ends are moved inward: tables have kinks there


def own_time(
    denoiser: Denoiser, z: Tensor, first: float, last: float, steps: int = 1000
) -> Tensor:
    r"""Follow the flow of a process in its own time and its own points
    :math:`x = \alpha x_0 + \sigma \varepsilon`, by the method of Runge and Kutta of fourth order.

    The velocity is :math:`\dot\alpha\, \hat x_0 + \dot\sigma\, \hat\varepsilon` (Lipman et al.
    2023, theorem 3). Nothing here knows of the coordinates z and r.

    Args:
        z: x over sigma where alpha / sigma is ``first``, shape (B, d).
        first, last: alpha / sigma at the start and the end, 0 < first < last.
        steps: of the schedule's path, which is cut to these two ends.

    Returns:
        x over alpha where alpha / sigma is ``last``, shape (B, d).
    """
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
    require_points(z, name="z")
    first = as_number(first, "first", above=0)
    last = as_number(last, "last", above=first)
    steps = as_whole_number(steps, "steps", least=1)
    schedule = denoiser.schedule
    ends = [float(schedule.time_of(ratio, 1.0)) for ratio in (first, last)]
    path = [float(t) for t in schedule.timesteps(steps)]
    times = [ends[0], *(t for t in path if ends[1] < t < ends[0]), ends[1]]
    kind = PARAMETRIZATIONS["flow"]

    def velocity(x: Tensor, t: float) -> Tensor:
        x_0 = denoiser.denoise(x, t)
        alpha, sigma = schedule.levels(t)
        return kind.target(
            schedule, x_0, (x - alpha * x_0) / sigma, torch.tensor(t, dtype=torch.float64)
        )

    x = z * schedule.levels(ends[0])[1]
    for start, end in zip(times, times[1:]):
        h = end - start
        inner = start + _INSIDE * h, (start + end) / 2, end - _INSIDE * h
        k_1 = velocity(x, inner[0])
        k_2 = velocity(x + h / 2 * k_1, inner[1])
        k_3 = velocity(x + h / 2 * k_2, inner[1])
        k_4 = velocity(x + h * k_3, inner[2])
        x = x + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
    return x / schedule.levels(ends[1])[0]


@dataclass(frozen=True)
class Crossing:
    r"""What the Jacobians J of a map say of straight lines from latents to their points.

    Lines :math:`(1 - t) z + t D(z)` of near latents meet where :math:`(1 - t) I + t J` is
    singular: where J has an eigenvalue in :math:`(-\infty, 0]`. In the plane there is none if
    trace and determinant are positive.

    Attributes:
        trace, determinant: the least on the grid.
        negative: number of latents with an eigenvalue in that range.
        latents: of the grid.
    """

    trace: float
    determinant: float
    negative: int
    latents: int


def crossing(flow: ExactFlow | DensityFlow, spacing: float, reach: float = 4.0) -> Crossing:
    """Of a flow in the plane, over a square grid of latents in a disk.

    Args:
        spacing: of the grid. reach: radius of the disk; 4 leaves out 3e-4 of N(0, I).
    """
    require_type(flow, (ExactFlow, DensityFlow), "flow", "an ExactFlow or a DensityFlow")
    spacing = as_number(spacing, "spacing", above=0)
    reach = as_number(reach, "reach", above=spacing)
    line = torch.arange(-reach, reach + spacing / 2, spacing, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    _, jacobian = flow.decode_with_jacobian(z[z.norm(dim=1) <= reach])
    trace = jacobian.diagonal(dim1=1, dim2=2).sum(1)
    spectrum = torch.linalg.eigvals(jacobian)
    real = spectrum.imag.abs() < 1e-12 * spectrum.abs()
    negative = (real & (spectrum.real <= 0)).any(1)
    return Crossing(
        float(trace.min()),
        float(torch.linalg.det(jacobian).min()),
        int(negative.sum()),
        len(jacobian),
    )


def rotation(degrees: float) -> Tensor:
    """The matrix that turns the plane by an angle, float64."""
    angle = np.radians(as_number(degrees, "degrees"))
    c, s = np.cos(angle), np.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
