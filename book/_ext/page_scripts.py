"""Leave out scripts that no page needs.

The theme prepares every page for code that runs in the browser (thebe), twice, which is an error
in the browser's console and the address of another host on the page. This book has no such code.
"""

from __future__ import annotations

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", _leave_out_thebe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _leave_out_thebe(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body')}"
    ]
