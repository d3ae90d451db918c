"""Write what ``make bench`` measured into the page on benchmarks.

A line ``<!-- benchmarks -->`` of a page is replaced, when the page is read, by the tables made of
``data/results/benchmarks.json``. No number of them is typed by hand.
"""

from __future__ import annotations

import json

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
    """All topics of each machine, targets that are missed first."""
    parts = [part for entry in entries for part in _machine(**entry)]
    return "\n\n".join(parts) if parts else _NONE


def _machine(machine: dict, topics: dict[str, dict]) -> list[str]:
    rows = [row for topic in topics.values() for row in topic["rows"]]
    aims = [row for row in rows if row["target"] is not None]
    missed = [row for row in aims if not row["met"]]
    parts = [f"## {machine['accelerator'] or machine['processor']}", _described(machine)]
    parts.append(f"Of {len(aims)} targets, {len(aims) - len(missed)} are met.")
    for topic in topics.values():
        parts += _topic(**topic)
    return parts


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
    parts += [conclusion] if conclusion else []
    return [*parts, f"{measured} Peers: {known}." if known else measured]


def _threads(count: int) -> str:
    return "on one thread" if count == 1 else f"on {count} threads"


def _table(rows: list[dict]) -> str:
    cells = [_HEAD, ["---"] * len(_HEAD), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cells(row: dict) -> list[str]:
    low, high = map(_number, row["quartiles"])
    ours, peer = _number(row["ours"]), f"{_number(row['peer'])} {row['unit']}"
    ratio = f"{_number(row['ratio'])} ({low}, {high})"
    return [row["name"], row["against"], ours, peer, ratio, _target(row)]


def _number(value: float) -> str:
    """Three digits."""
    return number_text(float(f"{value:.3g}"))


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
    return f"{why or 'The reason is not known.'} This is about: {names}."
