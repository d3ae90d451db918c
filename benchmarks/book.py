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
# Seconds that are aimed at.
INSTALLATION, BUILD, TEST, NOTEBOOK = 300.0, 180.0, 1500.0, 60.0
WHY_NOTEBOOK = "It computes what others read from tables."
WHY_TEST = "Every notebook is executed in two profiles, and every page opened in a browser."


def measure(tiny: bool = False) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        home, clone = Path(folder), Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], cwd=home, check=True)
        if tiny:
            return [timed("make", ["make"], clone, BUILD)]
        return [
            timed("installation", ["make", ".venv/.installed"], clone, INSTALLATION),
            timed("make book", ["make", "book"], clone, BUILD),
            timed("make test", ["make", "test"], clone, TEST, WHY_TEST),
            *notebooks(clone),
        ]


def timed(name: str, command: list[str], folder: Path, aim: float, why: str = "") -> dict:
    """The seconds that a command takes, beside those that are aimed at."""
    taken = seconds(lambda: subprocess.run(command, cwd=folder, check=True))
    return compared(name, taken, aim, why)


def compared(name: str, taken: float, aim: float, why: str) -> dict:
    against = f"{aim:g} s, aimed at"
    return row(name, [taken], [aim], unit="s", against=against, target=1.0, why=why)


def notebooks(clone: Path) -> list[dict]:
    """Each notebook executed in profile ``default``, one after the other, on all cores."""
    command = [".venv/bin/python", "-m", "bookkit", "run", "--all"]
    done = subprocess.run(command, cwd=clone, check=True, stdout=subprocess.PIPE, text=True)
    found = re.findall(r"^(\w+): executed in (\d+) s$", done.stdout, re.M)
    assert found, f"no times in what bookkit run says: {done.stdout}"
    return [compared(name, float(taken), NOTEBOOK, WHY_NOTEBOOK) for name, taken in found]
