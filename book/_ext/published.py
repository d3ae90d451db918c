"""What a published book offers beyond a local one.

Once ``repository: url`` in ``_config.yml`` holds the address of the published repository, every
page links to it, and every notebook to Binder and Colab, which open it from there. Every page has
a description and a picture for those who link to it.
"""

from __future__ import annotations

import re
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

SERVICES = {
    "binderhub_url": "https://mybinder.org",
    "colab_url": "https://colab.research.google.com",
    "notebook_interface": "jupyterlab",
}
PICTURE = "_static/readme.png"
LONGEST = 200  # characters of a description


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", _link)
    app.connect("html-page-context", _describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _link(app: Sphinx, config: Config) -> None:
    config.html_theme_options = linked(config.html_theme_options)


def linked(options: dict) -> dict:
    """The options of the theme, with all links that the address of the repository makes
    possible."""
    if not options.get("repository_url"):
        return options
    launch = options.get("launch_buttons", {}) | SERVICES
    return options | {"use_repository_button": True, "launch_buttons": launch}


def _describe(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None
) -> None:
    if doctree is None:
        return
    picture = context["pathto"](PICTURE, resource=True)
    if app.config.html_baseurl:
        picture = f"{app.config.html_baseurl.rstrip('/')}/{PICTURE}"
    known = context.get("metatags", "")
    said = re.search(r'<meta content="([^"]*)" name="description"', known)
    text = said[1] if said else escape(described(doctree))
    title = escape(re.sub(r"<[^>]*>", "", context.get("title") or ""))
    tags = {"og:type": "article", "og:title": title, "og:description": text, "og:image": picture}
    lines = [f'<meta property="{name}" content="{value}">' for name, value in tags.items()]
    if not said and text:
        lines.append(f'<meta name="description" content="{text}">')
    context["metatags"] = "\n".join([known, *lines])


def described(page: nodes.document) -> str:
    """The first sentences of a page, as many as a description has room for."""
    for paragraph in page.findall(nodes.paragraph):
        words = " ".join(paragraph.astext().split()).removeprefix("Question. ")
        sentences = re.split(r"(?<=[.?!]) ", words)
        text = sentences[0]
        for sentence in sentences[1:]:
            if len(text) + 1 + len(sentence) > LONGEST:
                break
            text += f" {sentence}"
        if len(text) > LONGEST:
            text = f"{text[: LONGEST - 1].rsplit(' ', 1)[0]}…"
        if text:
            return text
    return ""
