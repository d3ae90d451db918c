"""The book on paper: the joined document of a small build, and that Chromium prints it."""

import base64
import io
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from bookkit import pdf
from bookkit.sliders import Slider, frame_slider
from diffot.paths import ROOT

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
FRAMES = np.random.default_rng(3).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
TOC = """
format: jb-book
root: index
parts:
- caption: One & two
  chapters:
  - file: notebooks/N1
"""
INDEX = r"""
<h1>The start<a class="headerlink" href="#the-start">#</a></h1>
<p id="here">See <a href="notebooks/N1.html#here">there</a>, <a href="notebooks/N1.html">N1</a>,
<a href="#here">here</a>, <a href="https://example.org/x">elsewhere</a> and
<a href="_sources/index.md">the source</a>.</p>
<span class="math">\(x^2\)</span>
<details class="hide"><pre>hidden = 1</pre></details>
<details class="dropdown"><p>The solution.</p></details>
"""
N1 = """
<h1>A "quoted" title</h1><h2 id="here">Below</h2>
<p><a href="../index.html#here">back</a> <img src="../_images/a.png" alt="A plot"></p>
{slider}
"""
PAGE = """<html><head><link rel="stylesheet" href="{up}_static/book.css?v=1">
<link rel="icon" href="x.svg"><script>window.MathJax = {{options: {{}}}}</script>
<script defer src="{up}mathjax/tex-svg-full.js?v=2"></script>
<script src="other.js"></script></head>
<body><nav>not this</nav><article class="bd-article">{article}</article></body></html>"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository of two pages, one with a slider that starts in the middle, and its build."""
    folder = tmp_path_factory.mktemp("repository")
    notebooks = folder / "html" / "notebooks"
    notebooks.mkdir(parents=True)
    run = SimpleNamespace(name="N1", save=lambda path, content: _saved(notebooks, path, content))
    slider = frame_slider(run, "s", [*FRAMES], Slider("box", "abc", start="b"), alt="Noise")
    shutil.copytree(ROOT / "book" / "_static" / "mathjax", folder / "html" / "mathjax")
    (folder / "_toc.yml").write_text(TOC)
    (folder / "_config.yml").write_text("{title: A book, author: We, copyright: '2026'}")
    (folder / "html" / "index.html").write_text(PAGE.format(up="", article=INDEX))
    article = N1.format(slider=slider.html)
    (notebooks / "N1.html").write_text(PAGE.format(up="../", article=article))
    return folder


def _saved(folder, path, content):
    (folder / path.name).write_bytes(content)
    return folder / path.name


@pytest.fixture
def document(repository):
    return BeautifulSoup(pdf.joined(repository / "html", repository), "html.parser")


def test_pages_are_those_of_the_table_of_contents_in_order(repository):
    assert pdf.pages(repository / "_toc.yml") == [
        pdf.Page("index"),
        pdf.Page("notebooks/N1", 1, "One & two"),
    ]
    names = [page.name for page in pdf.pages(ROOT / "_toc.yml")]
    listed = [line.split()[-1] for line in (ROOT / "_toc.yml").read_text().splitlines()]
    assert names == [name for name in listed if name in names] and len(names) > 40


def test_every_id_has_its_page_in_front_and_occurs_once(document):
    ids = [element["id"] for element in document.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert all(name.startswith(("index", "notebooks-N1")) for name in ids)
    assert {"index", "index--here", "notebooks-N1", "notebooks-N1--here"} <= set(ids)


def test_links_between_pages_are_links_within_the_document(document):
    first, second = document.find_all("article")
    assert [link["href"] for link in first.find_all("a")] == [
        "#notebooks-N1--here", "#notebooks-N1", "#index--here", "https://example.org/x",
    ]  # fmt: skip
    assert "the source" in first.text  # a file beside the pages, and no link any more
    assert [link["href"] for link in second.find_all("a")] == ["#index--here"]
    inner = [link["href"][1:] for link in document.select('a[href^="#"]')]
    assert all(document.find(id=target) for target in inner)


def test_files_are_where_the_document_finds_them(document):
    styles = [link["href"] for link in document.head.find_all("link")]
    assert styles == ["html/_static/book.css"]
    sources = [script["src"] for script in document.find_all("script", src=True)]
    assert sources == ["html/mathjax/tex-svg-full.js"]
    assert document.find("img", alt="A plot")["src"] == "html/_images/a.png"


def test_what_is_hidden_is_left_out_and_solutions_are_open(document):
    assert "hidden = 1" not in document.text and "not this" not in document.text
    assert not document.select(".headerlink, input, article script, article style")
    (details,) = document.find_all("details")
    assert details.has_attr("open") and "The solution." in details.text


def test_headings_are_below_those_of_the_part(document):
    found = [(h.name, h.text) for h in document.find_all(["h1", "h2", "h3"])]
    assert found == [
        ("h1", "Contents"), ("h1", "The start"), ("h1", "One & two"),
        ("h2", 'A "quoted" title'), ("h3", "Below"),
    ]  # fmt: skip
    rows = [row.text for row in document.select(".book-contents p")]
    assert rows == ["The start", "One & two", 'A "quoted" title']
    assert r'@page notebooks-N1 { @top-left { content: "A \"quoted\" title"; } }' in str(document)


def test_of_a_slider_there_is_the_frame_that_it_shows_first(document):
    slider = document.select_one(".frame-slider")
    content = base64.b64decode(slider.img["src"].removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) == FRAMES[1]).all()
    assert " ".join(slider.text.split()) == "box: b"


def test_a_page_that_is_not_built_is_named(repository, tmp_path):
    shutil.copy(repository / "html" / "index.html", tmp_path)
    with pytest.raises(ValueError, match=r"lacks notebooks/N1, .* make book"):
        pdf.joined(tmp_path, repository)


def test_without_a_browser_or_a_whole_build_nothing_is_printed(repository, monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/a/browser")
    with pytest.raises(ValueError, match=r"no complete build .* make book"):
        pdf.write(repository)
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="apt install chromium; or set CHROMIUM"):
        pdf.write(repository)
    assert not (repository / "book.pdf").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; on Debian: apt install chromium")
def test_it_is_printed_with_bookmarks_and_numbers_of_pages(repository):
    pytest.importorskip("playwright.sync_api")
    path = repository / "book.html"
    path.write_text(pdf.joined(repository / "html", repository))
    content = pdf.printed(path, CHROMIUM)
    assert content.startswith(b"%PDF") and b"/Outlines" in content
    numbers = pdf.page_numbers(content)  # after title and contents
    assert (numbers["index"], numbers["notebooks-N1--here"]) == (3, 4)
