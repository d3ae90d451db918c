"""Tables of numbers as readers like them.

What pandas writes is changed when a page is read: powers of ten are written out, minus signs are
minus signs, what is missing is a dash, values do not part from their errors, and the names of the
rows stand in the head's first line, where it has room.
"""

from __future__ import annotations

import re

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.application import Sphinx

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_POWER = re.compile(r"(\d(?:\.\d+)?)e([+-]\d+)")


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", _tidy)
    app.connect("html-page-context", _scope)
    return {"parallel_read_safe": True, "version": "1"}


def _tidy(app: Sphinx, document: nodes.document) -> None:
    for node in document.findall(nodes.raw):
        if 'class="dataframe"' in node.astext():
            node.children = [nodes.Text(tidied(node.astext()))]


def _scope(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Say of the heads of the tables in the text that they are those of their columns."""
    if "body" in context:
        context["body"] = context["body"].replace(
            '<th class="head', '<th scope="col" class="head'
        )


def tidied(html: str) -> str:
    """A page's piece with the tables of pandas in it."""
    page = BeautifulSoup(html, "html.parser")
    for table in page.select("table.dataframe"):
        _merge_heads(table)
        for scope, place in (("col", "thead th"), ("row", "tbody th")):
            for head in table.select(place):
                head["scope"] = scope
        for cell in table.select("td, th"):
            if cell.string:
                cell.string = number(cell.string)
    return str(page)


def number(text: str) -> str:
    """A cell's text, with its numbers written out."""
    text = _POWER.sub(_written_out, text.strip())
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return {"NaN": "–", "nan": "–"}.get(text, text).replace(" ± ", "\u00a0±\u00a0")


def _written_out(match: re.Match) -> str:
    mantissa, power = match[1], int(match[2])
    if float(mantissa) == 0:
        return "0"
    return f"{mantissa}\u00a0×\u00a010{str(power).translate(_SUPERSCRIPT)}"


def _merge_heads(table: BeautifulSoup) -> None:
    """Move the names of the rows, which have a line of their own, into the one above."""
    rows = table.select("thead tr")
    if len(rows) != 2:
        return
    first, second = (row.find_all("th") for row in rows)
    named = [i for i, cell in enumerate(second) if cell.string]
    if len(first) != len(second) or not named:
        return
    names = second[: named[-1] + 1]
    if len(names) == len(second) or any(cell.string for cell in first[: len(names)]):
        return
    for cell, name in zip(first, names):
        cell.string, cell["class"] = name.string or "", "name"
    rows[1].decompose()
