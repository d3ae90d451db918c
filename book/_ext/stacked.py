"""On a phone, the panels of a figure stand below each other.

A figure that is wider than a phone is parted where white runs through it between panels, and the
pieces are put beside it; the style sheet shows the figure on wide screens, and the pieces on
narrow ones. What has no such gap stays whole and is moved over, and so do vector graphics.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from sphinx.application import Sphinx

_FIGURE = re.compile(r'(<figure[^>]*>\s*)(<img [^>]*src="\.\./_images/([^"]+\.png)"[^>]*>)')
Box = tuple[int, int, int, int]
DPI = 120
PHONE = 4.85 * DPI  # pixels; wider figures are parted
GAP = 7  # pixels of white that part two panels
LEAST = 2 * DPI  # pixels of a panel
SMALLEST = 0.65  # of its size, at which a figure can still be read
NAME = 24  # pixels; an upright name of an axis is narrower, and at least twice as high
WHITE = 250


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", _stack)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _stack(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    if app.builder.format != "html" or "body" not in context:
        return
    sources = {name: path for path, (_, name) in app.env.images.items()}
    folder = Path(app.outdir, "_images")

    def beside(match: re.Match) -> str:
        before, tag, name = match.groups()
        alt = re.search('alt="([^"]*)"', tag)[1]
        with Image.open(Path(app.srcdir, sources[name])) as picture:
            boxes = parts(np.asarray(picture.convert("L")))
            if len(boxes) < 2:
                least = f'<img style="--least: {SMALLEST * picture.width:.0f}px" '
                return before + tag.replace("<img ", least)
            folder.mkdir(exist_ok=True)
            shown = []
            for i, box in enumerate(boxes):
                file = f"{name.removesuffix('.png')}-{i}.png"
                picture.crop(box).save(folder / file, optimize=True)
                size = f'width="{box[2] - box[0]}" height="{box[3] - box[1]}"'
                about = f'alt="{alt} (part {i + 1} of {len(boxes)})"'
                shown.append(f'<img {about} {size} loading="lazy" src="../_images/{file}">')
        return f'{before}{tag}<div class="stack">{"".join(shown)}</div>'

    context["body"] = _FIGURE.sub(beside, context["body"])


def parts(gray: np.ndarray) -> list[Box]:
    """The boxes of a picture's panels, row by row: left, upper, right, lower.

    A picture, of shape (height, width), is parted in the middle of bands of white that run
    through it: level ones between rows of panels, then upright ones, widest first. A legend below
    or beside the panels is a part of its own. None if a panel would be too wide for a phone.
    """
    height, width = gray.shape
    for rows in (_rows(gray), [0, height]):
        found = [_lower(_row(gray[upper:lower]), upper) for upper, lower in pairwise(rows)]
        if width > PHONE and all(found):
            return [box for boxes in found for box in boxes]
    return []


def _lower(boxes: list[Box], by: int) -> list[Box]:
    """The same boxes, so many pixels farther down."""
    return [(left, upper + by, right, lower + by) for left, upper, right, lower in boxes]


def _rows(gray: np.ndarray) -> list[int]:
    """Where a grid of panels is parted into rows, with its ends; only the ends if there is white
    as wide elsewhere, as between rows of small images, which belong together."""
    height, rows = gray.shape[0], _parted(gray.T)
    chosen, other = [], [0]
    for low, high in _bands(gray.T):
        if low > 0 and high < height:
            (chosen if (low + high) // 2 in rows else other).append(high - low)
    return rows if chosen and max(other) < 0.9 * min(chosen) else [0, height]


def _row(gray: np.ndarray) -> list[Box]:
    """The same for one row of panels, with or without a legend below it."""
    whole = _columns(gray)
    for low, high in _bands(gray.T):
        place = (low + high) // 2
        above, below = _columns(gray[:place]), _columns(gray[place:])
        if not (above and below):
            continue
        if not whole or (high - low >= 2 * GAP and _is_legend(gray[place:], above)):
            return above + _lower(below, place)
    return whole


def _is_legend(gray: np.ndarray, above: list[Box]) -> bool:
    """Whether what stands below panels is about all of them: it is low, and below the outer ones
    it leans inward, if it comes that far; the name of an axis does not."""
    if len(gray) > LEAST / 3:
        return False
    leans = []
    for left, _, right, _ in (above[0], above[-1]):
        inked = np.flatnonzero((gray[:, left:right] < WHITE).any(0))
        center = (inked[0] + inked[-1]) / 2 if len(inked) else None
        leans.append(None if center is None else center / (right - left) - 0.5)
    first, last = leans
    return (first is None or first > 0.05) and (last is None or last < -0.05)


def _columns(gray: np.ndarray) -> list[Box]:
    """The same without a legend below, and without the white at the sides."""
    inked = np.flatnonzero((gray < WHITE).any(0))
    if not len(inked):
        return []
    left, right = max(int(inked[0]) - GAP, 0), min(int(inked[-1]) + 1 + GAP, gray.shape[1])
    ends = [sum(band) // 2 for band in sorted(_bands(gray), reverse=True)]
    # what stands beside the panels from here on is a legend, if it is low
    for end in [right, *(end for end in ends if left < end < right)]:
        if _height(gray[:, end:right]) > 0.6 * _height(gray[:, left:end]):
            return []
        places = [left + place for place in _parted(gray[:, left:end], PHONE)]
        places[1:-1] = [_before_a_name(gray, place) for place in places[1:-1]]
        if max(np.diff(places)) <= PHONE:
            panels = [(a, 0, b, gray.shape[0]) for a, b in pairwise(places)]
            return panels + ([_legend(gray, end, right)] if right > end else [])
    return []


def _before_a_name(gray: np.ndarray, place: int) -> int:
    """A column in white; or one before the upright name of an axis, if that stands right before
    it and would be cut off from its panel."""
    ink = (gray < WHITE).any(0)
    runs = np.flatnonzero(np.diff(ink[:place], prepend=False, append=False)).reshape(-1, 2)
    if len(runs) < 2:
        return place
    (_, end), (start, stop) = runs[-2:]
    upright = stop - start < NAME < _height(gray[:, start:stop]) / 2
    return int(start + end) // 2 if upright and start - end > 1 else place


def _legend(gray: np.ndarray, left: int, right: int) -> Box:
    """The box of a legend between two columns, without the white above and below it."""
    inked = np.flatnonzero((gray[:, left:right] < WHITE).any(1))
    return left, max(int(inked[0]) - GAP, 0), right, min(int(inked[-1]) + 1 + GAP, len(gray))


def _height(gray: np.ndarray) -> int:
    """From the first to the last row that is not white."""
    inked = np.flatnonzero((gray < WHITE).any(1))
    return int(np.ptp(inked)) + 1 if len(inked) else 0


def _bands(gray: np.ndarray) -> list[list[int]]:
    """White from top to bottom, from one column to another, widest first."""
    white = np.concatenate([[False], (gray >= WHITE).all(0), [False]])
    edges = np.flatnonzero(white[1:] != white[:-1]).reshape(-1, 2)
    return sorted(edges[np.ptp(edges, axis=1) >= GAP].tolist(), key=lambda b: b[0] - b[1])


def _parted(gray: np.ndarray, most: float = 0) -> list[int]:
    """Columns that part a picture into pieces no wider than ``most``, if that can be, with its
    ends."""
    ends = [0, gray.shape[1]]
    for low, high in _bands(gray):
        place = (low + high) // 2
        after = int(np.searchsorted(ends, place))
        if 0 < after < len(ends):
            left, right = ends[after - 1], ends[after]
            if right - left > most and min(place - left, right - place) >= LEAST:
                ends.insert(after, place)
    return ends
