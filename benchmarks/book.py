"""The book itself: from a fresh clone to the last test, by the commands of the README.

What is committed is cloned into a temporary folder, installed, built, executed notebook by
notebook and tested, on an otherwise idle machine. The tests run two processes of one thread each.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measuring import row, seconds
from diffot.paths import ROOT

TITLE = "The book"
THREADS = None
TEST, NOTEBOOK = 25 * 60.0, 60.0  # seconds that are aimed at
WHY_NOTEBOOK = "It computes what others read from tables."
WHY_TEST = "Every notebook is executed in two profiles, and every page opened in a browser."


def measure(tiny: bool = False) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        home, clone = Path(folder), Path(folder) / "clone"
        rows = [timed("git clone", ["git", "clone", "-q", str(ROOT), str(clone)], home)]
        if tiny:
            return rows
        rows.append(timed("installation", ["make", ".venv/.installed"], clone))
        rows.append(timed("make book", ["make", "book"], clone))
        rows += notebooks(clone)
        subprocess.run(["git", "checkout", "--quiet", "."], cwd=clone, check=True)
        rows.append(timed("make test", ["make", "test"], clone, TEST, WHY_TEST))
    return rows


def timed(
    name: str, command: list[str], folder: Path, aim: float | None = None, why: str = ""
) -> dict:
    """The seconds that a command takes, beside those that are aimed at."""
    taken = seconds(lambda: subprocess.run(command, cwd=folder, check=True))
    return compared(name, taken, aim, why)


def compared(name: str, taken: float, aim: float | None, why: str) -> dict:
    against = "" if aim is None else f"{aim / 60:g} minutes"
    goal = None if aim is None else 1.0
    return row(name, [taken], [aim or taken], unit="s", against=against, target=goal, why=why)


def notebooks(clone: Path) -> list[dict]:
    """Each notebook executed in profile ``default``, one after the other, on all cores."""
    command = [".venv/bin/python", "-m", "bookkit", "run", "--all"]
    done = subprocess.run(command, cwd=clone, check=True, capture_output=True, text=True)
    found = re.findall(r"^(\w+): executed in (\d+) s$", done.stdout, re.M)
    return [compared(name, float(taken), NOTEBOOK, WHY_NOTEBOOK) for name, taken in found]
