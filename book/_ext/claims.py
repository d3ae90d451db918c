"""Write the recorded claims into the book's pages.

A line ``<!-- claims -->`` or ``<!-- verdicts -->`` of a page is replaced, when the page is read,
by tables made of ``data/results/*.json``. No number on them is typed by hand.
"""

from __future__ import annotations

import json

from sphinx.application import Sphinx

from bookkit.notebook import claim_text
from bookkit.paths import HYPOTHESES, RESULTS


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    writers = {"<!-- claims -->": _claims, "<!-- verdicts -->": _verdicts}
    for mark, writer in writers.items():
        if mark in source[0]:
            files = sorted(RESULTS.glob("*.json"))
            for path in [HYPOTHESES, *files]:
                app.env.note_dependency(str(path))
            hypotheses = json.loads(HYPOTHESES.read_text())
            results = [json.loads(path.read_text()) for path in files]
            source[0] = source[0].replace(mark, writer(hypotheses, results))


def _judgement(hypothesis: str, results: list[dict]) -> dict | None:
    found = [r["verdicts"][hypothesis] for r in results if hypothesis in r["verdicts"]]
    return found[0] if found else None


def _link(name: str) -> str:
    return "#" + name.lower().replace(" ", "-")


def _verdicts(hypotheses: dict, results: list[dict]) -> str:
    rows = ["| | Thesis | Verdict |", "|---|---|---|"]
    for name, entry in hypotheses.items():
        judged = _judgement(name, results)
        verdict = "not tested yet"
        if judged:
            verdict = f"[**{judged['verdict']}**]({_link(name)}): {judged['because']}"
        rows.append(f"| {name} ({entry['experiment']}) | “{entry['text']}” | {verdict} |")
    return "\n".join(rows)


def _claims(hypotheses: dict, results: list[dict]) -> str:
    parts = []
    for name, entry in hypotheses.items():
        judged = _judgement(name, results)
        if judged:
            parts.append(f"({_link(name)[1:]})=\n## {name}: {judged['verdict']}")
            parts.append(f"> “{entry['text']}” (thesis, {entry['experiment']})")
            because = judged["because"]
            parts.append(f"{because[0].upper()}{because[1:]}.")
            parts.append(_table(name, results))
    parts.append("## Checks of the method")
    parts.append("These bear on no hypothesis, but the conclusions rest on them.")
    parts.append(_table(None, results))
    return "\n\n".join(parts)


def _table(hypothesis: str | None, results: list[dict]) -> str:
    judged = hypothesis is not None
    head = ["What was measured", "Value", "Bound", *["Verdict"] * judged, "Profile", "See"]
    rows = [head, ["---"] * len(head)]
    for result in results:
        notebook, profile = result["notebook"], result["parameters"]["PROFILE"]
        for name, claim in result["claims"].items():
            if claim["hypothesis"] != hypothesis:
                continue
            text = claim_text(claim)
            see = f"[{notebook.split('_')[0]}](../notebooks/{notebook}.ipynb)"
            if claim["figure"]:
                see = f"{{numref}}`{claim['figure']}`"
            verdict = [f"{claim['verdict']}: {claim['because']}"] * judged
            what = f"{claim['says']} <br>`{name}`"
            value = "<br>".join(filter(None, [text["value"], text["n"].replace(" ", "\u00a0")]))
            rows.append([what, value, text["bound"], *verdict, profile, see])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
