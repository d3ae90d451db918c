"""Kill builds of the book at random moments and see that the next one makes up for it.

``python tests/kill_builds.py [KILLS]`` builds a copy of the book once without interruption. Then,
20 times or as often as told, it starts a build and kills all its processes, builds again, and
compares the HTML byte by byte. It takes a minute or two for each time, so CI does not run it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ["Makefile", "_config.yml", "_toc.yml", "book", "notebooks", "lib", "tests", "data"]
LEFT_OUT = shutil.ignore_patterns("__pycache__", "cache", "checkpoints", "folders")


def main(kills: int) -> int:
    draws = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in NEEDED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=LEFT_OUT)
            else:
                shutil.copy(ROOT / name, copy)
        start = time.monotonic()
        build(copy).wait()
        seconds = time.monotonic() - start
        whole = content(copy)
        print(f"{len(whole)} files in {seconds:.0f} s", flush=True)
        different = 0
        for kill in range(kills):
            moment = draws.uniform(0, seconds)
            (copy / "book" / "index.md").touch()
            process = build(copy)
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            left = len(content(copy))
            again = build(copy).wait()
            same = again == 0 and content(copy) == whole
            different += not same
            result = "the same" if same else f"DIFFERENT, exit status {again}"
            print(
                f"{kill + 1:3}: killed after {moment:5.1f} s with {left} files; then {result}",
                flush=True,
            )
    print(f"{kills - different} of {kills} the same")
    return int(different > 0)


def build(copy: Path) -> subprocess.Popen:
    """``make book`` in a group of processes of its own, with the packages installed here."""
    return subprocess.Popen(
        ["make", "-o", ".venv/.installed", f"BIN={Path(sys.executable).parent}", "book"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "lib")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def content(copy: Path) -> dict[str, bytes]:
    """All files of the built book."""
    html = copy / "_build" / "html"
    return {
        str(path.relative_to(html)): path.read_bytes()
        for path in html.rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
