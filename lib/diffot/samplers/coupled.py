r"""EDICT: DDIM on two coupled copies of the points, which can be undone exactly.

A step from time t to s takes :math:`(x, y)` to

.. math:: x' = k x + c\, \hat\varepsilon(y, t), \qquad y' = k y + c\, \hat\varepsilon(x', t),

with DDIM's :math:`k = \alpha_s / \alpha_t` and :math:`c = \sigma_s - k \sigma_t`, and then mixes
the copies, so that they stay together,

.. math:: x'' = p x' + (1 - p) y', \qquad y'' = p y' + (1 - p) x''

(Wallace et al. 2023). Each line changes one copy by what the other says, and so each can be
solved for what was there before: back at the start, only rounding is left. What this costs: two
latents instead of one, two evaluations in each step, and a method of first order, like DDIM,
whose copies lie further from where the flow leads than the latents of
:func:`~diffot.samplers.higher_order.invert_2m`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import as_number, require
from diffot.samplers.steps import Level, as_start, path

Pair = tuple[Tensor, Tensor]


def couple(
    denoiser: Denoiser, x_0: Tensor, steps: int | Sequence[float] = 30, mixing: float = 0.93
) -> Pair:
    """From data to the two latents from which :func:`uncouple` comes back.

    Args:
        x_0: data, shape (B, *d).
        steps: a number of steps, or the times to visit, from the last to the first; see
            :func:`~diffot.processes.schedules.Schedule.timesteps`. There are data at all of them:
            alpha is above 0.
        mixing: p for fifty steps, in [0.9, 1]. For n steps, :math:`p^{50 / n}` is taken: mixing
            makes differences of the copies smaller by p^2 in each step, undoing it makes them and
            the rounding in them larger, and in this way by as much on all of the way.

    Returns:
        The copies x and y at the first of the times, shape (B, *d) and float64: in the type of
        ``x_0`` they might have lost what leads back.

    Raises:
        ValueError: for a bad start, number of steps or mixing.
    """
    x = as_start(denoiser, x_0, "x_0").double()
    times, levels = _path(denoiser, steps)
    p = _share(mixing, len(times) - 1)
    y = x
    for i in range(len(levels) - 2, -1, -1):
        k, c = _coefficients(levels[i], levels[i + 1])
        y = (y - (1 - p) * x) / p
        x = (x - (1 - p) * y) / p
        y = (y - c * denoiser.noise(x, times[i])) / k
        x = (x - c * denoiser.noise(y, times[i])) / k
    return x, y


def uncouple(
    denoiser: Denoiser, latents: Pair, steps: int | Sequence[float] = 30, mixing: float = 0.93
) -> Pair:
    """From two latents to two data, which are equal if the latents are those of :func:`couple`.

    Args:
        latents: copies x and y at the first of the times, shape (B, *d); to draw from noise, the
            noise twice.
        steps, mixing: as for :func:`couple`.

    Returns:
        The copies at the last of the times, shape (B, *d), float64.

    Raises:
        ValueError: for a bad start, number of steps or mixing, anything but two copies, or copies
            of different shapes.
    """
    require(
        isinstance(latents, tuple) and len(latents) == 2,
        f"latents is a {type(latents).__name__}; expected the two copies, as couple returns them",
    )
    x, y = (as_start(denoiser, copy, "latents").double() for copy in latents)
    require(
        x.shape == y.shape,
        f"latents have shapes {tuple(x.shape)} and {tuple(y.shape)}; expected the same",
    )
    times, levels = _path(denoiser, steps)
    p = _share(mixing, len(times) - 1)
    for i, (here, there) in enumerate(zip(levels, levels[1:])):
        k, c = _coefficients(here, there)
        x = k * x + c * denoiser.noise(y, times[i])
        y = k * y + c * denoiser.noise(x, times[i])
        x = p * x + (1 - p) * y
        y = p * y + (1 - p) * x
    return x, y


def _share(mixing: float, steps: int) -> float:
    """p, for so many steps."""
    return as_number(mixing, "mixing", at_least=0.9, at_most=1) ** (50 / steps)


def _path(denoiser: Denoiser, steps: int | Sequence[float]) -> tuple[list[float], list[Level]]:
    times, levels = path(denoiser.schedule, steps)
    require(
        levels[0][0] > 0,
        f"steps begins at {times[0]:.6g}, where nothing is left of the data; expected an earlier "
        "time, since a step from there cannot be undone",
    )
    return times, levels


def _coefficients(here: Level, there: Level) -> tuple[float, float]:
    """k and c of a step."""
    (alpha, sigma), (next_alpha, next_sigma) = here, there
    k = next_alpha / alpha
    return k, next_sigma - k * sigma
