"""The pages of claims and verdicts, made of small records."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest

from bookkit.claims import Claim
from bookkit.verdicts import Prediction, rule
from diffot.paths import ROOT

SPEC = importlib.util.spec_from_file_location("claims_page", ROOT / "book" / "_ext" / "claims.py")
page = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = page  # dataclasses look their module up
SPEC.loader.exec_module(page)

HYPOTHESES = {
    "Hypothesis 1": {"source": "thesis", "place": "L.1a", "text": "Near goes to near."},
    "Hypothesis 2": {"source": "thesis", "place": "L.1b", "text": "Far goes to far."},
}
SHARE = Prediction(exact=1, chance=0.5)


def record(name, value, **more):
    return {name: Claim(name, value, f"The {name}", at_least=0.0, **more).record()}


def result(notebook, *claims, **because):
    judged = {
        f"Hypothesis {key[1:]}": {"verdict": "as the notebook had it", "because": text}
        for key, text in because.items()
    }
    merged = {name: claim for part in claims for name, claim in part.items()}
    return {"notebook": notebook, "claims": merged, "verdicts": judged}


@pytest.fixture(autouse=True)
def _titles(monkeypatch):
    """Chapters of the small records, which no notebook has."""
    known = page.title
    invented = {"A_a": "A a", "B_b": "B b", "C_c": "C c", "D_d": "D d", "P9_faces": "P.9 Faces"}
    monkeypatch.setattr(page, "title", lambda name: invented.get(name) or known(name))


@pytest.fixture
def records():
    one = {"hypothesis": "Hypothesis 1", "prediction": SHARE}
    seeds = {"A_a": {"code": "0", "claims": ["A.x"], "seeds": {"1": {"failed": []}}}}
    seeds["A_a"]["seeds"] |= {"2": {"failed": ["A.x"]}, "3": {"failed": []}}
    return page.Records(
        HYPOTHESES,
        [
            result(
                "A_a",
                record("A.x", 0.99, uncertainty=0.004, n=3000, because="it is near", **one),
                record("A.y", 0.0, without_error="identity", figure="fig-a"),
                h1="nearly all",
            ),
            result(
                "B_b",
                record("B.x", 0.8, without_error="exact", because="less so", **one),
                h1="most of them",
            ),
        ],
        seeds,
    )


def row(text, name):
    (line,) = [line for line in text.splitlines() if f"`{name}`" in line]
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_each_chapter_is_judged_by_its_claims_and_the_reason_is_in_its_words(records):
    found = page.judgements("Hypothesis 1", records.results)
    assert found == {
        "points": [
            page.Judgement("A_a", "holds", "nearly all"),
            page.Judgement("B_b", "holds approximately", "most of them"),
        ]
    }
    assert page.judgements("Hypothesis 2", records.results) == {}
    text = page.verdicts_text(records)
    assert "| [Hypothesis 1](#hypothesis-1) | Near goes to near. (thesis, L.1a) |" in text
    assert text.splitlines()[2].endswith("| **holds approximately** on points |")
    assert "Hypothesis 2 | Far goes to far. (thesis, L.1b) | not tested yet |" in text
    assert "as the notebook had it" not in text


def test_a_row_shows_value_tolerance_seeds_and_how_it_was_judged(records):
    found = row(page.claims_text(records), "A.x")
    assert found[1:] == [
        "0.990\u00a0±\u00a00.004<br>n\u00a0=\u00a03,000", "at least 0", "2 of 3 seeds",
        "0.5 → 1", "0.98", "holds: it is near", "[A](../notebooks/A_a.ipynb)",
    ]  # fmt: skip
    other = row(page.claims_text(records), "B.x")
    assert other[1:4] == ["0.8<br>not random", "at least 0", "not counted yet"]
    check = row(page.claims_text(records), "A.y")
    assert check[1] == "0<br>the same for every draw, to the digits shown"
    assert check[-1] == "{numref}`fig-a`" and len(check) == 5


def test_a_verdict_by_hand_says_so(records):
    by_hand = record("C.x", 1.0, hypothesis="Hypothesis 2", verdict="refuted", because="I saw it")
    more = page.Records(HYPOTHESES, [*records.results, result("C_c", by_hand, h2="seen")], {})
    text = page.claims_text(more)
    assert "refuted (judged by hand): I saw it" in row(text, "C.x")
    assert "- On points: **refuted** ([C](../notebooks/C_c.ipynb)): seen." in text


def test_pages_are_filled_and_depend_on_the_records(monkeypatch, records):
    noted = []
    app = SimpleNamespace(env=SimpleNamespace(note_dependency=noted.append))
    source = ["before\n<!-- rule -->\nafter"]
    page._fill(app, "book/claims", source)
    assert source[0] == f"before\n{rule()}\nafter"
    assert str(page.SEEDS) in noted and str(page.HYPOTHESES) in noted
    assert page._fill(app, "book/other", ["<!-- nothing -->"]) is None


def test_a_chip_has_the_verdict_in_a_word(records):
    lines = page.chips_text(records).splitlines()
    assert len(lines) == 2 + len(HYPOTHESES)
    chip = (
        '<span class="chip chip-holds-approximately"><b>holds approximately</b> on points</span>'
    )
    assert chip in lines[1]
    assert '<a href="claims.html#hypothesis-1">' in lines[1] and "Near goes to near." in lines[1]
    assert "chip-not-tested-yet" in lines[2]


def test_checks_of_the_method_are_grouped_by_chapter(records):
    text = page.claims_text(records)
    assert text.index("## Checks of the method") < text.index("### A a") < text.index("`A.y`")
    assert page.title("V1_flow_versus_optimal_transport").startswith("V.1 ")
    assert "### B" not in text  # all its claims bear on a hypothesis


def test_verdicts_on_photographs_stand_beside_those_on_drawn_images(records):
    on_both = {"hypothesis": "Hypothesis 1", "prediction": SHARE, "without_error": "exact"}
    photographs, drawn = (
        result(name, record(f"{name}.x", value, because="clear", **on_both), h1=because)
        for name, value, because in (
            ("P9_faces", 0.99, "p(x | y)"), ("V2_image_transport", 0.6, "drawn")
        )
    )  # fmt: skip
    more = page.Records(HYPOTHESES, [*records.results, photographs, drawn], {})
    assert [*page.judgements("Hypothesis 1", more.results)] == [
        "points", "drawn images", "photographs"
    ]  # fmt: skip
    *_, line = page.compared_text(more).splitlines()
    cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
    assert cells == [
        "[Hypothesis 1](#hypothesis-1)",
        "Near goes to near.",
        "**refuted** ([V.2](../notebooks/V2_image_transport.ipynb)): drawn",
        "**holds** ([P.9](../notebooks/P9_faces.ipynb)): p(x \\| y)",
    ]
    assert "Hypothesis" not in page.compared_text(records)


def test_a_bar_in_a_sentence_does_not_part_its_cell(records):
    barred = record("D.x", 1.0, without_error="exact") | {}
    barred["D.x"]["says"] = "p(x | y)"
    text = page.claims_text(page.Records(HYPOTHESES, [result("D_d", barred)], {}))
    assert "| p(x \\| y) <br>`D.x` |" in text


@pytest.mark.parametrize(
    ("notebook", "what"),
    [
        ("H2a_brightness", "drawn images"), ("T1_image_models", "drawn images"),
        ("T1b_reading_attributes", "drawn images"),
        ("V2_image_transport", "drawn images"), ("G2_guided_images", "drawn images"),
        ("P2_the_same_latents", "photographs"), ("V1_flow_versus_optimal_transport", "points"),
        ("G1_guidance_in_the_plane", "points"), ("K1_random_densities", "points"),
    ],
)  # fmt: skip
def test_kinds_of_chapters(notebook, what):
    assert page.kind(notebook) == what
