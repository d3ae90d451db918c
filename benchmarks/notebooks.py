"""Each notebook, executed in profile ``default``, one after the other, in a clone of what is
committed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

from benchmarks.book import cloned, compared

TITLE = "The notebooks"
THREADS = None
PEERS = ()
AIM = 60.0  # seconds


def measure(tiny: bool = False) -> list[dict]:
    names = ["F1_probability"] if tiny else []
    with tempfile.TemporaryDirectory() as folder:
        clone = cloned(folder)
        done = subprocess.run(
            [sys.executable, "-m", "bookkit", "run", "--all", *names],
            cwd=clone,
            env={**os.environ, "PYTHONPATH": str(clone / "lib")},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    found = re.findall(r"^(\w+): executed in (\d+) s$", done.stdout, re.M)
    assert found, f"no times in what bookkit run says: {done.stdout}"
    return [compared(name, float(taken), AIM, "") for name, taken in found]
