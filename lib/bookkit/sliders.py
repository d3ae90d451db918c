"""Sliders over precomputed frames, for pages that nobody computes for.

The frames lie side by side in one file beside the notebook, not in its output; the output is a
few lines of HTML that show one frame at a time. They need no kernel and no network, and work in
Jupyter, on the built page, and without a mouse.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from bookkit.notebook import Run
from bookkit.paths import FRAMES
from diffot.errors import as_number, as_whole_number, require, require_finite, require_type
from diffot.learning.runs import grid

BUDGET = 500_000  # bytes of a slider's frames
LONGEST_SIDE = 16_383  # pixels that the format allows
ZOOMED_TO = (720, 256)  # pixels on the screen that small frames are made to fill
EDGE = 1  # pixels around each frame that repeat its border, so that no neighbor shines through
Frame = Tensor | Figure | Image.Image | np.ndarray


@dataclass(frozen=True)
class Slider:
    """What one slider goes through.

    Args:
        label: what the values are, in words.
        values: in order; numbers or texts.
        unit: of the values, e.g. ``"standard deviations"``.
        start: the value shown first; by default the first.

    Raises:
        TypeError: for arguments of the wrong type.
        ValueError: if there are fewer than two values, two that look the same or one that is NaN
            or infinite, or if ``start`` is none of them.
    """

    label: str
    values: Sequence[float | str]
    unit: str = ""
    start: float | str | None = None

    def __post_init__(self):
        require_type(self.label, str, "label", "what the slider changes, a text")
        require_type(self.values, Sequence, "values", "a sequence of numbers or texts")
        require_type(self.unit, str, "unit", "a text")
        for value in self.values:
            if not isinstance(value, str):
                as_number(value, f"one of the values of slider {self.label!r}")
        require(bool(self.label.strip()), "a slider has no label; say in words what it changes")
        require(
            len(self.values) >= 2,
            f"slider {self.label!r} has {len(self.values)} values; expected at least two",
        )
        require(
            len(set(self.texts)) == len(self.values),
            f"slider {self.label!r} has values that look the same: {', '.join(self.texts)}",
        )
        require(
            self.start is None or self.start in self.values,
            f"slider {self.label!r} is to start at {self.start!r}; expected one of its values, "
            f"{', '.join(map(str, self.values))}",
        )

    @property
    def texts(self) -> list[str]:
        """The values as readers see them, with their unit."""
        shown = [v if isinstance(v, str) else f"{v:g}".replace("-", "−") for v in self.values]
        return [f"{text} {self.unit}".strip() for text in shown]

    @property
    def is_a_choice(self) -> bool:
        """Whether all values are texts."""
        return all(isinstance(value, str) for value in self.values)

    @property
    def first(self) -> int:
        """Place of the value shown first."""
        return 0 if self.start is None else list(self.values).index(self.start)


@dataclass(frozen=True)
class FrameSlider:
    """What :func:`frame_slider` returns; a notebook shows it as ``html``.

    ``path`` is the file with all frames, none where no file could be written and the HTML holds
    them itself; ``text`` stands for the slider where there is no HTML.
    """

    path: Path | None
    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def frame_slider(
    run: Run,
    name: str,
    frames: Sequence[Frame] | Tensor,
    *sliders: Slider,
    alt: str,
    zoom: int | None = None,
) -> FrameSlider:
    """Images that a reader goes through with one slider or two.

    Of two, one whose values are texts becomes a row of radio buttons.

    The frames are kept by :meth:`bookkit.notebook.Run.save` as one WebP file, without loss: those
    of ``make run`` in ``notebooks/frames``, others in the working directory. If the committed
    file shows the same up to the rounding of another processor, its bytes are used. Caption,
    number and label of the figure are given in the metadata of the cell, as for other figures.

    Args:
        name: of the slider, unique in the notebook: a letter, then letters, digits, ``_``, ``-``.
        frames: all of one size; with two sliders, the second changes faster. A frame is a tensor
            of shape (C, H, W), or of several images to be shown in rows of eight, (B, C, H, W),
            values in [-1, 1] (clipped); or a figure, which is closed; or an RGB image, as of
            :func:`diffot.learning.runs.grid` or as uint8 of shape (H, W, 3).
        sliders: one or two.
        alt: what the images show, for those who do not see them.
        zoom: pixels of the screen, to each side, for one of the frames; by default as many as
            fit in 720 x 256, or one. Enlarged pixels stay sharp, and narrow screens show less.

    Raises:
        TypeError: for arguments of the wrong type.
        ValueError: if frames and values do not match, or the file would be larger than 0.5 MB.
    """
    require_type(name, str, "name", "a text")
    require_type(alt, str, "alt", "what the images show, a text")
    zoom = None if zoom is None else as_whole_number(zoom, "zoom", least=1)
    require_type(frames, (Sequence, Tensor, np.ndarray), "frames", "a sequence of images")
    for slider in sliders:
        require_type(slider, Slider, "one of the sliders", "a Slider")
    require(
        re.fullmatch(r"[A-Za-z][\w-]*", name, re.ASCII) is not None,
        f"a slider is named {name!r}; expected a letter, then letters, digits, '_' and '-'",
    )
    require(bool(alt.strip()), f"slider {name} has no description; say in alt what is seen")
    require(
        len(sliders) in (1, 2),
        f"{name} has {len(sliders)} sliders; expected one or two",
    )
    _check_number(name, len(frames), sliders)
    pixels = [_pixels(frame) for frame in frames]
    sizes = sorted({image.shape[1::-1] for image in pixels})
    require(
        len(sizes) == 1,
        f"the frames of {name} have the sizes {', '.join(f'{w} x {h}' for w, h in sizes)}; "
        "expected one size",
    )
    (width, height) = sizes[0]
    columns = min(len(pixels), math.ceil(math.sqrt(len(pixels) * height / width)))
    sheet = _sheet(pixels, columns)
    committed = FRAMES / f"{run.name}-{name}.webp"
    content = committed.read_bytes() if _shows(committed, sheet) else _encoded(name, sheet)
    path = run.save(committed, content)
    if path is None:
        source = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    else:
        source = f"{FRAMES.name}/{path.name}" if path == committed else path.name
    return FrameSlider(
        path,
        _html(name, source, (width, height), sheet.shape[1::-1], columns, sliders, alt, zoom),
        f"{name}: {len(pixels)} frames, by {' and '.join(s.label for s in sliders)}",
    )


def _check_number(name: str, number: int, sliders: Sequence[Slider]) -> None:
    counts = [len(slider.values) for slider in sliders]
    hint = "; give them in one row, as by tensor.flatten(0, 1)" if number == counts[0] else ""
    require(
        number == math.prod(counts),
        f"{name} has {number} frames, and its sliders {' x '.join(map(str, counts))} values; "
        f"expected {math.prod(counts)} frames{hint}",
    )


def _pixels(frame: Frame) -> np.ndarray:
    """A frame as uint8 of shape (H, W, 3)."""
    if isinstance(frame, Tensor) and frame.is_floating_point() and frame.ndim in (3, 4):
        require_finite(frame, "a frame")
        image = grid(frame if frame.ndim == 4 else frame[None])
    elif isinstance(frame, Figure):
        image = _drawn(frame)
    elif isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim in (2, 3):
        image = Image.fromarray(frame)
    else:
        what = f"{type(frame).__name__} of {getattr(frame, 'dtype', 'unknown type')}"
        if not isinstance(frame, Image.Image):
            raise ValueError(
                f"a frame is a {what} and shape {tuple(getattr(frame, 'shape', ()))}; expected a "
                "floating-point tensor (C, H, W) or (B, C, H, W), a figure, an image, or an "
                "array of uint8 (H, W, 3)"
            )
        image = frame
    return np.asarray(image.convert("RGB"))


def _drawn(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)  # else the notebook shows it too
    return Image.open(buffer)


def _sheet(pixels: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Frames with their edges, in rows; shape (H', W', 3)."""
    cells = [np.pad(image, [(EDGE, EDGE), (EDGE, EDGE), (0, 0)], mode="edge") for image in pixels]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)


