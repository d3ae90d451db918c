"""The book itself: from a fresh clone to the last test, by the commands of the README.

What is committed is cloned into a temporary folder, installed, built and tested, on an otherwise
idle machine. The tests run two processes of one thread each.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from benchmarks.measuring import row, seconds
from diffot.paths import ROOT

TITLE = "The book"
THREADS = None
PEERS = ()
INSTALLATION, BUILD, TEST = 300.0, 180.0, 1500.0  # seconds that are aimed at
WHY_TEST = "Every notebook is executed in two profiles, and every page opened in a browser."


def measure(tiny: bool = False) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        clone = cloned(folder)
        if tiny:
            return [timed(["make"], clone, BUILD, "")]
        return [
            timed(["make", ".venv/.installed"], clone, INSTALLATION, ""),
            timed(["make", "book"], clone, BUILD, ""),
            timed(["make", "test"], clone, TEST, WHY_TEST),
        ]


def cloned(folder: str) -> Path:
    """A clone of what is committed."""
    clone = Path(folder) / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    return clone


def timed(command: list[str], folder: Path, aim: float, why: str) -> dict:
    taken = seconds(lambda: subprocess.run(command, cwd=folder, check=True))
    return compared(" ".join(command), taken, aim, why)


def compared(name: str, taken: float, aim: float, why: str) -> dict:
    """The seconds that something takes, beside those that are aimed at."""
    against = f"{aim:g} s, aimed at"
    return row(name, [taken], [aim], unit="s", against=against, target=1.0, why=why)
