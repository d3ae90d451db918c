"""Figures. Nothing is computed here.

Colors mean the same through the whole book: one per mode (in the order of
:func:`~diffot.mixtures.thesis_mixture`, upper right first), one for the prior, and one per kind
of predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from torch import Tensor

from diffot.errors import as_whole_number, require, require_images, require_type

_PALETTE = sns.color_palette("colorblind", 10).as_hex()
MODES = [_PALETTE[i] for i in (0, 1, 2, 4)]
PRIOR = "#8c8c8c"
EXACT = "#1a1a1a"
KINDS = {"exact": EXACT, "thesis": _PALETTE[3], "linear": _PALETTE[5], "SiLU": _PALETTE[9]}
# One color per map where several maps of the same latents are compared.
MAPS = {"flow": EXACT, "CDF": "#c51b7d", "CDF, y first": "#f18fc4", "optimal": "#00806e"}
DATA = "#cfcfcf"
IMAGE_MODELS = {
    "Faces32A": EXACT,
    "Faces32B": _PALETTE[9],
    "Faces32Conditional": _PALETTE[0],
    "Animals32": _PALETTE[3],
    "Digits28": _PALETTE[7],
}
_NAMED = {
    "red": _PALETTE[3],
    "green": _PALETTE[2],
    "blue": _PALETTE[0],
    "quantile map": "0.4",
    "Gaussian map": _PALETTE[1],
}
_OTHERS = [EXACT, _PALETTE[9], _PALETTE[1], _PALETTE[2], _PALETTE[4], _PALETTE[6]]


def use_style() -> None:
    """Set the book's figure style for this process. White ground, so that both themes can show
    the figures."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.95)
    plt.rcParams.update(
        {
            "figure.dpi": 120,
            "savefig.dpi": 120,
            "savefig.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
        }
    )


def panels(
    titles: Sequence[str], width: float = 8.5, height: float = 4.2
) -> tuple[Figure, list[Axes]]:
    """A row of panels, each with a short name above it, lettered if there are several; eight at
    most."""
    _require_titles(titles, most=8)
    figure, axes = plt.subplots(1, len(titles), figsize=(width, height), squeeze=False)
    for ax, letter, title in zip(axes[0], "abcdefgh", titles):
        label = f"({letter}) {title}" if len(titles) > 1 else title
        ax.set_title(label, loc="left", fontsize="small" if len(titles) > 2 else "medium")
    return figure, list(axes[0])


def plane(ax: Axes, reach: float) -> None:
    """Make axes a square piece of the plane with faint lines through the origin."""
    window(ax, (-reach, reach), (-reach, reach), size="medium")


def scatter_map(ax: Axes, z: Tensor, x: Tensor, modes: Tensor, reach: float) -> None:
    """Latents z and their images x in one plane, both in the color of the image's mode.

    Args:
        z, x: shape (n, 2). modes: shape (n,).
    """
    colors = [MODES[k] for k in modes.tolist()]
    ax.scatter(*z.T, c=colors, s=2, lw=0, rasterized=True)
    ax.scatter(*x.T, c=colors, s=2, lw=0, rasterized=True)
    plane(ax, reach)


def basins(ax: Axes, grid: Tensor, modes: Tensor, cells: Sequence[Tensor], reach: float) -> None:
    """Basins of the modes in the prior as areas, and polygons over them as lines.

    Args:
        grid: coordinates of the square grid of latents, shape (m,).
        modes: the mode that each latent of the grid is sent to, shape (m, m), rows along y.
        cells: corners of each polygon, shape (V, 2).
    """
    ax.pcolormesh(grid, grid, modes, cmap=ListedColormap(MODES), vmin=0, vmax=3, alpha=0.45,
                  rasterized=True, shading="nearest")  # fmt: skip
    for cell in cells:
        ax.fill(*cell.T, fill=False, edgecolor="black", lw=1)
    plane(ax, reach)


