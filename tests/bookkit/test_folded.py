"""What cells print of their claims, folded on the pages."""

import importlib.util

from bs4 import BeautifulSoup

from diffot.paths import ROOT

SPEC = importlib.util.spec_from_file_location("folded", ROOT / "book" / "_ext" / "folded.py")
folded = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(folded)

PRINTED = """X1.gap: 0.1 ± 0.01, n = 64  [claimed: 0.04 to 0.17]
X1.order: 2 × 10⁻⁵  [claimed: at most 0.001; not so with these parameters]
X1_rows: 27 rows
X1_small: 1 of 1 rows computed again; they agree to 0.1 %
"""


def cells(html: str) -> list[list[str]]:
    rows = BeautifulSoup(html, "html.parser").select("tbody tr")
    return [[cell.get_text(" ") for cell in row.find_all("td")] for row in rows]


def test_claims_are_a_table_with_their_sentences():
    html, rest = folded.split(PRINTED, {"X1.gap": "Largest distance < 1"})
    assert not rest
    page = BeautifulSoup(html, "html.parser")
    assert page.details.summary.get_text() == "2 claims"
    assert not page.details.has_attr("open")
    assert [head["scope"] for head in page.select("th")] == ["col"] * 4
    assert cells(html) == [
        ["Largest distance < 1 X1.gap", "0.1 ± 0.01", "64", "0.04 to 0.17"],
        ["X1.order X1.order", "2 × 10⁻⁵", "", "at most 0.001; not so with these parameters"],
    ]
    assert [p.get_text() for p in page.find_all("p")] == PRINTED.splitlines()[2:]


def test_one_claim_and_none():
    assert "<summary>1 claim<" in folded.split("X1.at_0.5: 1  [claimed: at least 1]", {})[0]
    two = "X1_rows: 27 rows\nX1_others: 3 rows\n"
    assert "<summary>Tables that were read<" in folded.split(two, {})[0]


def test_a_line_alone_is_not_folded():
    for line in ("X1_rows: 27 rows", "38 of 38 claims hold; recorded in X1.json"):
        html, rest = folded.split(line + "\n", {})
        assert html == f'<div class="record"><p>{line}</p></div>' and not rest


def test_other_lines_stay_as_they_are():
    assert folded.split("step 3 of 10\n", {}) == ("", "step 3 of 10")
    html, rest = folded.split(PRINTED + "step 3 of 10\n", {})
    assert len(cells(html)) == 2 and rest == "step 3 of 10"
    assert folded.split("", {}) == ("", "")


def test_verdicts_are_shown_in_a_word():
    line = "Hypothesis 1 holds approximately: so far <as seen>\n"
    html, rest = folded.split(line, {})
    (item,) = BeautifulSoup(html, "html.parser").select("ul.chips li")
    assert (
        item.get_text("|") == "Hypothesis 1: so far <as seen>.|holds approximately" and not rest
    )
    assert item.select_one(".chip-holds-approximately")
    html, rest = folded.split(PRINTED + line, {})
    assert html.startswith('<ul class="chips">') and "2 claims" in html and not rest
