"""Find in built HTML what readers would stumble over.

``python tests/check_html.py FOLDER`` prints problems: pages, frames of sliders or words of the
search that are missing, assets from other hosts, broken links and anchors, missing images, images
without a description, sliders without a label of their own, raw roles, and tracebacks.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from sphinx_external_toc.parsing import parse_toc_yaml

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


def missing(folder: Path, repository: Path) -> list[str]:
    """What is in the repository and not in the HTML under a folder: pages of the table of
    contents, in the search as well, and the frames of sliders."""
    toc = parse_toc_yaml(repository / "_toc.yml")
    pages = dict.fromkeys(["index.html", "search.html", *(f"{page}.html" for page in toc)])
    found = [f"missing page {page}" for page in pages if not (folder / page).exists()]
    searched = _searched(folder / "searchindex.js")
    found += [f"missing in the search: {page}" for page in toc if page not in searched]
    for path in sorted((repository / "notebooks" / "frames").glob("*")):
        copy = folder / "notebooks" / "frames" / path.name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            found.append(f"missing frames {path.name}")
    return found


def _searched(index: Path) -> list[str]:
    """Pages that the search knows; none if its index is missing or cut off."""
    try:
        text = index.read_text(encoding="utf-8")
        return json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))["docnames"]
    except (OSError, ValueError):
        return []


def problems(folder: Path) -> list[str]:
    """All problems in the HTML and CSS files under a folder, each naming its file."""
    folder = folder.resolve()
    # HTML under _static are templates of the theme
    files = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    pages = {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}
    anchors = {path: _anchors(page) for path, page in pages.items()}
    found = []
    for path, page in sorted(pages.items()):
        name = path.relative_to(folder)
        found += [f"{name}: {p}" for p in _page(path, page, anchors)]
    for path in sorted(folder.rglob("*.css")):
        name = path.relative_to(folder)
        found += [f"{name}: external {m}" for m in _CSS_REMOTE.findall(path.read_text())]
    return found


def _page(path: Path, page: BeautifulSoup, anchors: dict[Path, set[str]]) -> list[str]:
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
        trouble = _link(path, link["href"], anchors)
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


def _anchors(page: BeautifulSoup) -> set[str]:
    return {
        element[name]
        for element in page.find_all(True)
        for name in ("id", "name")
        if element.has_attr(name)
    }


def _link(path: Path, href: str, anchors: dict[Path, set[str]]) -> str | None:
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return None  # links to elsewhere are the reader's to follow
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return "broken link"
    anchor = unquote(parts.fragment)
    if anchor and target in anchors and anchor not in anchors[target]:
        return "broken anchor"
    return None


if __name__ == "__main__":
    built = Path(sys.argv[1])
    listed = missing(built, Path(__file__).parents[1]) + problems(built)
    print("\n".join(listed) or "no problems")
    sys.exit(bool(listed))
