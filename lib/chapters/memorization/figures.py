"""Figures of the chapter on memorization. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from torch import Tensor

from bookkit.plots import EXACT, PALETTE, plane, with_bars


def basins_over_cells(
    ax: Axes,
    line: Tensor,
    basins: Tensor,
    differ: Tensor,
    cells: Sequence[Tensor],
    points: Tensor,
) -> None:
    """Basins of points as areas, the cells of the optimal transport as lines over them, and
    hatched where a latent lies in the basin of one point and the cell of another.

    Args:
        line: coordinates of the square grid of latents, shape (m,).
        basins: indices of points, shape (m, m), rows along y.
        differ: truth values, shape (m, m).
        cells: corners of each polygon, shape (V, 2). points: shape (n, 2).
    """
    colors = ListedColormap([PALETTE[k % len(PALETTE)] for k in range(len(points))])
    ax.pcolormesh(line, line, basins, cmap=colors, vmin=-0.5, vmax=len(points) - 0.5,
                  alpha=0.35, rasterized=True, shading="nearest")  # fmt: skip
    where = differ.double()
    hatched = ax.contourf(line, line, where, [0.5, 1.5], colors="none", hatches=["xxxxx"])
    hatched.set(edgecolor=EXACT, linewidth=0)
    for cell in cells:
        ax.fill(*cell.T, fill=False, edgecolor=EXACT, lw=1)
    ax.scatter(*points.T, color=EXACT, s=14, zorder=3)
    plane(ax, reach=float(line.max()))


def against(
    ax: Axes,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    yscale: str = "linear",
) -> None:
    """Named lines over a logarithmic axis, each given by x, values and standard errors; bars of
    two standard errors."""
    curves = {}
    for name, (x, value, error) in lines.items():
        pairs = list(zip(value, error))
        curves[name] = (x, value, [v - 2 * e for v, e in pairs], [v + 2 * e for v, e in pairs])
    with_bars(ax, curves)
    ax.set(xscale="log", yscale=yscale, xlabel=xlabel, ylabel=ylabel)
    ticks = sorted({tick for x, _, _ in lines.values() for tick in x})
    ax.set_xticks(ticks, [f"{tick:,g}" for tick in ticks], fontsize="small")
    ax.minorticks_off()
    if len(lines) > 1:
        ax.legend(fontsize="small")
