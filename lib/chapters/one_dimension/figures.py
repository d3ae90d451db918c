"""Figures of the chapter on optimal transport in one dimension. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bookkit.plots import EXACT, KINDS, MODES, PRIOR


def path_panels(
    width: float = 8.5, height: float = 4.2
) -> tuple[Figure, tuple[Axes, Axes, Axes]]:
    """Three panels with one vertical axis: density of latents, paths, density of data."""
    figure, axes = plt.subplots(
        1, 3, figsize=(width, height), sharey=True, width_ratios=[1, 5, 1.6]
    )
    for ax in (axes[0], axes[2]):
        ax.set(xticks=[])
        ax.spines["bottom"].set_visible(False)
    axes[0].spines["left"].set_visible(False)
    axes[0].spines["right"].set_visible(True)
    axes[0].tick_params(left=False, labelleft=False)
    axes[1].tick_params(labelleft=True)
    axes[1].set(xlabel="time t", ylabel="state $x_t$")
    return figure, tuple(axes)


def trajectories(
    ax: Axes, times: Tensor, paths: Tensor, modes: Tensor, lw: float = 1.0, alpha: float = 1.0
) -> None:
    """Paths over decreasing time, each in the color of the mode that it ends in.

    Args:
        times: shape (S+1,). paths: shape (S+1, n). modes: shape (n,).
    """
    for path, mode in zip(paths.T, modes.tolist()):
        ax.plot(times, path, color=MODES[mode], lw=lw, alpha=alpha, rasterized=True)
    ax.set(xlim=(float(times[0]), float(times[-1])))


def upright_density(
    ax: Axes,
    line: Tensor,
    filled: Tensor | None = None,
    outlined: Tensor | None = None,
    ends: Tensor | None = None,
    leftwards: bool = False,
    label: str = "",
) -> None:
    """Densities over a vertical line: one as an area, one as a black line, and a histogram.

    Args:
        line: points, shape (m,). filled, outlined: densities there, shape (m,).
        ends: sampled points, shape (n,). leftwards: let the densities grow to the left.
    """
    if filled is not None:
        ax.fill_betweenx(line, 0, filled, color=PRIOR, alpha=0.45, lw=0)
    if ends is not None:
        ax.hist(ends, bins=80, range=(float(line[0]), float(line[-1])), density=True, lw=1.2,
                orientation="horizontal", histtype="step", color=KINDS["thesis"])  # fmt: skip
    if outlined is not None:
        ax.plot(outlined, line, color=EXACT, lw=1.2)
    ax.set(ylim=(float(line[0]), float(line[-1])), xlabel=label)
    if leftwards:
        ax.set(xlim=ax.get_xlim()[::-1])
        ax.set_xlim(right=0)
    else:
        ax.set_xlim(left=0)


def pile_and_pits(
    ax: Axes, pile: Sequence[tuple[Tensor, Tensor]], pits: Sequence[tuple[Tensor, Tensor]]
) -> None:
    """A density above the ground and another one below it, cut into slices of equal mass; slices
    in one color belong together, and lines join their borders.

    Args:
        pile, pits: for each slice the points (m,) and the density there (m,), from the left.
    """
    gap = 0.12
    colors = sns.color_palette("viridis", len(pile))
    for (x, up), (y, down), color in zip(pile, pits, colors):
        ax.fill_between(x, gap, gap + up, color=color, lw=0)
        ax.fill_between(y, -gap, -gap - down, color=color, lw=0)
        corners = [float(x[0]), float(x[-1]), float(y[-1]), float(y[0])]
        ax.fill(corners, [gap, gap, -gap, -gap], color=color, alpha=0.25, lw=0)
    for (x, _), (y, _) in zip(pile[1:], pits[1:]):
        ax.plot([x[0], y[0]], [gap, -gap], color=EXACT, lw=0.8)
    for height in (gap, -gap):
        ax.axhline(height, color=EXACT, lw=0.8)
    ax.annotate("pile: latents", (0.01, 0.93), xycoords="axes fraction")
    ax.annotate("pits: data", (0.01, 0.03), xycoords="axes fraction")
    ticks = [0, 0.2, 0.4, 0.6, 0.8]
    places = [gap + t for t in ticks[:3]] + [-gap - t for t in ticks]
    ax.set_yticks(places, [f"{t:g}" for t in [*ticks[:3], *ticks]])
    ax.set(xlabel="position $z$ above, $x$ below", ylabel="density")


def map_lines(ax: Axes, z: Tensor, lines: Mapping[str, tuple[Tensor, dict]], ylabel: str) -> None:
    """Functions of a latent: each named line is given by its values (n,) and its line style."""
    for name, (values, style) in lines.items():
        ax.plot(z, values, label=name, **style)
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel="latent $z$ (standard deviations)", ylabel=ylabel)
    ax.legend(fontsize="small", handlelength=1.8, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def stretch_small(ax: Axes, small: float, ticks: Sequence[float]) -> None:
    """Make the vertical axis linear up to ``small`` in size and logarithmic beyond."""
    ax.set_yscale("symlog", linthresh=small)
    ax.set_yticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    ax.minorticks_off()


def error_against_steps(
    ax: Axes,
    steps: Sequence[int],
    lines: Mapping[str, Sequence[float]],
    floor: float,
    ylabel: str,
) -> None:
    """Errors against the number of steps on logarithmic axes, and a floor under one of them; the
    first line is that of samples started from N(0, 1), the second from the true law of x_T."""
    for (name, values), marker, color in zip(lines.items(), "os", (PRIOR, EXACT)):
        ax.plot(steps, values, marker=marker, color=color, label=name)
    ax.axhline(floor, color=PRIOR, ls="--", lw=1.2, label="its limit, by quadrature")
    ax.set(xscale="log", yscale="log", xlabel="DDIM steps", ylabel=ylabel)
    ax.set_xticks(steps, [str(s) for s in steps])
    ax.set_yticks([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2],
                  ["0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2"])  # fmt: skip
    ax.minorticks_off()
    ax.legend()


def ends_and_densities(
    ax: Axes, line: Tensor, filled: Tensor, outlined: Tensor, ends: Tensor
) -> None:
    """A density as an area, another as a black line, and the histogram of sampled points.

    Args:
        line: points, shape (m,). filled, outlined: densities there, shape (m,).
        ends: sampled points, shape (n,).
    """
    ax.fill_between(line, 0, filled, color=PRIOR, alpha=0.45, lw=0, label="data")
    ax.hist(ends, bins=80, range=(float(line[0]), float(line[-1])), density=True,
            histtype="step", color=KINDS["thesis"], lw=1.2, label="DDPM")  # fmt: skip
    ax.plot(line, outlined, color=EXACT, lw=1.2, label="$p(x_0 | x_T)$")
    ax.set(xlabel="$x_0$", xlim=(float(line[0]), float(line[-1])))
