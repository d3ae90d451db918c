"""What the home page is made of: numbers of claims, a slider of a chapter, cards for the parts.

``{claim}`V1.x` `` stands for the value of a claim. ``{chapter-slider} NOTEBOOK NAME`` shows a
slider of that notebook. ``{part} CAPTION`` makes a card of a part of the table of contents, with
the figure of the option ``figure``, the sentences inside, and its chapters with the minutes that
reading them takes. No number is typed by hand.
"""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import ClassVar

import nbformat
import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from bookkit.claims import claim_text, number_text
from bookkit.paths import NOTEBOOKS, RESULTS
from bookkit.reading import words
from diffot.paths import ROOT

CARDS = Path("_static", "cards")
WIDTH = 480  # pixels of a card's picture
WORDS_PER_MINUTE = 200
RASTER, VECTOR = "image/png", "image/svg+xml"


def setup(app: Sphinx) -> dict:
    app.add_role("claim", ClaimRole())
    app.add_role("percent", PercentRole())
    app.add_directive("chapter-slider", ChapterSlider)
    app.add_directive("part", Part)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class ClaimRole(SphinxRole):
    """The value of a claim, with its uncertainty."""

    def shown(self, claim: dict) -> str:
        return claim_text(claim)["value"]

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        for path in sorted(RESULTS.glob("*_*.json")):
            claims = json.loads(path.read_text(encoding="utf-8"))["claims"]
            if self.text in claims:
                self.env.note_dependency(str(path))
                return [nodes.Text(self.shown(claims[self.text]))], []
        message = self.inliner.reporter.error(f"there is no claim {self.text!r}")
        return [], [message]


class PercentRole(ClaimRole):
    """The same of a share, in percent."""

    def shown(self, claim: dict) -> str:
        value, error = (
            share if share is None else round(100 * share, 10)
            for share in (claim["value"], claim["uncertainty"])
        )
        return number_text(value, error)


class ChapterSlider(SphinxDirective):
    """A slider that a notebook made, on another page."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        notebook, name = self.arguments
        path = NOTEBOOKS / f"{notebook}.ipynb"
        self.env.note_dependency(str(path))
        for cell in _cells(path):
            for output in cell.get("outputs", []):
                html = output.get("data", {}).get("text/html", "")
                if f'id="slider-{name}"' in html:
                    html = html.replace('src="frames/', 'src="../notebooks/frames/')
                    return [nodes.raw("", html, format="html")]
        raise self.error(f"{path} has no slider {name!r}")


class Part(SphinxDirective):
    """A card for a part of the book."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {"figure": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        caption, label = self.arguments[0], self.options["figure"]
        chapters = _parts().get(caption)
        if chapters is None:
            raise self.error(f"the table of contents has no part {caption!r}")
        picture = _picture(label)
        self.env.note_dependency(str(picture.notebook))
        folder = Path(self.env.app.outdir, CARDS)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / picture.file).write_bytes(picture.content)
        body = nodes.container(classes=["part-card"])
        source = f"../{CARDS.as_posix()}/{picture.file}"
        head = f'<img src="{source}" alt="{escape(picture.alt)}"><h3>{escape(caption)}</h3>'
        body += nodes.raw("", head, format="html")
        self.state.nested_parse(self.content, self.content_offset, body)
        body += nodes.raw("", "\n".join(["<ul>", *map(_entry, chapters), "</ul>"]), format="html")
        return [body]


def _entry(file: str) -> str:
    """A line for a chapter: its title, and the minutes that reading takes."""
    path = ROOT / f"{file}.ipynb"
    if path.exists():
        text = "\n".join(cell.source for cell in _cells(path) if cell.cell_type == "markdown")
    else:
        text = (ROOT / f"{file}.md").read_text(encoding="utf-8")
    title = re.search(r"^# (.*)$", text, re.M)[1]
    minutes = max(1, round(words(text) / WORDS_PER_MINUTE))
    link = f'<a href="../{file}.html">{escape(title)}</a>'
    return f'<li>{link} <span class="minutes">{minutes} min</span></li>'


def _cells(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


def _parts() -> dict[str, list[str]]:
    """Chapters of each part of the table of contents."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return {
        part["caption"]: [chapter["file"] for chapter in part["chapters"]]
        for part in contents["parts"]
    }


@dataclass(frozen=True)
class Picture:
    """A figure of a notebook, small."""

    notebook: Path
    file: str
    content: bytes
    alt: str


def _picture(label: str) -> Picture:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in _cells(path):
            shown = cell.metadata.get("mystnb", {})
            if shown.get("figure", {}).get("name") == label:
                (data,) = [o["data"] for o in cell.outputs if {RASTER, VECTOR} & {*o["data"]}]
                return _small(path, label, data, shown["image"]["alt"])
    raise ValueError(f"no notebook has a figure {label!r}")


def _small(notebook: Path, label: str, data: dict, alt: str) -> Picture:
    if VECTOR in data:
        return Picture(notebook, f"{label}.svg", data[VECTOR].encode(), alt)
    image = Image.open(io.BytesIO(base64.b64decode(data[RASTER]))).convert("RGB")
    image.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return Picture(notebook, f"{label}.png", buffer.getvalue(), alt)