def surplus_against_steps(
    ax: Axes, steps: Sequence[int], lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> None:
    """Surplus of the near mode against the number of steps, with error bars of two standard
    errors; each line is named and given by its values and standard errors."""
    for (name, (value, error)), marker, color in zip(lines.items(), "os", (PRIOR, EXACT)):
        bars = [2 * e for e in error]
        ax.errorbar(steps, value, yerr=bars, marker=marker, color=color, label=name, capsize=3)
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.set(xscale="log", xlabel="DDIM steps", ylabel="surplus of the near mode (per 4000)")
    ax.set_xticks(steps, [str(s) for s in steps])
    ax.minorticks_off()
    ax.legend()


def loss_curves(
    ax: Axes, curves: Mapping[str, tuple[Sequence[float], float]], best: float
) -> None:
    """Training losses against CPU time, over the lowest loss that any predictor can have.

    Args:
        curves: kind of network to (mean losses of stretches of equal length, CPU seconds).
        best: the Bayes-optimal loss.
    """
    for kind, (losses, seconds) in curves.items():
        time = [seconds * (i + 1) / len(losses) for i in range(len(losses))]
        ax.plot(time, losses, color=KINDS[kind], label=kind, lw=1.2)
    ax.axhline(best, color=KINDS["exact"], ls="--", lw=1.2, label="Bayes-optimal")
    ax.set(yscale="log", xlabel="CPU time (s)", ylabel="loss (mean squared error of the noise)")
    ax.set_yticks([0.3, 0.4, 0.5, 0.6, 0.8, 1.0], ["0.3", "0.4", "0.5", "0.6", "0.8", "1"])
    ax.minorticks_off()
    ax.legend()


def flow_lines(ax: Axes, paths: Tensor, reach: float) -> None:
    """Curves from latents (gray dots) to data (black dots), with the straight lines between.

    Args:
        paths: shape (steps + 1, n, 2), latents first.
    """
    for path in paths.transpose(0, 1):
        ax.plot(*path.T, color=_PALETTE[9], lw=1.5)
        ax.plot(*path[[0, -1]].T, color="0.6", lw=0.8, ls="--")
    ax.scatter(*paths[0].T, color=PRIOR, s=18, zorder=3, label="latent")
    ax.scatter(*paths[-1].T, color=EXACT, s=18, zorder=3, label="data")
    plane(ax, reach)
    ax.legend(loc="upper left")


def excess_against_angle(
    ax: Axes, angles: Sequence[float], lines: Mapping[str, Sequence[float]]
) -> None:
    """Relative excess of a composed map against the angle between two Gaussians' axes."""
    for (name, values), color in zip(lines.items(), (_PALETTE[9], _PALETTE[5], EXACT)):
        ax.plot(angles, values, color=color, label=name)
    ax.set(xlabel="angle between the long axes (degrees)", ylabel="relative excess cost")
    ax.legend(title="ratio of the axes")


def excess_against_asymmetry(
    ax: Axes,
    asymmetry: Sequence[float],
    excess: Sequence[float],
    floor: float,
    bounds: Sequence[float] = (),
    average: str = "median",
) -> None:
    """Sampled excess of many laws against their asymmetry, both logarithmic; what lies below
    ``floor`` (zero to rounding) is drawn on it with open markers. ``bounds`` are the excesses of
    the maps themselves, from below; ``average`` says which one the asymmetry is."""
    if len(bounds):
        ax.scatter(asymmetry, bounds, marker="_", color=MAPS["optimal"], s=30, lw=1.2,
                   label="the map itself, at least")  # fmt: skip
    seen = [e > floor for e in excess]
    for wanted, face in ((True, EXACT), (False, "white")):
        pairs = [(a, max(e, floor)) for a, e, s in zip(asymmetry, excess, seen) if s == wanted]
        if pairs:
            label = "excess found" if wanted else "no excess found"
            ax.scatter(*zip(*pairs), facecolor=face, edgecolor=EXACT, s=30, label=label)
    ax.axhline(floor, color="0.8", lw=0.8, zorder=0)
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel=f"{average} asymmetry of the Jacobian", ylabel="relative excess")
    low, high = min(asymmetry), max(asymmetry)
    ticks = [m * 10.0**k for k in range(-5, 1) for m in (1, 2, 5)]
    if high / low > 30:
        ticks = ticks[::3]
    ticks = [t for t in ticks if low / 1.1 <= t <= 1.1 * high]
    ax.set_xticks(ticks, [f"{t:.10g}" for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(loc="upper left", fontsize="small")


def excess_against_sample(
    ax: Axes,
    sizes: Sequence[int],
    lines: Mapping[str, tuple[Sequence[float], Sequence[float], float]],
) -> None:
    """Relative excess of samples against their size, with bars of two standard errors, and the
    sampling-free lower bound of each law (dashed)."""
    for (name, (mean, error, bound)), color in zip(lines.items(), (_PALETTE[3], EXACT)):
        bars = [2 * e for e in error]
        ax.errorbar(sizes, mean, yerr=bars, marker="o", color=color, label=name, capsize=3)
        ax.axhline(bound, color=color, ls="--", lw=1, label="lower bound of the map")
    ax.set(xscale="log", xlabel="points in the sample", ylabel="relative excess cost")
    ax.set_ylim(bottom=0)
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.legend()


def errors_against_evaluations(
    ax: Axes, evaluations: Sequence[int], lines: Mapping[str, Sequence[float]]
) -> None:
    """Errors of samplers against the number of network evaluations, both logarithmic."""
    styles = zip((EXACT, _PALETTE[9], _PALETTE[3], _PALETTE[5]), "osD^")
    for (name, errors), (color, marker) in zip(lines.items(), styles):
        ax.plot(evaluations, errors, color=color, marker=marker, label=name)
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="evaluations of the noise predictor", ylabel="median error")
    ax.set_xticks(evaluations, [str(n) for n in evaluations])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend()


# --- One dimension ----------------------------------------------------------------------------


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
    ax.legend(fontsize="x-small", handlelength=1.8)


def stretch_small(ax: Axes, small: float, ticks: Sequence[float]) -> None:
    """Make the vertical axis linear up to ``small`` in size and logarithmic beyond."""
    ax.set_yscale("symlog", linthresh=small)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
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


# --- Density transport (L.2) ------------------------------------------------------------------


def panel_grid(
    titles: Sequence[str], columns: int, width: float = 8.5, height: float = 6.0
) -> tuple[Figure, list[Axes]]:
    """Panels in several rows, lettered row by row, each with a short name above it; eight at
    most."""
    _require_titles(titles, most=8)
    columns = as_whole_number(columns, "columns", least=1)
    rows = -(-len(titles) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    for ax, letter, title in zip(axes.flat, "abcdefgh", titles):
        ax.set_title(f"({letter}) {title}", loc="left", fontsize="small")
    return figure, list(axes.flat)


def window(ax: Axes, x: tuple[float, float], y: tuple[float, float], size: str = "small") -> None:
    """Make axes a rectangle of the plane, with equal units and faint lines through the origin."""
    ax.axhline(0, color="0.8", lw=0.8, zorder=0)
    ax.axvline(0, color="0.8", lw=0.8, zorder=0)
    ax.set(xlim=x, ylim=y, aspect="equal")
    ax.set_xlabel("first coordinate", fontsize=size)
    ax.set_ylabel("second coordinate", fontsize=size)
    ax.tick_params(labelsize=size)


def latents_and_images(
    ax: Axes,
    z: Tensor,
    x: Tensor,
    modes: Tensor | None = None,
    paths: Tensor | None = None,
) -> None:
    """Latents in the color of the prior, and their images in the colors of their modes.

    Args:
        z, x: shape (n, 2). modes: shape (n,); by default all in the color of the first.
        paths: ways of some latents, shape (points on the way, number of ways, 2).
    """
    colors = [MODES[k] for k in modes.tolist()] if modes is not None else MODES[0]
    ax.scatter(*z.T, c=PRIOR, s=2, lw=0, rasterized=True)
    ax.scatter(*x.T, c=colors, s=2, lw=0, rasterized=True)
    if paths is not None:
        for way in paths.unbind(1):
            ax.plot(*way.T, color=MAPS["flow"], lw=0.8, marker=".", ms=2.5)


def outline(ax: Axes, points: Tensor, color: str = EXACT) -> None:
    """A curve through points of shape (n, 2)."""
    ax.plot(*points.T, color=color, lw=1.3)


def ordered_points(ax: Axes, points: Tensor, ranks: Tensor) -> None:
    """Points of shape (n, 2), colored by rank from dark (lowest) to light."""
    ax.scatter(*points.T, c=ranks, cmap="viridis", s=3, lw=0, rasterized=True)


def data_cloud(ax: Axes, points: Tensor, color: str = DATA) -> None:
    """Points of shape (n, 2), as a pale background unless another color is given."""
    ax.scatter(*points.T, c=color, s=2, lw=0, rasterized=True, zorder=0)


def named_points(ax: Axes, points: Mapping[str, tuple[Tensor, str, str]]) -> None:
    """Single points with a legend: name to (point of shape (2,), color, marker)."""
    for name, (point, color, marker) in points.items():
        ax.plot(*point, marker, color=color, ms=8, mec="white", mew=0.7, label=name, ls="none")
    ax.legend(fontsize="x-small", loc="lower right", handletextpad=0.1, borderpad=0.1)


def guides(ax: Axes, x: Sequence[float] = (), y: Sequence[float] = ()) -> None:
    """Dashed lines at first coordinates x and at second coordinates y."""
    for value in x:
        ax.axvline(value, color=EXACT, ls="--", lw=0.9)
    for value in y:
        ax.axhline(value, color=EXACT, ls="--", lw=0.9)


def coordinate_lines(ax: Axes, vertical: Sequence[Tensor], horizontal: Sequence[Tensor]) -> None:
    """Images of vertical (orange) and of horizontal (blue) lines, each of shape (n, 2), as dots
    no matter how far apart, since a map may tear a line."""
    for lines, color in ((horizontal, MODES[0]), (vertical, MODES[1])):
        for points in lines:
            ax.scatter(*points.T, c=color, s=1.5, lw=0, rasterized=True)


def arrows(ax: Axes, start: Tensor, end: Tensor, names: tuple[str, str]) -> None:
    """Images of the same latents under two maps, both (n, 2), joined; named as in ``MAPS``."""
    ax.plot(
        *[[s, e] for s, e in zip(start.unbind(1), end.unbind(1))], color="0.35", lw=0.9, zorder=1
    )
    for points, name, marker in ((start, names[0], "X"), (end, names[1], "*")):
        size = 36 if marker == "X" else 60
        ax.scatter(
            *points.T, c=MAPS[name], marker=marker, s=size, ec="white", lw=0.6, label=name,
            zorder=2,
        )  # fmt: skip
    ax.legend(fontsize="small", loc="lower right", handletextpad=0.1)


def distance_against_points(
    ax: Axes,
    sizes: Sequence[int],
    values: Sequence[float],
    errors: Sequence[float],
    levels: Mapping[str, tuple[float, str]],
) -> None:
    """Distance of the flow from the optimal pairing against the number of points paired, with
    bars of two standard errors, and other distances as levels: name to (value, color)."""
    ax.errorbar(
        sizes, values, yerr=[2 * e for e in errors], color=MAPS["optimal"], marker="o", capsize=3,
        label="optimal pairing of n points",
    )  # fmt: skip
    for (name, (value, color)), style in zip(levels.items(), ("--", ":", "-", "-")):
        ax.axhline(value, color=color, ls=style, lw=1.3, label=name)
    ax.set(xscale="log", yscale="log", xlabel="points n", ylabel="mean distance to the flow")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ticks = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


# --- Random densities (K.1) -------------------------------------------------------------------

FAMILIES = {"compact": _PALETTE[9], "separated": _PALETTE[3]}


def density(ax: Axes, x: Tensor, y: Tensor, values: Tensor) -> None:
    """A density over a rectangle, dark where it is high.

    Args:
        x, y: coordinates, shapes (m,) and (n,). values: shape (m, n).
    """
    ax.pcolormesh(x, y, values.T, cmap="Greys", shading="nearest", rasterized=True)
    ax.set(aspect="equal", xticks=[-4, 0, 4], yticks=[-4, 0, 4])
    ax.tick_params(labelsize="x-small")


def cost_against_optimal(ax: Axes, costs: Mapping[str, tuple[Sequence, Sequence]]) -> None:
    """Cost of maps against that of the optimal assignment; family to (optimal, paired)."""
    for name, (optimal, paired) in costs.items():
        ax.scatter(optimal, paired, s=14, color=FAMILIES[name], alpha=0.7, lw=0, label=name)
    ax.axline((1, 1), slope=1, color="0.7", lw=0.8, zorder=0)
    ax.set(xscale="log", yscale="log", aspect="equal")
    ax.set(xlabel="optimal cost (mean squared distance)", ylabel="cost of the encoder")
    ax.legend(loc="upper left")


def error_histogram(ax: Axes, errors: Mapping[str, Sequence[float]], lowest: int = -8) -> None:
    """How many relative errors fall in each decade; exact zeros have a bar of their own, to the
    left. Families stand side by side, numbers on top of the bars."""
    decades = list(range(lowest, -1))
    for i, (name, values) in enumerate(errors.items()):
        counts = [sum(v == 0 for v in values)]
        counts += [sum(10.0**k < v <= 10.0 ** (k + 1) for v in values) for k in decades]
        places = [k + 0.5 + 0.4 * (i - 0.5) for k in (lowest - 2, *decades)]
        bars = ax.bar(places, counts, width=0.38, color=FAMILIES[name], label=name)
        ax.bar_label(bars, [str(c) if c else "" for c in counts], fontsize="x-small")
    names = ["0", *[rf"$10^{{{k}}}$" for k in (*decades, -1)]]
    ax.set_xticks([lowest - 1.5, *decades, -1], names, fontsize="small")
    ax.axvline(lowest - 0.5, color="0.8", lw=0.8)
    ax.set(xlabel="relative error on 2500 points", ylabel="densities")
    ax.legend()


def share_against_sample(
    ax: Axes,
    sizes: Sequence[int],
    lines: Mapping[str, tuple[Sequence[float], Sequence[float], float]],
) -> None:
    """Share of samples with some excess against the number of points, with bars of two standard
    errors, and the share of laws with a certificate, dashed; family to (shares, standard errors,
    certified)."""
    for name, (shares, errors, certified) in lines.items():
        bars = [2 * e for e in errors]
        ax.errorbar(sizes, shares, bars, color=FAMILIES[name], marker="o", capsize=3, label=name)
        ax.axhline(certified, color=FAMILIES[name], ls="--", lw=1.2)
    ax.annotate("with a certificate", (sizes[0], 0.93))
    ax.set(xscale="log", ylim=(-0.03, 1.06), xlabel="points in the sample")
    ax.set_ylabel("share of samples with an excess")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.legend(fontsize="small", loc="center left")


# --- Images -----------------------------------------------------------------------------------


def stacked(titles: Sequence[str], width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels one below the other, each of this height, with a name above it."""
    _require_titles(titles)
    figure, axes = plt.subplots(len(titles), figsize=(width, height * len(titles)), squeeze=False)
    for ax, title in zip(axes.flat, titles):
        ax.set_title(title, loc="left", fontsize="medium")
    return figure, list(axes.flat)


def _require_titles(titles: Sequence[str], most: int | None = None) -> None:
    require_type(titles, (list, tuple), "titles", "a list of texts, one for each panel")
    for title in titles:
        require_type(title, str, "one of the titles", "a text")
    as_whole_number(len(titles), "the number of titles", least=1, most=most)


def captioned_images(
    images: Tensor, captions: Sequence[str], columns: int, width: float = 8.5
) -> Figure:
    """Images in rows, each with a few words below it.

    Args:
        images: shape (n, C, s, s), values in [-1, 1] (clipped), C = 1 or 3.
    """
    require_images(images)
    require_type(captions, (list, tuple), "captions", "a list of texts, one for each image")
    require(
        len(captions) == len(images) > 0,
        f"there are {len(images)} images and {len(captions)} captions; expected one each",
    )
    columns = as_whole_number(columns, "columns", least=1)
    rows = -(-len(images) // columns)
    lines = 1 + max(caption.count("\n") for caption in captions)
    height = rows * (0.95 * width / columns + 0.15 * lines)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    for ax, image, caption in zip(axes.flat, images, captions):
        _picture(ax, _mosaic(image[None], 1))
        ax.set_xlabel(caption, fontsize=7, labelpad=1)
    return figure


def image_rows(ax: Axes, rows: Mapping[str, Tensor], above: Sequence[str] = ()) -> None:
    """Named rows of images, as many in each, with words above the columns.

    Args:
        rows: images of shape (n, C, s, s), values in [-1, 1] (clipped), C = 1 or 3, s the same in
            all rows.
    """
    for name, images in rows.items():
        require_images(images, f"row {name!r}")
    columns = len(next(iter(rows.values())))
    tiles = [_mosaic(images, columns) for images in rows.values()]
    _picture(ax, np.concatenate([np.broadcast_to(t, (*t.shape[:2], 3)) for t in tiles]))
    height, width = tiles[0].shape[:2]
    ax.set_yticks((np.arange(len(rows)) + 0.5) * height, list(rows), fontsize="x-small")
    ax.set_xticks((np.arange(len(above)) + 0.5) * width / columns, above, fontsize="x-small")
    ax.tick_params(length=0, labeltop=True, labelbottom=False)


def _picture(ax: Axes, image: np.ndarray) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)


def level_losses(
    ax: Axes, step: Sequence[float], losses: Sequence[Sequence[float]], names: Sequence[str]
) -> None:
    """Training losses, one line for each noise level, light where there is much noise.

    Args:
        losses: one row for each entry of ``step``, one column for each level, least noise first.
    """
    for line, name, color in zip(zip(*losses), names, sns.color_palette("viridis", len(names))):
        ax.plot(step, line, color=color, lw=1, label=name)
    # the same axis for all models, so that panels can be compared
    ax.set(yscale="log", ylim=(0.015, 1.2), xlabel="training step", ylabel="loss (squared error)")
    ax.xaxis.set_major_locator(MaxNLocator(2))


def legend_of(ax: Axes, other: Axes, title: str) -> None:
    """Use these axes for the legend of others that share their lines."""
    ax.axis("off")
    handles, labels = other.get_legend_handles_labels()
    ax.legend(handles, labels, title=title, loc="center", ncols=2, fontsize="small")


def error_lines(
    ax: Axes,
    x: Sequence[float],
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    yscale: str = "linear",
    ticks: Sequence[str] = (),
) -> None:
    """Lines over a logarithmic axis, each named and given by its values and standard errors; bars
    of two standard errors. Models have their colors. ``ticks`` are names for the places x."""
    curves = {}
    for name, line in lines.items():
        value, error = (np.asarray(column, dtype=float) for column in line)
        curves[name] = (x, value, value - 2 * error, value + 2 * error)
    _with_bars(ax, curves)
    ax.set(xscale="log", yscale=yscale, xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(x, ticks or [f"{value:,g}" for value in x])
    ax.xaxis.set_minor_locator(NullLocator())
    if len(lines) > 1:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def responses(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence, Sequence, Sequence, Sequence]],
    xlabel: str,
    ylabel: str,
    predictions: Mapping[str, tuple[Sequence, Sequence]] | None = None,
) -> None:
    """Measured values over what was set, with their intervals, and predictions, dashed.

    Args:
        curves: of each name, where it was measured, its values, and the lower and upper ends of
            their intervals.
        predictions: of ``"quantile map"`` or ``"Gaussian map"``, where and what.
    """
    _with_bars(ax, curves)
    for name, (x, value) in (predictions or {}).items():
        ax.plot(x, value, "--", color=_NAMED[name], label=name)
    ax.axvline(0, color="0.85", zorder=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    names = len(curves) + len(predictions or {})
    if names > 4:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    elif names > 1:
        ax.legend(fontsize="small")


def with_errors(table: pd.DataFrame, name: str) -> tuple[Sequence, ...]:
    """A column over the index for :func:`responses`, with two of its standard errors."""
    value, error = table[name], table[f"{name}_error"]
    return table.index, value, value - 2 * error, value + 2 * error


def with_interval(table: pd.DataFrame, name: str) -> tuple[Sequence, ...]:
    """The same with the interval from ``NAME_low`` to ``NAME_high``."""
    return table.index, table[name], table[f"{name}_low"], table[f"{name}_high"]


def _with_bars(ax: Axes, curves: Mapping[str, tuple[Sequence, Sequence, Sequence, Sequence]]):
    """Curves with intervals, as of :func:`responses`; models and channels have their colors."""
    others = iter(_OTHERS)
    for (name, curve), marker in zip(curves.items(), "osD^vP"):
        x, value, low, high = (np.asarray(column, dtype=float) for column in curve)
        bars = np.maximum([value - low, high - value], 0)
        color = IMAGE_MODELS.get(name) or _NAMED.get(name) or next(others)
        ax.errorbar(x, value, yerr=bars, color=color, marker=marker, ms=5, capsize=2, label=name)


def dots_and_chance(
    ax: Axes, rows: Mapping[str, tuple[float, float, float, float]], xlabel: str
) -> None:
    """One row for each comparison: a dot with a bar of two standard errors, and in gray the same
    for random pairings; name to (value, error, mean by chance, deviation by chance)."""
    places = range(len(rows))
    value, error, chance, deviation = np.array(list(rows.values())).T
    ax.errorbar(
        chance, places, xerr=2 * deviation, fmt="|", color=PRIOR, capsize=3, label="random pairs"
    )
    ax.errorbar(
        value, places, xerr=2 * error, fmt="o", color=EXACT, capsize=3, label="the same latent"
    )
    ax.set_yticks(places, list(rows), fontsize="small")
    ax.set(xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6))
    ax.grid(axis="x", color="0.9")
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def _mosaic(images: Tensor, columns: int) -> np.ndarray:
    """Images side by side with a white line around each, uint8 of shape (height, width, C)."""
    pixels = ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    framed = np.pad(pixels, ((0, -len(pixels) % columns), (0, 0), (1, 1), (1, 1)),
                    constant_values=255)  # fmt: skip
    _, channels, height, width = framed.shape
    tiles = framed.reshape(-1, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    return tiles.reshape(-1, columns * width, channels)
