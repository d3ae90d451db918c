"""The whole book as one PDF: the built pages in one document, printed by Chromium.

A link to a page of the book becomes a link within the document, and every ``id`` gets the name of
its page in front, so that none occurs twice. Code that the pages hide is left out, solutions of
exercises are open, and of a slider there is the frame that the page shows first. How it looks is
in ``book/_static/print.css``.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, SoupStrainer, Tag
from PIL import Image
from sphinx_external_toc.parsing import parse_toc_yaml

from bookkit.sliders import EDGE
from diffot.errors import require
from diffot.files import write_whole
from diffot.paths import ROOT

BUILD = ROOT / "_build"
STYLE = ROOT / "book" / "_static" / "print.css"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
COLUMNS = 5  # with more than that, the pages of a chapter lie on their side
MINUTES = 10  # that Chromium may take for any of its steps

# Attributes that name ids of the same page.
_IDS = {"for", "list", "headers", "aria-controls", "aria-describedby", "aria-labelledby"}
# What makes no sense on paper: hidden code, links to headings themselves, scripts, buttons.
_LEFT_OUT = (
    "details.hide, a.headerlink, script, style, button, datalist, .claims-filter, "
    ".sd-summary-icon, .sd-summary-state-marker"
)
_NOT_PRINTED = ("copybutton", "togglebutton", "thebe")  # style sheets of what is left out
_HEADING = re.compile("^h[1-6]$")
# Each shape of a letter is drawn once, and formulas have no second form for screen readers.
_MATHEMATICS = (
    "MathJax.svg = {fontCache: 'global'}; "
    "Object.assign(MathJax.options, {enableAssistiveMml: false, enableMenu: false});"
)


@dataclass(frozen=True)
class Page:
    """A page of the table of contents: its name as there, the part that it opens or is in, and
    how deep it is below that."""

    name: str
    part: str
    depth: int

    @property
    def id(self) -> str:
        return _id(self.name)


def pages(toc: Path) -> list[Page]:
    """The pages of a table of contents in the order in which they are read; the first is in no
    part."""
    site = parse_toc_yaml(toc)
    found = [Page(site.root.docname, "", 0)]

    def below(document, part: str, depth: int) -> Iterator[Page]:
        for tree in document.subtrees:
            for item in tree.items:
                if item in site:  # the others are links to elsewhere
                    name = tree.caption if depth == 0 else part
                    yield Page(item, name or "", depth)
                    yield from below(site[item], name, depth + 1)

    return [*found, *below(site.root, "", 0)]


def joined(html: Path, repository: Path = ROOT) -> str:
    """One HTML document of all built pages, to lie beside the folder ``html``. All files that it
    asks for are in there.

    Args:
        html: the folder of the built book.
        repository: where ``_toc.yml`` and ``_config.yml`` are.

    Raises:
        ValueError: if a page of the table of contents is not in the built book.
    """
    config = yaml.safe_load((repository / "_config.yml").read_text(encoding="utf-8"))
    contents = pages(repository / "_toc.yml")
    lacking = [page.name for page in contents if not (html / f"{page.name}.html").exists()]
    require(
        not lacking,
        f"{html} lacks {', '.join(lacking)}, which the table of contents has; build the book "
        "first: make book",
    )
    names = {page.name for page in contents}
    articles = [_article(html, page, names) for page in contents]
    titles = [article.find(_HEADING).get_text().strip() for article in articles]
    part = ""
    for page, article in zip(contents, articles):
        if page.part != part:
            part = page.part
            article.insert(0, BeautifulSoup(f'<h1 class="part">{escape(part)}</h1>', "html.parser"))
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light">\n<head>',
            f'<meta charset="utf-8">\n<title>{escape(config["title"])}</title>',
            *_head(html, contents[0]),
            f"<style>\n{STYLE.read_text(encoding='utf-8')}",
            *map(_running_head, contents, titles),
            "</style>\n</head>\n<body>",
            f'<header class="title-page"><p class="title">{escape(config["title"])}</p>',
            f"<p>{escape(config['author'])}, {config['copyright']}</p></header>",
            _contents(contents, titles),
            *map(str, articles),
            "</body>\n</html>\n",
        ]
    )


def _id(name: str) -> str:
    return name.replace("/", "-")


def _rebased(html: Path, page: str, target: str) -> str:
    """Where a file that a page names lies, as seen from beside the folder of all pages."""
    path = urlsplit(target)._replace(query="", fragment="").geturl()
    return join(html.name, normpath(join(dirname(page), path)))


def _soup(html: Path, page: Page, only: str) -> BeautifulSoup:
    text = (html / f"{page.name}.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser", parse_only=SoupStrainer(only))


def _head(html: Path, page: Page) -> Iterator[str]:
    """What the head of a page has that matters on paper: style sheets and the mathematics."""
    for element in _soup(html, page, "head").find_all(["link", "script"]):
        source = element.get("href") or element.get("src") or ""
        if element.name == "link" and "stylesheet" in element.get("rel", []):
            if not any(name in source for name in _NOT_PRINTED):
                yield f'<link rel="stylesheet" href="{_rebased(html, page.name, source)}">'
        elif element.name == "script" and "mathjax" in source:
            yield f"<script>{_MATHEMATICS}</script>"
            yield f'<script src="{_rebased(html, page.name, source)}"></script>'
        elif element.name == "script" and "window.MathJax" in (element.string or ""):
            yield str(element)


def _article(html: Path, page: Page, names: set[str]) -> Tag:
    """What a page says, with headings as deep as the page is, and ready to be joined."""
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
    for element in article.find_all(True):
        if element.has_attr("id"):
            element["id"] = f"{page.id}--{element['id']}"
        for attribute in _IDS & element.attrs.keys():
            value = element[attribute]
            words = value.split() if isinstance(value, str) else value
            element[attribute] = " ".join(f"{page.id}--{word}" for word in words)
    for link in article.find_all("a", href=True):
        target = _target(link["href"], page, names)
        if target is None:
            link.unwrap()
        else:
            link["href"] = target
    for image in article.find_all("img", src=True):
        if not urlsplit(image["src"]).scheme:
            image["src"] = _rebased(html, page.name, image["src"])
    wide = any(len(row.find_all(["td", "th"])) > COLUMNS for row in article.find_all("tr"))
    article["id"] = page.id
    article["class"] = ["bd-article", "wide"] if wide else ["bd-article"]
    article["style"] = f"page: {page.id}"
    return article


def _target(href: str, page: Page, names: set[str]) -> str | None:
    """A link as it is in the joined document; None for files that are not in it."""
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return href
    name = normpath(join(dirname(page.name), unquote(parts.path))) if parts.path else page.name
    name = name.removesuffix(".html")
    if name not in names:
        return None
    return f"#{_id(name)}--{unquote(parts.fragment)}" if parts.fragment else f"#{_id(name)}"


def _stop(slider: Tag, html: Path, page: Page) -> None:
    """Cut the frame that a slider shows first out of its sheet; below it stays what it is of."""
    window, image = slider.select_one(".frame-window"), slider.img
    width, height = map(int, re.search(r"aspect-ratio: (\d+) / (\d+)", window["style"]).groups())
    place = re.search(r"--column: (\d+); --row: (\d+)", image["style"]).groups()
    left, top = (int(n) * (size + 2 * EDGE) + EDGE for n, size in zip(place, (width, height)))
    buffer = io.BytesIO()
    source = html.parent / _rebased(html, page.name, image["src"])
    with Image.open(source) as sheet:
        sheet.crop((left, top, left + width, top + height)).save(buffer, "png")
    image["src"] = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    sharp = re.search(r"image-rendering: \w+", image["style"]).group()
    image["style"] = f"{window['style'].split(';')[0]}; {sharp}"
    del window["style"]
    for control in slider.select("input"):
        control.replace_with(": ")


def _quoted(text: str) -> str:
    """A text in a style sheet."""
    return '"' + re.sub(r'["\\<\n]', lambda m: f"\\{ord(m.group()):x} ", text) + '"'


def _running_head(page: Page, title: str) -> str:
    return f"@page {page.id} {{ @top-left {{ content: {_quoted(title)}; }} }}"


def _contents(contents: list[Page], titles: list[str]) -> str:
    """The table of contents, with a place for the number of each page."""
    rows, part = [], ""
    for page, title in zip(contents, titles):
        if page.part != part:
            part = page.part
            rows.append(f'<p class="part">{escape(part)}</p>')
        rows.append(
            f'<p class="depth-{page.depth}"><a href="#{page.id}"><span>{escape(title)}</span>'
            '<span class="number"></span></a></p>'
        )
    return "\n".join(['<nav class="contents">\n<h1>Contents</h1>', *rows, "</nav>"])


def chromium() -> str:
    """The path of the browser that prints.

    Raises:
        ValueError: if there is none.
    """
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    require(
        path is not None,
        "the PDF is printed by Chromium, and there is none; on Debian: apt install chromium; "
        "or set CHROMIUM to the path of one",
    )
    return path


def write(target: Path = BUILD / "book.pdf", html: Path = BUILD / "html") -> Path:
    """Print the built book.

    The joined document is kept beside the folder of the built book, as ``book.html``.

    Args:
        target: the PDF, which appears whole or not at all.
        html: the folder of the built book.

    Raises:
        ValueError: if the book is not built, or there is no Chromium.
    """
    executable = chromium()
    require(
        (html / ".complete").exists(),
        f"there is no complete build of the book in {html}; run: make book",
    )
    document = html.parent / "book.html"
    write_whole(document, joined(html).encode())
    write_whole(target, printed(document, executable))
    return target


def printed(document: Path, executable: str) -> bytes:
    """The PDF of a joined document, with bookmarks, and with page numbers in its contents."""
    from playwright.sync_api import sync_playwright  # takes a moment, and only this needs it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS])
        page = browser.new_page()
        page.set_default_timeout(MINUTES * 60_000)
        page.goto(document.resolve().as_uri(), wait_until="load")
        page.evaluate("window.MathJax && MathJax.startup.promise")
        content = page.pdf(prefer_css_page_size=True, print_background=True, outline=True)
        browser.close()
    return content