def _encoded(name: str, sheet: np.ndarray) -> bytes:
    advice = "take fewer or smaller frames, or fewer images in each"
    require(
        max(sheet.shape) <= LONGEST_SIDE,
        f"the frames of {name} fill {sheet.shape[1]} x {sheet.shape[0]} pixels, and at most "
        f"{LONGEST_SIDE} to a side can be stored; {advice}",
    )
    buffer = io.BytesIO()
    # the settings are part of what makes the bytes the same each time; method 6 takes ten times
    # as long, for files smaller by 0.3 to 3 %
    Image.fromarray(sheet).save(buffer, "webp", lossless=True, quality=100, method=4)
    size = buffer.tell()
    require(
        size <= BUDGET,
        f"the frames of {name} take {size / 1e3:.0f} kB, and a slider may have "
        f"{BUDGET / 1e3:.0f} kB; {advice}",
    )
    return buffer.getvalue()


def _shows(path: Path, sheet: np.ndarray) -> bool:
    """Whether a file shows these pixels, up to one step of 255."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
    except OSError:  # there is none, or it cannot be read
        return False
    return pixels.shape == sheet.shape and bool((abs(pixels - sheet) <= 1).all())


# The sheet is moved behind a window of the size of one frame. All that changes is the column and
# the row; the window has its size before the file is there.
_STYLE = """\
.frame-slider { max-width: 100%; padding: 0 0.25rem 0.25rem; }
.frame-slider .frame-window { max-width: 100%; overflow: hidden; margin: 0 auto 0.5rem; }
.frame-slider .frame-control { display: grid; grid-template-columns: 1fr auto;
  max-width: 36rem; margin: 0 auto; text-align: left; }
