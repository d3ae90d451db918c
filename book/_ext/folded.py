"""Fold what cells print of claims and of tables that they read.

On a page of a notebook, such a block becomes one line, which opens to a table: what was measured,
the number, of how many, and the bounds that it has to keep. The sentences are those of
``data/results``; the numbers are those that the cell printed. Verdicts are shown as on the home
page.
"""

from __future__ import annotations

import json
import re
from html import escape

from docutils import nodes
from sphinx.application import Sphinx

from bookkit.paths import RESULTS
from bookkit.verdicts import VERDICTS, chip

_CLAIM = re.compile(r"(\w+\.[\w.]+): (.*?)(?:, n\s=\s([\d,]+))?  \[claimed: (.*)\]")
_ROWS = re.compile(r"\w+: .*\brows\b.*")
_END = re.compile(r"\d+ of \d+ claims hold; recorded in \w+\.json")
_NAMES = "(?:Premise|Hypothesis|Conjecture|Statement)"
_VERDICT = re.compile(rf"({_NAMES}[\w ]*?) ({'|'.join(VERDICTS)}): (.*)")
_HEAD = ("What was measured", "Value", "Of how many", "Bounds")


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", _fold)
    return {"parallel_read_safe": True, "version": "1"}


def _fold(app: Sphinx, document: nodes.document) -> None:
    folder, _, name = app.env.docname.rpartition("/")
    path = RESULTS / f"{name}.json"
    if folder != "notebooks" or not path.exists():
        return
    claims = json.loads(path.read_text(encoding="utf-8"))["claims"]
    says = {name: claim["says"] for name, claim in claims.items()}
    for block in list(document.findall(nodes.literal_block)):
        if {"output", "stream"} <= set(block["classes"]):
            folded, rest = split(block.astext(), says)
            if folded:
                others = nodes.literal_block(rest, rest, classes=block["classes"])
                others["language"] = block.get("language", "none")
                raw = nodes.raw("", folded, format="html")
                block.replace_self([raw, others] if rest else [raw])


def split(printed: str, says: dict[str, str]) -> tuple[str, str]:
    """What a cell printed of claims and tables, folded, and the other lines as they are.

    Args:
        printed: by a cell.
        says: what each claim of the notebook says, by its name.
    """
    lines = printed.strip().splitlines()
    claims = [match.groups(default="") for match in map(_CLAIM.fullmatch, lines) if match]
    notes = [line for line in lines if _ROWS.fullmatch(line) or _END.fullmatch(line)]
    verdicts = [match.groups() for match in map(_VERDICT.fullmatch, lines) if match]
    folded = (_CLAIM, _VERDICT, _ROWS, _END)
    rest = [line for line in lines if not any(kind.fullmatch(line) for kind in folded)]
    shown = _chips(verdicts) if verdicts else ""
    parts = [_table(claims, says)] if claims else []
    parts += [f"<p>{escape(line)}</p>" for line in notes]
    if not parts:
        return shown, "\n".join(rest)
    if len(parts) == 1 and not claims:
        return f'{shown}<div class="record">{parts[0]}</div>', "\n".join(rest)
    number = {0: "Tables that were read", 1: "1 claim"}.get(len(claims), f"{len(claims)} claims")
    head = f'<details class="record"><summary>{number}</summary>'
    return "".join([shown, head, *parts, "</details>"]), "\n".join(rest)


def _chips(verdicts: list[tuple[str, ...]]) -> str:
    """A line for each hypothesis, and the verdict on it in a word."""
    lines = [
        f"<li><span>{escape(name)}: {escape(because)}.</span><span>{chip(verdict)}</span></li>"
        for name, verdict, because in verdicts
    ]
    return "".join(['<ul class="chips">', *lines, "</ul>"])


def _table(claims: list[tuple[str, ...]], says: dict[str, str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEAD)
    rows = "".join(
        f"<tr><td>{escape(says.get(name, name))}<br><code>{name}</code></td>"
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        + "</tr>"
        for name, *cells in claims
    )
    return (
        '<div class="pst-scrollable-table-container"><table class="table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
