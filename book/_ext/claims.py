"""Write the recorded claims into the book's pages.

A line ``<!-- claims -->``, ``<!-- verdicts -->``, ``<!-- chips -->``, ``<!-- compared -->`` or
``<!-- rule -->`` of a page is replaced, when the page is read, by text made of
``data/results/*.json``, ``data/seeds.json`` and the rule in ``bookkit.verdicts``. No number and
no verdict on them is typed by hand, except verdicts that say so. All records together lie in the
built book as ``_static/claims.json``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from sphinx.application import Sphinx

from bookkit import survey, verdicts
from bookkit.claims import ERRORLESS, claim_text, number_text
from bookkit.paths import HYPOTHESES, RESULTS, SEEDS

BY_HAND = " (judged by hand)"


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
            for path in [HYPOTHESES, SEEDS, *files]:
                app.env.note_dependency(str(path))
            results = [json.loads(path.read_text()) for path in files]
            records = Records(json.loads(HYPOTHESES.read_text()), results, survey.read())
            source[0] = source[0].replace(mark, writer(records))


def _publish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*_*.json"))]
        Path(app.outdir, "_static", "claims.json").write_text(json.dumps(records, indent=1))


def judgement(hypothesis: str, results: list[dict]) -> tuple[str, str] | None:
    """The verdict that all claims on a hypothesis add up to, in whichever notebook, and why, in
    the words of the notebooks that judge it; None if no claim bears on it."""
    bearing = [
        claim["verdict"]
        for result in results
        for claim in result["claims"].values()
        if claim["hypothesis"] == hypothesis
    ]
    if not bearing:
        return None
    said = [r["verdicts"][hypothesis]["because"] for r in results if hypothesis in r["verdicts"]]
    return verdicts.overall(bearing), "; ".join(said)


def _link(name: str) -> str:
    return "#" + name.lower().replace(" ", "-")


def _source(entry: dict) -> str:
    return f"{entry['source']}, {entry['place']}"


def verdicts_text(records: Records) -> str:
    """One row for each hypothesis, with its verdict."""
    rows = ["| | What is said | Verdict |", "|---|---|---|"]
    for name, entry in records.hypotheses.items():
        judged, verdict = judgement(name, records.results), "not tested yet"
        if judged:
            verdict = f"[**{judged[0]}**]({_link(name)}): {judged[1]}"
        rows.append(f"| {name} ({_source(entry)}) | {entry['text']} | {verdict} |")
    return "\n".join(rows)


def chips_text(records: Records) -> str:
    """One line for each hypothesis: what is said, and the verdict in a word."""
    rows = []
    for name, entry in records.hypotheses.items():
        judged = judgement(name, records.results)
        verdict = judged[0] if judged else "not tested yet"
        chip = f'<span class="chip chip-{verdict.replace(" ", "-")}">{verdict}</span>'
        link = f'<a href="claims.html{_link(name)}">{name}</a>'
        rows.append(f"<li>{chip}<span>{link}. {escape(entry['text'])}</span></li>")
    return "\n".join(['<ul class="chips">', *rows, "</ul>"])


def compared_text(records: Records) -> str:
    """The hypotheses that were tested on photographs, too, with both verdicts: that of the
    chapters on photographs, whose names begin with P, and that of all others."""
    rows = ["| | What is said | Drawn images and points | Photographs |", "|---|---|---|---|"]
    on_photographs = [r for r in records.results if r["notebook"].startswith("P")]
    others = [r for r in records.results if not r["notebook"].startswith("P")]
    for name, entry in records.hypotheses.items():
        both = [judgement(name, results) for results in (others, on_photographs)]
        if all(both):
            cells = [f"**{verdict}**: {because}" for verdict, because in both]
            cells[1] = cells[1].replace(": photographs: ", ": ")  # said for the page of claims
            said = f"[{name}]({_link(name)})"
            rows.append(f"| {said} | {entry['text']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def claims_text(records: Records) -> str:
    """All claims, by hypothesis; at the end those that bear on none."""
    parts = []
    for name, entry in records.hypotheses.items():
        judged = judgement(name, records.results)
        if judged:
            parts.append(f"({_link(name)[1:]})=\n## {name}: {judged[0]}")
            parts.append(f"> {entry['text']} ({_source(entry)}, in our words)")
            parts.append(f"{judged[1][:1].upper()}{judged[1][1:]}.")
            parts.append(_table(name, records))
    parts.append("## Checks of the method")
    parts.append("These bear on no hypothesis, but the conclusions rest on them.")
    for result in records.results:
        alone = replace(records, results=[result])
        if any(claim["hypothesis"] is None for claim in result["claims"].values()):
            parts += [f"### {_chapter(result['notebook'])}", _table(None, alone)]
    return "\n\n".join(parts)


def _chapter(notebook: str) -> str:
    """Short name of a chapter, e.g. ``V.1``, and the rest of its file's name in words."""
    code, _, words = notebook.partition("_")
    code = re.sub("^([A-Z])(?=[0-9])", r"\1.", code)
    return f"{code} {words.replace('_', ' ')}"


def _table(hypothesis: str | None, records: Records) -> str:
    judged = hypothesis is not None
    scale = ["Chance, exact", "Degree", "Verdict"] * judged
    head = ["What was measured", "Value", "Tolerance", "Held at", *scale, "See"]
    rows = [head, ["---"] * len(head)]
    for result in records.results:
        for name, claim in result["claims"].items():
            if claim["hypothesis"] == hypothesis:
                more = _scale(claim) * judged
                row = [f"{claim['says']} <br>`{name}`", _value(claim), claim_text(claim)["bound"]]
                row += [_seeds(records, result["notebook"], name), *more]
                rows.append([*row, _place(result["notebook"], claim)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _value(claim: dict) -> str:
    text = claim_text(claim)
    reason = ERRORLESS.get(claim.get("without_error"), "")
    return "<br>".join(filter(None, [text["value"], text["n"].replace(" ", "\u00a0"), reason]))


def _seeds(records: Records, notebook: str, claim: str) -> str:
    good, seeds = survey.held(records.seeds, notebook, claim)
    return f"{good} of {seeds} seeds" if seeds else "not counted yet"


def _scale(claim: dict) -> list[str]:
    predicted = claim.get("prediction")
    if predicted is None:
        return ["", "", f"{claim['verdict']}{BY_HAND}: {claim['because']}"]
    ends = f"{number_text(predicted['chance'])}, {number_text(predicted['exact'])}"
    asks = "" if predicted["asks"] == "always" else "<br>(can, or more often)"
    degree = number_text(claim["degree"])
    return [ends + asks, degree, f"{claim['verdict']}: {claim['because']}"]


def _place(notebook: str, claim: dict) -> str:
    if claim["figure"]:
        return f"{{numref}}`{claim['figure']}`"
    return f"[{notebook.split('_')[0]}](../notebooks/{notebook}.ipynb)"
