"""The whole book as one PDF: the built pages in one document, printed by Chromium.

A link to a page of the book becomes a link within the document, and every ``id`` gets the name of
its page in front, so that none occurs twice. Code that the pages hide is left out, solutions of
exercises are open, and of a slider there is the frame that the page shows first. How it looks is
in ``book/_static/print.css``.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Container, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, SoupStrainer
from PIL import Image
from sphinx_external_toc.parsing import parse_toc_yaml

from bookkit.sliders import EDGE
from diffot.errors import require
from diffot.files import write_whole
from diffot.paths import ROOT

BUILD = ROOT / "_build"
STYLE = ROOT / "book" / "_static" / "print.css"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
MINUTES = 10  # that Chromium may take to load the document

# What makes no sense on paper: hidden code, links to headings themselves, scripts, controls.
_LEFT_OUT = (
    "details.hide, a.headerlink, script, style, button, input, datalist, .claims-filter, "
    ".sd-summary-icon, .sd-summary-state-marker"
)
_HEADING = re.compile("^h[1-6]$")
# Each shape of a letter is drawn once, and formulas have no second, hidden form.
_MATHEMATICS = "MathJax.svg = {fontCache: 'global'}; MathJax.options.enableAssistiveMml = false;"
_NUMBER_CONTENTS = """numbers => document.querySelectorAll(".book-contents a").forEach(
    link => { link.lastElementChild.textContent = numbers[link.hash.slice(1)]; })"""


@dataclass(frozen=True)
class Page:
    """A page of the table of contents: its name, how deep it is there, and the name of the part
    that it opens, if it does."""

    name: str
    depth: int = 0
    part: str = ""

    @property
    def id(self) -> str:
        return _id(self.name)


def pages(toc: Path) -> list[Page]:
    """The pages of a table of contents, in the order in which they are read."""
    site: Any = parse_toc_yaml(toc)

    def below(name: str, depth: int) -> Iterator[Page]:
        for tree in site[name].subtrees:
            part = tree.caption or ""
            for item in filter(site.__contains__, tree.items):  # the others lead elsewhere
                yield Page(item, depth, part)
                yield from below(item, depth + 1)
                part = ""

    root = site.root.docname
    return [Page(root), *below(root, 1)]


def joined(html: Path, repository: Path = ROOT) -> str:
    """One HTML document of all built pages, to lie beside their folder, where its files are.

    Args:
        html: the folder of the built book.
        repository: where ``_toc.yml`` and ``_config.yml`` are.

    Raises:
        ValueError: if a page of the table of contents is not in the built book.
    """
    config = yaml.safe_load((repository / "_config.yml").read_text(encoding="utf-8"))
    contents = pages(repository / "_toc.yml")
    names = {page.name for page in contents}
    lacking = [page.name for page in contents if not (html / f"{page.name}.html").exists()]
    require(
        not lacking,
        f"{html} lacks {', '.join(lacking)}, which the table of contents has; build the book "
        "first: make book",
    )
    styles, rows, articles = [], [], []
    for page in contents:
        article = _article(html, page, names)
        title = article.find(_HEADING).get_text().strip()
        if page.part:
            part = f'<h1 class="part">{escape(page.part)}</h1>'
            article.insert(0, BeautifulSoup(part, "html.parser"))
            rows.append(f'<p class="part">{escape(page.part)}</p>')
        rows.append(
            f'<p class="depth-{page.depth}"><a href="#{page.id}"><span>{escape(title)}</span>'
            "<span></span></a></p>"
        )
        above = json.dumps(title, ensure_ascii=False)
        styles.append(f"@page {page.id} {{ @top-left {{ content: {above}; }} }}")
        articles.append(str(article))
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light">\n<head>',
            f'<meta charset="utf-8">\n<title>{escape(config["title"])}</title>',
            *_head(html, contents[0]),
            f"<style>\n{STYLE.read_text(encoding='utf-8')}",
            *styles,
            "</style>\n</head>\n<body>",
            f'<header class="title-page"><p class="title">{escape(config["title"])}</p>',
            f"<p>{escape(config['author'])}, {config['copyright']}</p></header>",
            '<nav class="book-contents">\n<h1>Contents</h1>',
            *rows,
            "</nav>",
            *articles,
            "</body>\n</html>\n",
        ]
    )


def _id(name: str) -> str:
    return name.replace("/", "-")


def _beside(html: Path, page: Page, target: str) -> str:
    """Where a file that a page names lies, as seen from beside the folder of all pages."""
    return join(html.name, normpath(join(dirname(page.name), urlsplit(target).path)))


def _soup(html: Path, page: Page, only: str) -> Any:
    """A part of a page; what is found in it is a ``Tag``, or nothing."""
    text = (html / f"{page.name}.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser", parse_only=SoupStrainer(only))


def _head(html: Path, page: Page) -> Iterator[str]:
    """What the head of a page has that matters on paper: style sheets and the mathematics. The
    first page has the mathematics if any has."""
    for element in _soup(html, page, "head").find_all(["link", "script"]):
        if "stylesheet" in element.get("rel", []):
            yield f'<link rel="stylesheet" href="{_beside(html, page, element["href"])}">'
        elif "mathjax" in element.get("src", ""):
            yield f"<script>{_MATHEMATICS}</script>"
            yield f'<script src="{_beside(html, page, element["src"])}"></script>'
        elif "window.MathJax" in (element.string or ""):
            yield str(element)


def _article(html: Path, page: Page, names: Container[str]) -> Any:
    """What a page says, with headings below those of the pages above it, ready to be joined."""
    article = _soup(html, page, "article").article
    require(article is not None, f"{html / page.name}.html has no article; is it of this book?")
    for slider in article.select(".frame-slider"):
        _stop(slider, html, page)
    for element in article.select(_LEFT_OUT):
        element.decompose()
    for details in article.find_all("details"):
        details["open"] = ""
    for heading in article.find_all(_HEADING):
        heading.name = f"h{min(6, int(heading.name[1]) + page.depth)}"
    for element in article.find_all(id=True):
        element["id"] = f"{page.id}--{element['id']}"
    for link in article.find_all("a", href=True):
        target = _target(link["href"], page, names)
        if target is None:
            link.unwrap()
        else:
            link["href"] = target
    for image in article.find_all("img", src=True):
        if not urlsplit(image["src"]).scheme:
            image["src"] = _beside(html, page, image["src"])
    article["id"] = page.id
    article["style"] = f"page: {page.id}"
    return article


def _target(href: str, page: Page, names: Container[str]) -> str | None:
    """A link as it is in the joined document; None for files that are not in it."""
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return href
    name = normpath(join(dirname(page.name), unquote(parts.path))) if parts.path else page.name
    name = name.removesuffix(".html")
    if name not in names:
        return None
    return f"#{_id(name)}--{unquote(parts.fragment)}" if parts.fragment else f"#{_id(name)}"


def _stop(slider: Any, html: Path, page: Page) -> None:
    """Cut the frame that a slider shows first out of its sheet; below it stays what it is of."""
    window, image = slider.select_one(".frame-window"), slider.img
    size = re.findall(r"aspect-ratio: (\d+) / (\d+)", window["style"])[0]
    place = re.findall(r"--column: (\d+); --row: (\d+)", image["style"])[0]
    width, height = map(int, size)
    left, top = (int(n) * (size + 2 * EDGE) + EDGE for n, size in zip(place, (width, height)))
    buffer = io.BytesIO()
    with Image.open(html.parent / _beside(html, page, image["src"])) as sheet:
        sheet.crop((left, top, left + width, top + height)).save(buffer, "png")
    image["src"] = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    sharp = re.findall(r"image-rendering: \w+", image["style"])[0]
    image["style"] = f"{window['style'].split(';')[0]}; {sharp}"
    del window["style"]
    for label in slider.select("label"):
        label.append(":")


def chromium() -> str:
    """The path of the browser that prints; a ``ValueError`` if there is none."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        raise ValueError(
            "the PDF is printed by Chromium, and there is none; on Debian: apt install chromium; "
            "or set CHROMIUM to the path of one"
        )
    return path