.frame-slider input[type="range"] { grid-area: 2 / 1 / 3 / 3; width: 100%; height: 2.75rem;
  margin: 0; cursor: pointer; }
.frame-slider .frame-choice { display: flex; flex-wrap: wrap; gap: 0 1.25rem; max-width: 36rem;
  margin: 0 auto; padding: 0; border: 0; text-align: left; }
.frame-slider .frame-choice label { min-height: 2.75rem; display: flex; align-items: center;
  gap: 0.4rem; cursor: pointer; }
.frame-slider .frame-value { font-variant-numeric: tabular-nums; }"""

_SCRIPT = """\
(() => {
  const slider = document.currentScript.parentElement;
  const image = slider.querySelector("img");
  const controls = [...slider.querySelectorAll(".frame-control, .frame-choice")];
  const show = () => {
    let frame = 0;
    for (const control of controls) {
      const radios = [...control.querySelectorAll('input[type="radio"]')];
      if (radios.length) {
        frame = frame * radios.length + radios.findIndex(radio => radio.checked);
        continue;
      }
      const input = control.querySelector("input");
      const text = input.list.options[input.value].label;
      input.setAttribute("aria-valuetext", text);
      input.nextElementSibling.textContent = text;
      frame = frame * input.list.options.length + Number(input.value);
    }
    const columns = Number(slider.dataset.columns);
    image.style.setProperty("--column", frame % columns);
    image.style.setProperty("--row", Math.floor(frame / columns));
  };
  slider.addEventListener("input", show);
  show();
})();"""


def _html(
    name: str,
    source: str,
    size: tuple[int, int],
    sheet_size: tuple[int, int],
    columns: int,
    sliders: Sequence[Slider],
    alt: str,
    zoom: int | None,
) -> str:
    (width, height), (sheet_width, sheet_height) = size, sheet_size
    zoom = zoom or max(1, min(ZOOMED_TO[0] // width, ZOOMED_TO[1] // height))
    frame = 0
    for slider in sliders:
        frame = frame * len(slider.values) + slider.first
    row, column = divmod(frame, columns)

    def shift(place: str, step: int, of: int) -> str:
        return f"calc(-100% * (var(--{place}) * {step + 2 * EDGE} + {EDGE}) / {of})"

    # written on the elements themselves, where no theme's rules for images override it
    window = f"width: {zoom * width}px; aspect-ratio: {width} / {height}"
    image = (
        f"--column: {column}; --row: {row}; display: block; padding: 0; border: 0; "
        f"border-radius: 0; margin: 0; filter: none; max-width: none; height: auto; "
        f"width: {100 * sheet_width / width:.6g}%; "
        f"image-rendering: {'pixelated' if zoom > 1 else 'auto'}; "
        f"transform: translate({shift('column', width, sheet_width)}, "
        f"{shift('row', height, sheet_height)})"
    )
    # beside another slider, texts are a choice and not an order
    controls = [
        (_choice if len(sliders) > 1 and slider.is_a_choice else _control)(
            f"slider-{name}-{i + 1}", slider
        )
        for i, slider in enumerate(sliders)
    ]
    return "\n".join(
        [
            f'<div class="frame-slider" id="slider-{name}" data-columns="{columns}">',
            f"<style>\n{_STYLE}\n</style>",
            f'<div class="frame-window" style="{window}">',
            f'<img src="{escape(source)}" alt="{escape(alt)}" style="{image}">',
            "</div>",
            *controls,
            f"<script>\n{_SCRIPT}\n</script>",
            "</div>",
        ]
    )


def _control(identifier: str, slider: Slider) -> str:
    texts = [escape(text) for text in slider.texts]
    options = "".join(f'<option value="{i}" label="{text}">' for i, text in enumerate(texts))
    shown = texts[slider.first]
    # a screen reader is told the value by the input; the span is for the eye
    return (
        '<div class="frame-control">\n'
        f'<label for="{identifier}">{escape(slider.label)}</label>\n'
        f'<input type="range" id="{identifier}" min="0" max="{len(texts) - 1}" step="1" '
        f'value="{slider.first}" list="{identifier}-values" autocomplete="off" '
        f'aria-valuetext="{shown}">\n'
        f'<span class="frame-value" aria-hidden="true">{shown}</span>\n'
        f'<datalist id="{identifier}-values">{options}</datalist>\n'
        "</div>"
    )


def _choice(identifier: str, slider: Slider) -> str:
    buttons = [
        f'<label><input type="radio" name="{identifier}" value="{i}" autocomplete="off"'
        f"{' checked' if i == slider.first else ''}> {escape(text)}</label>"
        for i, text in enumerate(slider.texts)
    ]
    legend = f"<legend>{escape(slider.label)}</legend>"
    return "\n".join(['<fieldset class="frame-choice">', legend, *buttons, "</fieldset>"])
