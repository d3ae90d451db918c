"""The built book, and the checker that reads it."""

import json
import re

import pytest
from bs4 import BeautifulSoup
from check_html import missing, problems

from bookkit import paths, sliders
from bookkit.claims import claim_text
from bookkit.verdicts import HOLDS
from diffot.paths import ROOT

HTML = ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def built():
    assert (HTML / ".complete").exists(), "there is no complete build of the book; run: make book"
    return HTML


def test_the_book_has_no_problems(built):
    assert problems(built) == []
    assert missing(built, ROOT) == []


def test_mathematics_is_drawn_by_the_copy_in_the_book(built):
    page = BeautifulSoup((built / "book" / "background.html").read_text(), "html.parser")
    sources = [s["src"] for s in page.find_all("script", src=True) if "mathjax" in s["src"]]
    assert [s.split("/")[-1].split("?")[0] for s in sources] == ["tex-svg-full.js"]
    assert (built / "_static" / "mathjax" / "LICENSE").exists()


def test_every_claim_and_verdict_is_on_the_page(built):
    text = BeautifulSoup((built / "book" / "claims.html").read_text(), "html.parser").text
    for path in paths.RESULTS.glob("*_*.json"):
        record = json.loads(path.read_text())
        for name, claim in record["claims"].items():
            shown = claim_text(claim)
            assert name in text and shown["value"] in text and shown["bound"] in text
        for hypothesis, judged in record["verdicts"].items():
            reason = judged["because"].lower()  # sentences begin with a capital there
            told = rf"{judged['verdict']} \([^)]*\): {re.escape(reason)}"
            assert hypothesis in text and re.search(told, text.replace("’", "'").lower())
    assert f"the whole interval is at {HOLDS:g} or above" in text


def test_frames_are_small_and_each_is_shown_on_a_page(built):
    pages = [path.read_text() for path in (built / "notebooks").glob("*.html")]
    for path in paths.FRAMES.glob("*"):
        assert path.stat().st_size <= sliders.BUDGET, path.name
        assert any(f'src="frames/{path.name}"' in page for page in pages), path.name
        assert (built / "notebooks" / "frames" / path.name).read_bytes() == path.read_bytes()


def test_notebooks_can_be_downloaded(built):
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        page = BeautifulSoup(
            (built / "notebooks" / f"{path.stem}.html").read_text(), "html.parser"
        )
        links = [a["href"] for a in page.find_all("a", href=True) if a["href"].endswith(".ipynb")]
        assert links and ((built / "notebooks") / links[0]).resolve().read_bytes()


GOOD = '<article><p id="here">text</p><a href="#here">x</a></article>'


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "external <script src>"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "external <link href>"),
        ('<img src="https://example.org/x.png" alt="a plot of x">', "external <img src>"),
        ('<style>@import "https://example.org/x.css";</style>', "external @import"),
        ("<style>p { background: url(//x.org/x.png) }</style>", "external url("),
        ('<script>import("https://cdn.example/x.js")</script>', "external in script"),
        ('<a href="nowhere.html">x</a>', "broken link"),
        ('<a href="#nowhere">x</a>', "broken anchor"),
        ('<a href="other.html#nowhere">x</a>', "broken anchor"),
        ('<img src="missing.png" alt="a plot of x">', "missing file"),
        ('<img src="x.png">', "without a description"),
        ('<img src="x.png" alt="../_images/x.png">', "without a description"),
        ('<label for="a"> </label><input type="range" id="a">', "slider with 1 labels"),
        ('<label for="a">shift</label><input type="range" id="b">', "slider with 0 labels"),
        ("<article><pre>Traceback (most recent call last):</pre></article>", "Traceback"),
        ("<article><p>value {glue:text}`x`</p></article>", "{glue:"),
    ],
)
def test_the_checker_finds(html, problem, tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    (tmp_path / "other.html").write_text(GOOD)
    (tmp_path / "page.html").write_text(GOOD)
    assert problems(tmp_path) == []
    (tmp_path / "page.html").write_text(GOOD + html)
    (found,) = problems(tmp_path)
    assert found.startswith("page.html: ") and problem in found


@pytest.fixture
def small(tmp_path):
    """A repository of two pages with one slider, and what is built of it."""
    for name, content in {
        "_toc.yml": "format: jb-book\nroot: index\nchapters:\n- file: notebooks/N1\n",
        "notebooks/frames/N1-s.webp": "frames",
        "html/notebooks/frames/N1-s.webp": "frames",
        "html/index.html": "",
        "html/search.html": "",
        "html/notebooks/N1.html": "",
        "html/searchindex.js": 'Search.setIndex({"docnames": ["index", "notebooks/N1"]})',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("index.html", None, ["missing page index.html"]),
        ("search.html", None, ["missing page search.html"]),
        ("notebooks/N1.html", None, ["missing page notebooks/N1.html"]),
        ("notebooks/frames/N1-s.webp", None, ["missing frames N1-s.webp"]),
        ("notebooks/frames/N1-s.webp", "fra", ["missing frames N1-s.webp"]),
        (
            "searchindex.js",
            'Search.setIndex({"docnames": ["index"]})',
            ["missing in the search: notebooks/N1"],
        ),
        *[
            (
                "searchindex.js",
                content,
                ["missing in the search: index", "missing in the search: notebooks/N1"],
            )
            for content in (None, 'Search.setIndex({"docnames": ["ind')
        ],
    ],
)
def test_what_a_build_left_out_is_found(small, file, content, found):
    assert missing(small / "html", small) == []
    (small / "html" / file).unlink()
    if content is not None:
        (small / "html" / file).write_text(content)
    assert missing(small / "html", small) == found


def test_the_checker_reads_style_sheets(tmp_path):
    (tmp_path / "x.css").write_text("p { background: url(https://example.org/x.png) }")
    assert len(problems(tmp_path)) == 1