def write(build: Path = BUILD) -> Path:
    """Print the book that is built in ``build/html`` to ``build/book.pdf``, which appears whole
    or not at all. The joined document stays beside it.

    Raises:
        ValueError: if the book is not built, or there is no Chromium.
    """
    executable = chromium()
    html, document, target = build / "html", build / "book.html", build / "book.pdf"
    require(
        (html / ".complete").exists(),
        f"there is no complete build of the book in {html}; run: make book",
    )
    write_whole(document, joined(html).encode())
    write_whole(target, printed(document, executable))
    return target


def printed(document: Path, executable: str) -> bytes:
    """The PDF of a joined document, with bookmarks. It is printed twice, for only then the
    numbers of pages are known that its contents show."""
    from playwright.sync_api import sync_playwright  # takes a moment, and only this needs it

    options: dict[str, Any] = {"prefer_css_page_size": True, "print_background": True}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS])
        page = browser.new_page()
        page.set_default_timeout(MINUTES * 60_000)
        page.goto(document.resolve().as_uri(), wait_until="load")
        page.evaluate("window.MathJax && MathJax.startup.promise")
        page.evaluate(_NUMBER_CONTENTS, page_numbers(page.pdf(**options)))
        content = page.pdf(**options, tagged=True, outline=True)
        browser.close()
    return content


def page_numbers(pdf: bytes) -> dict[str, int]:
    """On which page each target of a link is, in a PDF as Chromium writes it."""
    order = re.findall(rb"(\d+) 0 obj\n<</Type /Page\n", pdf)
    targets = re.findall(rb"/(\S+) \[(\d+) 0 R /XYZ", pdf)
    return {name.decode(): order.index(page) + 1 for name, page in targets}
