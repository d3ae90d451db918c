"""What cells print of their claims, folded on the pages."""

import importlib.util
import sys

from bs4 import BeautifulSoup
from docutils import nodes

from diffot.paths import ROOT

SPEC = importlib.util.spec_from_file_location("folded", ROOT / "book" / "_ext" / "folded.py")
folded = importlib.util.module_from_spec(SPEC)
sys.modules["folded"] = folded  # its dataclass looks itself up
SPEC.loader.exec_module(folded)

PRINTED = """X1.gap: 0.1 ± 0.01, n = 64  [claimed: 0.04 to 0.17]
X1.order: 2 × 10⁻⁵  [claimed: at most 0.001; not so with these parameters]
X1_rows: 27 rows
X1_small: 1 of 1 rows computed again; they agree to 0.1 %
"""


def cells(html: str) -> list[list[str]]:
    rows = BeautifulSoup(html, "html.parser").select("tbody tr")
    return [[cell.get_text(" ") for cell in row.find_all("td")] for row in rows]


def folded_text(printed: str, says: dict[str, str]) -> str:
    return folded.split(printed)[1].folded(says)


def test_claims_are_a_table_with_their_sentences():
    html = folded_text(PRINTED, {"X1.gap": "Largest distance < 1"})
    assert not folded.split(PRINTED)[2]
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
    assert "<summary>1 claim<" in folded_text("X1.at_0.5: 1  [claimed: at least 1]", {})
    for few in ("X1_rows: 27 rows\n", "X1_rows: 27 rows\nX1_others: 3 rows\n"):
        assert "<summary>Tables that were read<" in folded_text(few, {})


def test_how_many_claims_hold_is_left_out():
    verdicts, record, rest = folded.split("38 of 38 claims hold; recorded in X1.json\n")
    assert not verdicts and not record and not rest


def test_other_lines_stay_as_they_are():
    assert folded.split("step 3 of 10\n") == ([], folded.Record(), "step 3 of 10")
    _, record, rest = folded.split(PRINTED + "step 3 of 10\n")
    assert len(record.claims) == 2 and rest == "step 3 of 10"
    assert folded.split("") == ([], folded.Record(), "")


def test_cells_of_a_section_share_one_table():
    def printed(text: str) -> nodes.Element:
        block = nodes.literal_block(text, text, classes=["output", "stream"])
        return nodes.container("", block, classes=["cell_output"])

    page = nodes.section()
    page += [printed("X1.a: 1  [claimed: at most 2]"), nodes.paragraph(text="between")]
    page += [printed("before\nX1.b: 2  [claimed: at most 2]"), nodes.section()]
    page += printed("38 of 38 claims hold; recorded in X1.json")
    page[3] += printed("X1.c: 3  [claimed: at most 3]\nX1_rows: 27 rows")
    folded.fold(page, {"X1.b": "the second"})
    first, second = page.findall(nodes.raw)
    assert [row[1] for row in cells(first.astext())] == ["1", "2"]
    assert "the second" in first.astext() and len(page) == 3 and first.parent is page[1]
    assert [row[1] for row in cells(second.astext())] == ["3"] and "27 rows" in second.astext()
    assert page[1][0].astext() == "before"


def test_verdicts_are_shown_in_a_word():
    line = "Hypothesis 1 holds approximately: so far <as seen>\n"
    page = nodes.section()
    page += nodes.literal_block(PRINTED + line, PRINTED + line, classes=["output", "stream"])
    folded.fold(page, {})
    chips, record = (raw.astext() for raw in page.findall(nodes.raw))
    (item,) = BeautifulSoup(chips, "html.parser").select("ul.chips li")
    assert item.get_text("|") == "Hypothesis 1: so far <as seen>.|holds approximately"
    assert item.select_one(".chip-holds-approximately") and "2 claims" in record
