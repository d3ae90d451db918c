"""Find in built HTML what readers would stumble over.

``python tests/check_html.py FOLDER`` prints problems: assets from other hosts, broken links and
anchors, missing images, images without a description, sliders without a label of their own, raw
roles, and tracebacks.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

# Attributes through which a page makes the browser fetch something.
_FETCHES = [
    *[(tag, "src") for tag in ("script", "img", "source", "iframe", "video", "audio", "embed")],
    *[("img", "srcset"), ("source", "srcset"), ("link", "href"), ("object", "data")],
]
_LOADING = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect"}
_REMOTE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
_CSS_REMOTE = re.compile(r"(?:@import\s+|url\()\s*['\"]?\s*(?:https?:)?//[^)'\"\s]+")
_SCRIPT_REMOTE = re.compile(
    r"(?:import\s*\(?|\bfrom|fetch\(|importScripts\(|\.src\s*=)\s*['\"`](?:https?:)?//[^'\"`]+"
)
_TRACEBACK = "Traceback (most recent call last)"
_RAW = ["{glue:", "{numref}", "{cite", "{ref}", "[?]"]


def problems(folder: Path) -> list[str]:
    """All problems in the HTML and CSS files under a folder, each naming its file."""
    folder = folder.resolve()
    # HTML under _static are templates of the theme
    files = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    pages = {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}
    found = []
    for path, page in sorted(pages.items()):
        name = path.relative_to(folder)
        found += [f"{name}: {p}" for p in _page(path, page, pages)]
    for path in sorted(folder.rglob("*.css")):
        name = path.relative_to(folder)
        found += [f"{name}: external {m}" for m in _CSS_REMOTE.findall(path.read_text())]
    return found


def _page(path: Path, page: BeautifulSoup, pages: dict) -> list[str]:
    found = []
    for tag, attribute in _FETCHES:
        for element in page.find_all(tag, attrs={attribute: True}):
            target = element[attribute]
            fetched = tag != "link" or _LOADING & set(element.get("rel", []))
            if _REMOTE.match(target) and fetched:
                found.append(f"external <{tag} {attribute}> {target}")
            elif tag in ("img", "script", "source") and not _exists(path, target):
                found.append(f"missing file of <{tag}> {target}")
    for element in page.find_all("img"):
        if not element.get("alt", "").strip() or element["alt"].startswith(("../", "_images")):
            found.append(f"image without a description: {element.get('src')}")
    for slider in page.find_all("input", type="range"):
        labels = page.find_all("label", attrs={"for": slider.get("id", "")})
        if len(labels) != 1 or not labels[0].text.strip():
            found.append(f"slider with {len(labels)} labels: {slider.get('id')}")
    for style in page.find_all("style"):
        found += [f"external {m}" for m in _CSS_REMOTE.findall(style.string or "")]
    for script in page.find_all("script", src=False):
        found += [f"external in script: {m}" for m in _SCRIPT_REMOTE.findall(script.string or "")]
    for link in page.find_all("a", href=True):
        trouble = _link(path, link["href"], pages)
        if trouble:
            found.append(f"{trouble}: {link['href']}")
    for article in page.find_all("article"):
        output = "".join(pre.text for pre in article.find_all("pre"))
        prose = "".join(p.text for p in article.find_all(["p", "li", "td", "figcaption"]))
        found += [f"on the page: {_TRACEBACK}"] * (_TRACEBACK in output)
        found += [f"on the page: {mark}" for mark in _RAW if mark in prose]
    return found


def _exists(path: Path, target: str) -> bool:
    parts = urlsplit(target)
    if parts.scheme in ("data", "http", "https") or not parts.path:
        return True
    return (path.parent / unquote(parts.path)).exists()


def _link(path: Path, href: str, pages: dict) -> str | None:
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return None  # links to elsewhere are the reader's to follow
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return "broken link"
    anchor = unquote(parts.fragment)
    if anchor and target in pages:
        page = pages[target]
        if not page.find(id=anchor) and not page.find(attrs={"name": anchor}):
            return "broken anchor"
    return None


if __name__ == "__main__":
    listed = problems(Path(sys.argv[1]))
    print("\n".join(listed) or "no problems")
    sys.exit(bool(listed))
