"""On a phone, the panels of a figure stand below each other.

A figure that is wider than a phone is parted where white runs through it between panels, and the
pieces are put beside it; the style sheet shows the figure on wide screens, and the pieces on
narrow ones. What has no such gap stays whole and is moved over, and so do vector graphics.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image
from sphinx.application import Sphinx

_FIGURE = re.compile(r'(<figure[^>]*>\s*)(<img [^>]*src="\.\./_images/([^"]+\.png)"[^>]*>)')
Box = tuple[int, int, int, int]
DPI = 120
PHONE = 4.5 * DPI  # pixels; wider figures are parted
GAP = 7  # pixels of white that part two panels
LEAST = 2 * DPI  # pixels of a panel
SMALLEST = 0.65  # of its size, at which a figure can still be read
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
    through it: upright ones, widest first; where these do not do, first a level one, below which
    a legend stands. None if a panel would still be too wide for a phone.
    """
    columns = _parted(gray)
    if max(np.diff(columns)) <= PHONE:
        height = gray.shape[0]
        return [(left, 0, right, height) for left, right in zip(columns, columns[1:])]
    for low, high in _bands(gray.T):
        place = (low + high) // 2
        above, below = _row(gray[:place]), _row(gray[place:])
        if above and below:
            return above + [(a, b + place, c, d + place) for a, b, c, d in below]
    return []


def _row(gray: np.ndarray) -> list[Box]:
    """The same for one row of panels, or for a legend, without the white beside it."""
    inked = np.flatnonzero((gray < WHITE).any(0))
    if not len(inked):
        return []
    left, right = max(int(inked[0]) - GAP, 0), min(int(inked[-1]) + 1 + GAP, gray.shape[1])
    columns = _parted(gray[:, left:right])
    if max(np.diff(columns)) > PHONE:
        return []
    places = [left + place for place in columns]
    return [(a, 0, b, gray.shape[0]) for a, b in zip(places, places[1:])]


def _bands(gray: np.ndarray) -> list[list[int]]:
    """White from top to bottom, from one column to another, widest first."""
    white = np.concatenate([[False], (gray >= WHITE).all(0), [False]])
    edges = np.flatnonzero(white[1:] != white[:-1]).reshape(-1, 2)
    return sorted(edges[np.ptp(edges, axis=1) >= GAP].tolist(), key=lambda b: b[0] - b[1])


def _parted(gray: np.ndarray) -> list[int]:
    """Columns that part a picture, with its ends."""
    ends = [0, gray.shape[1]]
    for low, high in _bands(gray):
        place = (low + high) // 2
        after = int(np.searchsorted(ends, place))
        if 0 < after < len(ends):
            left, right = ends[after - 1], ends[after]
            if right - left > PHONE and min(place - left, right - place) >= LEAST:
                ends.insert(after, place)
    return ends
