"""Write the recorded claims into the book's pages.

A line ``<!-- claims -->``, ``<!-- verdicts -->``, ``<!-- chips -->``, ``<!-- compared -->`` or
``<!-- rule -->`` of a page is replaced, when the page is read, by text made of
``data/results/*.json``, ``data/seeds.json`` and the rule in ``bookkit.verdicts``. No number and
no verdict on them is typed by hand, except verdicts that say so. All records together lie in the
built book as ``_static/claims.json``.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from sphinx.application import Sphinx

from bookkit import survey, verdicts
from bookkit.claims import ERRORLESS, claim_text, number_text
from bookkit.paths import HYPOTHESES, NOTEBOOKS, RESULTS, SEEDS
from bookkit.verdicts import chip

BY_HAND = " (judged by hand)"
#: What chapters are about, by the beginnings of their names; all others are about points.
KINDS = {"drawn images": ("H", "T", "V2", "G2"), "photographs": ("P",)}
POINTS = "points"


@dataclass(frozen=True)
class Records:
    """What the pages are made of: ``results`` by notebook, and ``seeds`` as
    :func:`bookkit.survey.read` has it."""

    hypotheses: dict[str, dict]
    results: list[dict]
    seeds: dict[str, dict]


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _fill)
    app.connect("build-finished", _publish)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    writers = {
        "<!-- claims -->": claims_text,
        "<!-- verdicts -->": verdicts_text,
        "<!-- chips -->": chips_text,
        "<!-- compared -->": compared_text,
        "<!-- rule -->": lambda _: verdicts.rule(),
    }
    for mark, writer in writers.items():
        if mark in source[0]:
            files = sorted(RESULTS.glob("*_*.json"))
            titled = [NOTEBOOKS / f"{path.stem}.ipynb" for path in files]
            for path in [HYPOTHESES, SEEDS, *files, *titled]:
                app.env.note_dependency(str(path))
            results = [json.loads(path.read_text()) for path in files]
            records = Records(json.loads(HYPOTHESES.read_text()), results, survey.read())
            source[0] = source[0].replace(mark, writer(records))


def _publish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*_*.json"))]
        Path(app.outdir, "_static", "claims.json").write_text(json.dumps(records, indent=1))


def kind(notebook: str) -> str:
    """What a chapter is about, by the beginning of its name."""
    return next((what for what, names in KINDS.items() if notebook.startswith(names)), POINTS)


@dataclass(frozen=True)
class Judgement:
    """What the claims of one chapter on a hypothesis add up to."""

    notebook: str
    verdict: str
    because: str

    @property
    def line(self) -> str:
        """The verdict, where it was found, and why."""
        return f"**{self.verdict}** ({_chapter(self.notebook)}): {_escaped(self.because)}"


def judgements(hypothesis: str, results: list[dict]) -> dict[str, list[Judgement]]:
    """By kind of data, what each chapter found, judged by its claims, in its own words."""
    found: dict[str, list[Judgement]] = {}
    for result in results:
        claims = result["claims"].values()
        bearing = [claim["verdict"] for claim in claims if claim["hypothesis"] == hypothesis]
        if bearing:
            name, because = result["notebook"], result["verdicts"][hypothesis]["because"]
            judged = Judgement(name, verdicts.overall(bearing), because)
            found.setdefault(kind(name), []).append(judged)
    return {what: found[what] for what in (POINTS, *KINDS) if what in found}


def weakest(judged: list[Judgement]) -> str:
    """The verdict of chapters on the same kind of data."""
    return verdicts.overall([each.verdict for each in judged])


def _link(name: str) -> str:
    return "#" + name.lower().replace(" ", "-")


def _source(entry: dict) -> str:
    return f"{entry['source']}, {entry['place']}"


def verdicts_text(records: Records) -> str:
    """One row for each hypothesis, with its verdicts."""
    rows = ["| | What is said | Verdicts |", "|---|---|---|"]
    for name, entry in records.hypotheses.items():
        found = judgements(name, records.results)
        told = [f"**{weakest(judged)}** on {what}" for what, judged in found.items()]
        label = f"[{name}]({_link(name)})" if found else name
        said = f"{entry['text']} ({_source(entry)})"
        rows.append(f"| {label} | {said} | {'<br>'.join(told) or 'not tested yet'} |")
    return "\n".join(rows)


def chips_text(records: Records) -> str:
    """One line for each hypothesis: what is said, and the verdicts in a word."""
    rows = []
    for name, entry in records.hypotheses.items():
        found = judgements(name, records.results)
        chips = [chip(weakest(judged), f" on {what}") for what, judged in found.items()]
        link = f'<a href="claims.html{_link(name)}">{name}</a>'
        said = f"<span>{link}. {escape(entry['text'])}</span>"
        shown = "".join(chips) or chip("not tested yet")
        rows.append(f"<li>{said}<span>{shown}</span></li>")
    return "\n".join(['<ul class="chips">', *rows, "</ul>"])


def compared_text(records: Records) -> str:
    """The hypotheses that were tested both on drawn images and on photographs."""
    both = list(KINDS)
    rows = [f"| | What is said | {' | '.join(what.capitalize() for what in both)} |"]
    rows.append("|---|---|---|---|")
    for name, entry in records.hypotheses.items():
        found = judgements(name, records.results)
        if all(what in found for what in both):
            cells = ["<br>".join(each.line for each in found[what]) for what in both]
            rows.append(f"| [{name}]({_link(name)}) | {entry['text']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def claims_text(records: Records) -> str:
    """All claims, by hypothesis; at the end those that bear on none."""
    parts = []
    for name, entry in records.hypotheses.items():
        found = judgements(name, records.results)
        if found:
            parts.append(f"({_link(name)[1:]})=\n## {name}")
            parts.append(f"> {entry['text']} ({_source(entry)}, in our words)")
            parts.append("\n".join(_found(*pair) for pair in found.items()))
            parts.append(_table(name, records))
    parts.append("## Checks of the method")
    parts.append("These bear on no hypothesis, but the conclusions rest on them.")
    for result in records.results:
        alone = replace(records, results=[result])
        if any(claim["hypothesis"] is None for claim in result["claims"].values()):
            parts += [f"### {title(result['notebook'])}", _table(None, alone)]
    return "\n\n".join(parts)


def _found(what: str, judged: list[Judgement]) -> str:
    return f"- On {what}: {'; '.join(each.line for each in judged)}."


@functools.cache
def title(notebook: str) -> str:
    """The title of a chapter, which begins with its short name, e.g. ``V.1``."""
    path = NOTEBOOKS / f"{notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return re.search("^# (.*)$", "".join(cells[0]["source"]), re.M)[1]


def _chapter(notebook: str) -> str:
    """A link to a chapter, by its short name."""
    return f"[{title(notebook).split()[0]}](../notebooks/{notebook}.ipynb)"


def _table(hypothesis: str | None, records: Records) -> str:
    judged = hypothesis is not None
    scale = ["Chance → exact", "Degree", "Verdict"] * judged
    head = ["What was measured", "Value", "Tolerance", "Held at", *scale, "See"]
    rows = [head, ["---"] * len(head)]
    for result in records.results:
        for name, claim in result["claims"].items():
            if claim["hypothesis"] == hypothesis:
                more = _scale(claim) * judged
                row = [f"{_escaped(claim['says'])} <br>`{name}`", _value(claim)]
                row += [claim_text(claim)["bound"]]
                row += [_seeds(records, result["notebook"], name), *more]
                rows.append([*row, _place(result["notebook"], claim)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _value(claim: dict) -> str:
    text = claim_text(claim)
    reason = ERRORLESS.get(claim.get("without_error"), "")
    return "<br>".join(filter(None, [text["value"], text["n"], reason]))


def _seeds(records: Records, notebook: str, claim: str) -> str:
    good, seeds = survey.held(records.seeds, notebook, claim)
    return f"{good} of {seeds} seeds" if seeds else "not counted yet"


def _scale(claim: dict) -> list[str]:
    predicted = claim.get("prediction")
    if predicted is None:
        return ["", "", f"{claim['verdict']}{BY_HAND}: {_escaped(claim['because'])}"]
    ends = f"{number_text(predicted['chance'])} → {number_text(predicted['exact'])}"
    asks = "" if predicted["asks"] == "always" else "<br>(can, or more often)"
    degree = number_text(claim["degree"])
    return [ends + asks, degree, f"{claim['verdict']}: {_escaped(claim['because'])}"]


def _place(notebook: str, claim: dict) -> str:
    if claim["figure"]:
        return f"{{numref}}`{claim['figure']}`"
    return _chapter(notebook)
