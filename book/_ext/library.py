"""Pages of the library, from its docstrings.

On a page ``book/library/ROOM`` the line ``<!-- modules -->`` stands for all modules of that room,
so that no list of them has to be kept; ``shared`` is what all rooms share.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from diffot.paths import ROOT

_PLACE = "<!-- modules -->"
_BLOCK = "## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n"
_SHARED = ("estimates", "seeds", "errors")
_SHAPE = re.compile(r"\*(?=(?:[bde]|shape)\b)")  # of a shape such as (n, *d)


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _insert_modules)
    app.connect("autodoc-process-docstring", _escape_shapes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _insert_modules(app: Sphinx, page: str, source: list[str]) -> None:
    folder, _, room = page.rpartition("/")
    if folder == "book/library":
        blocks = "\n".join(_BLOCK.format(module=module) for module in _modules(room))
        source[0] = source[0].replace(_PLACE, blocks)


def _modules(room: str) -> list[str]:
    """Dotted names of the modules on the page of a room."""
    if room == "shared":
        return [f"diffot.{name}" for name in _SHARED]
    paths = sorted((ROOT / "lib" / "diffot" / room).glob("[!_]*.py"))
    return [f"diffot.{room}.{path.stem}" for path in paths]


def _escape_shapes(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """A star before a letter is no emphasis."""
    lines[:] = [_SHAPE.sub(r"\\*", line) for line in lines]
