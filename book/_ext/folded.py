"""Fold what cells print of claims and of tables that they read.

On a page of a notebook, what the cells of a section print becomes one line at its end, which
opens to a table: what was measured, the number, of how many, and the bounds that it has to keep.
The sentences are those of ``data/results``; the numbers are those that the cells printed.
Verdicts are shown as on the home page, where they were printed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
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
    fold(document, {name: claim["says"] for name, claim in claims.items()})


def fold(document: nodes.Element, says: dict[str, str]) -> None:
    """Fold what the cells of a page print.

    Args:
        says: what each claim of the notebook says, by its name.
    """
    records: dict[nodes.Node, Record] = {}  # of each section, in the place of its last
    places: dict[nodes.Node, nodes.raw] = {}
    for block in list(document.findall(nodes.literal_block)):
        if not {"output", "stream"} <= set(block["classes"]):
            continue
        verdicts, record, rest = split(block.astext())
        if not verdicts and not record and rest == block.astext().strip():
            continue
        left: list[nodes.Node] = []
        if verdicts:
            left.append(nodes.raw("", _chips(verdicts), format="html"))
        if rest:
            others = nodes.literal_block(rest, rest, classes=block["classes"])
            others["language"] = block.get("language", "none")
            left.append(others)
        if record:
            section = _section(block)
            if section in places:
                _remove(places[section])
                record = records[section] + record
            records[section], places[section] = record, nodes.raw("", "", format="html")
            left.append(places[section])
        if left:
            block.replace_self(left)
        else:
            _remove(block)
    for section, place in places.items():
        place += nodes.Text(records[section].folded(says))


def _remove(node: nodes.Node) -> None:
    """Take a node away, and the output of a cell that nothing is left of."""
    output = node.parent
    output.remove(node)
    if not output.children and "cell_output" in output.get("classes", []):
        output.parent.remove(output)


def _section(node: nodes.Node) -> nodes.Node:
    """The innermost section that a node stands in, or the page."""
    while not isinstance(node, (nodes.section, nodes.document)):
        node = node.parent
    return node


@dataclass(frozen=True)
class Record:
    """Claims that cells printed, each with its name, value, number and bounds, and the tables
    that they read."""

    claims: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.claims or self.notes)

    def __add__(self, other: Record) -> Record:
        return Record(self.claims + other.claims, self.notes + other.notes)

    def folded(self, says: dict[str, str]) -> str:
        """One line that opens to a table.

        Args:
            says: what each claim of the notebook says, by its name.
        """
        parts = [_table(self.claims, says)] if self.claims else []
        parts += [f"<p>{escape(note)}</p>" for note in self.notes]
        count = len(self.claims)
        number = {0: "Tables that were read", 1: "1 claim"}.get(count, f"{count} claims")
        head = f'<details class="record"><summary>{number}</summary>'
        return "".join([head, *parts, "</details>"])


def split(printed: str) -> tuple[list[tuple[str, ...]], Record, str]:
    """What a cell printed: verdicts, claims and tables, and the other lines as they are. How many
    claims hold and where they are kept is for who runs the notebook, and left out."""
    lines = printed.strip().splitlines()
    claims = tuple(match.groups(default="") for match in map(_CLAIM.fullmatch, lines) if match)
    notes = tuple(line for line in lines if _ROWS.fullmatch(line))
    verdicts = [match.groups() for match in map(_VERDICT.fullmatch, lines) if match]
    known = (_CLAIM, _VERDICT, _ROWS, _END)
    rest = [line for line in lines if not any(kind.fullmatch(line) for kind in known)]
    return verdicts, Record(claims, notes), "\n".join(rest)


def _chips(verdicts: list[tuple[str, ...]]) -> str:
    """A line for each hypothesis, and the verdict on it in a word."""
    lines = [
        f"<li><span>{escape(name)}: {escape(because)}.</span><span>{chip(verdict)}</span></li>"
        for name, verdict, because in verdicts
    ]
    return "".join(['<ul class="chips">', *lines, "</ul>"])


def _table(claims: tuple[tuple[str, ...], ...], says: dict[str, str]) -> str:
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
