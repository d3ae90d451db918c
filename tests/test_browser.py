"""The built book in a browser: every page, on a desktop and on a phone, light and dark.

Needs Debian's chromium, or a Chromium that the environment variable CHROMIUM names.
"""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import matplotlib
import pytest
from matplotlib.font_manager import font_scalings

from bookkit import plots
from diffot.paths import ROOT

sync_api = pytest.importorskip("playwright.sync_api")

HTML = ROOT / "_build" / "html"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PAGES = sorted(
    str(path.relative_to(HTML))
    for folder in ("book", "notebooks")
    for path in (HTML / folder).glob("*.html")
)
LEAST_TEXT = 8  # pixels

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no chromium; on Debian: apt install chromium; or set CHROMIUM to the path of one",
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site():
    assert (HTML / ".complete").exists(), "there is no complete build of the book; run: make book"
    server = ThreadingHTTPServer(("localhost", 0), partial(_Quiet, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


class Visit:
    """A page, and what the browser has to say about it."""

    def __init__(self, browser, site):
        self.site, self.complaints = site, []
        self.page = browser.new_page(viewport=dict(zip(("width", "height"), SIZES["desktop"])))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)

    def _heard(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type} in the console: {message.text}")

    def _asked(self, request):
        if not request.url.startswith((self.site, "data:", "blob:")):
            self.complaints.append(f"request to another host: {request.url}")

    def open(self, name):
        self.page.goto(f"{self.site}/{name}", wait_until="load")
        return self.page


@pytest.fixture
def visit(browser, site):
    visit = Visit(browser, site)
    yield visit
    visit.page.close()


def sideways(page):
    """By how many pixels the page is wider than the window."""
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def smallest_text():
    """Inches of the smallest text that figures have (a test of the sources says so)."""
    plots.use_style()
    return matplotlib.rcParams["font.size"] * font_scalings["small"] / 72


def small_figures(page):
    """Raster figures whose smallest text is below the limit: (pixels of the text, name)."""
    shown = page.evaluate(
        """[...document.querySelectorAll('.cell_output figure img')]
           .filter(i => i.offsetWidth > 0 && i.naturalWidth > 0 && i.src.endsWith('.png'))
           .map(i => [i.getBoundingClientRect().width / i.naturalWidth, i.src])"""
    )
    plots.use_style()
    drawn = smallest_text() * matplotlib.rcParams["savefig.dpi"]
    return [(scale * drawn, src) for scale, src in shown if scale * drawn < LEAST_TEXT]


@pytest.mark.parametrize("name", PAGES)
def test_page(name, visit):
    page = visit.open(name)
    found = []
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            page.wait_for_timeout(50)
            if (over := sideways(page)) > 0:
                found.append(f"{size}, {theme}: {over} pixels wider than the window")
        found += [f"{size}: text of {px:.1f} pixels in {src}" for px, src in small_figures(page)]
    assert found + visit.complaints == []


@pytest.mark.parametrize("how", ["key", "mouse"])
def test_sliders_move(how, visit):
    page = visit.open("notebooks/G1_guidance_in_the_plane.html")
    slider = page.locator(".frame-slider input[type=range]").first
    slider.scroll_into_view_if_needed()
    image = page.locator(".frame-slider img").first
    before = image.get_attribute("style")
    if how == "key":
        slider.focus()
        page.keyboard.press("ArrowRight" if slider.input_value() == "0" else "ArrowLeft")
    else:
        box = slider.bounding_box()
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert image.get_attribute("style") != before
    assert visit.complaints == []


def test_radio_buttons_change_the_image(visit):
    page = visit.open("notebooks/H2b_local_shifts.html")
    slider = page.locator(".frame-slider", has=page.locator("input[type=radio]")).first
    slider.scroll_into_view_if_needed()
    before = slider.locator("img").get_attribute("style")
    slider.locator("input[type=radio]").nth(1).check()
    after = slider.locator("img").get_attribute("style")
    slider.locator("input[type=radio]").first.focus()
    page.keyboard.press("ArrowRight")
    assert before != after == slider.locator("img").get_attribute("style")
    assert visit.complaints == []


def test_search_finds(visit):
    page = visit.open("search.html?q=Laguerre")
    # results come one after the other
    found = page.locator("#search-results li a[href*='O2_memorization']")
    found.first.wait_for(timeout=20_000)
    assert visit.complaints == []


def test_formulas_are_drawn(visit):
    page = visit.open("book/background.html")
    page.locator("mjx-container svg").first.wait_for(state="attached", timeout=20_000)
    drawn = page.locator("mjx-container").count()
    assert drawn >= page.locator(".math").count() > 10
    assert page.locator("mjx-merror").count() == 0


def test_no_figure_has_smaller_text():
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        assert "x-small" not in text, f"{path.name} draws text that is small on the page"
