"""Write what ``make bench`` measured into the page on benchmarks.

A line ``<!-- benchmarks -->`` of a page is replaced, when the page is read, by the tables made of
``data/results/benchmarks.json``. No number of them is typed by hand.
"""

from __future__ import annotations

import json
import math

from sphinx.application import Sphinx

from bookkit.claims import number_text
from bookkit.paths import RESULTS

_PLACE = "<!-- benchmarks -->"
_HEAD = ("What", "Against", "Ours", "Theirs", "Ratio (quartiles)", "Target")
_NONE = """:::{note}
Nothing has been measured yet in this copy of the book, for it has no file
`data/results/benchmarks.json`. `make bench` makes it, in an hour and a half, and the next
`make book` shows it here.
:::"""


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    if _PLACE in source[0]:
        path = RESULTS / "benchmarks.json"
        if path.exists():
            app.env.note_dependency(str(path))
        entries = json.loads(path.read_text()) if path.exists() else []
        source[0] = source[0].replace(_PLACE, benchmarks_text(entries))


def benchmarks_text(entries: list[dict]) -> str:
    """All topics of each machine."""
    parts = [part for entry in entries for part in _machine(**entry)]
    return "\n\n".join(parts) if parts else _NONE


def _machine(machine: dict, topics: dict[str, dict]) -> list[str]:
    rows = [row for topic in topics.values() for row in topic["rows"]]
    aims = [row for row in rows if row["target"] is not None]
    missed = [row for row in aims if not row["met"]]
    parts = [f"## {_named(machine)}", _described(machine)]
    parts.append(f"Of {len(aims)} targets, {len(aims) - len(missed)} are met.")
    for topic in topics.values():
        parts += _topic(**topic)
    return parts


def _named(machine: dict) -> str:
    names = [machine["processor"], machine["accelerator"]]
    return " with ".join(name for name in names if name)


def _described(machine: dict) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_GB']} GB of memory; "
        f"Python {machine['python']}, PyTorch {machine['torch']}."
    )


def _topic(
    title: str,
    about: str,
    date: str,
    seconds: int,
    threads: int,
    versions: dict[str, str | None],
    rows: list[dict],
    conclusion: str,
) -> list[str]:
    known = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    measured = f"Measured on {date} in {seconds / 60:.1f} minutes, {_threads(threads)}."
    parts = [f"### {title}", about.strip(), _table(rows)]
    parts += [f"**Missed.** {_sentences(why, missed)}" for why, missed in _reasons(rows)]
    parts += _each(rows)
    parts += [conclusion] if conclusion else []
    return [*parts, f"{measured} Peers: {known}." if known else measured]


def _threads(count: int) -> str:
    return "on one thread" if count == 1 else f"on {count} threads"


def _table(rows: list[dict]) -> str:
    cells = [_HEAD, ["---"] * len(_HEAD), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cells(row: dict) -> list[str]:
    digits = 6 if row["target"] is not None and _looks_like(row["ratio"], row["target"]) else 3
    ours, peer = _number(row["ours"]), f"{_number(row['peer'])} {row['unit']}"
    low, high = map(_number, row["quartiles"])
    spread = "" if low == high else f" ({low}, {high})"  # one measurement has none
    ratio = f"{_number(row['ratio'], digits)}{spread}"
    return [row["name"], row["against"], ours, peer, ratio, _target(row)]


def _looks_like(ratio: float, target: float) -> bool:
    """Whether a ratio reads as its target and is not the same."""
    return ratio != target and _number(ratio) == _number(target)


def _each(rows: list[dict]) -> list[str]:
    """Tables of what each of several ways reaches: a table for each group of rows, a line for
    each way, a column for each row."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        if "each" in row:
            groups.setdefault(row["group"], []).append(row)
    parts = []
    for group, columns in groups.items():
        head = [group, *(str(row["column"]) for row in columns)]
        lines = [head, ["---", *["---:"] * len(columns)]]
        lines += [
            [way, *(_number(row["each"][way]) for row in columns)] for way in columns[0]["each"]
        ]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f":::{{dropdown}} Each way on its own: {group}\n{table}\n:::")
    return parts


def _number(value: float, digits: int = 3) -> str:
    return number_text(float(f"{value:.{digits}g}")) if math.isfinite(value) else "–"


def _target(row: dict) -> str:
    if row["target"] is None:
        return ""
    return f"at most {row['target']:.3g}: {'met' if row['met'] else '**missed**'}"


def _reasons(rows: list[dict]) -> list[tuple[str, list[dict]]]:
    """The rows that miss their targets, by what is known about the reason."""
    reasons: dict[str, list[dict]] = {}
    for row in rows:
        if row["met"] is False:
            reasons.setdefault(row["why"], []).append(row)
    return list(reasons.items())


def _sentences(why: str, missed: list[dict]) -> str:
    names = "; ".join(dict.fromkeys(f"{row['name']} ({row['against']})" for row in missed))
    return f"{why or 'The reason is not known.'} Rows: {names}."
