"""Put the frames of sliders beside the pages that show them.

Sphinx copies only files that its own markup names, and a slider is HTML in a notebook's output.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

FOLDER = Path("notebooks", "frames")


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _copy(app: Sphinx, error: Exception | None) -> None:
    source, target = Path(app.srcdir, FOLDER), Path(app.outdir, FOLDER)
    if error is None and app.builder.format == "html":
        shutil.rmtree(target, ignore_errors=True)
        if source.exists():
            shutil.copytree(source, target)
