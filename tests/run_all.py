"""Run everything that CI runs, each part even if an earlier one failed, and say how it went."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PYTEST = [str(BIN / "pytest"), "--tb=short", "--durations=25"]
NOTEBOOKS = "tests/test_all_notebooks.py"
PAGES = ("tests/test_book.py", "tests/test_browser.py")
FRESHNESS = f"{NOTEBOOKS}::test_outputs_are_fresh"

# Parts run two processes at a time; one thread each keeps them out of each other's way. Figures
# must not depend on the matplotlib settings or the list of fonts that somebody's home has.
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MPLCONFIGDIR": str(ROOT / ".venv" / "matplotlib"),
}

PARTS = {
    "ruff: lint": [str(BIN / "ruff"), "check", "."],
    "ruff: format": [str(BIN / "ruff"), "format", "--check", "."],
    "imports": [str(BIN / "lint-imports")],
    "types": [str(BIN / "mypy")],
    "freshness": [*PYTEST, FRESHNESS],
    "unit tests": [*PYTEST, *[f"--ignore={path}" for path in (NOTEBOOKS, *PAGES)], "-n", "2"],
    "nbval": [*PYTEST, "--nbval", "notebooks", "-n", "2", "--dist", "loadfile"],
    "papermill": [*PYTEST, NOTEBOOKS, f"--deselect={FRESHNESS}", "-n", "2"],
    "book: build": ["make", "book"],
    "book: check": [*PYTEST, "-rs", *PAGES, "-n", "2"],
}


def processor_seconds() -> float:
    """Processor time of all processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def run(parts: dict[str, list[str]]) -> int:
    """Run these commands, by their names; returns whether one failed."""
    rows = []
    for name, command in parts.items():
        print(f"\n=== {name}", flush=True)
        start, used = time.perf_counter(), processor_seconds()
        code = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=False).returncode
        rows.append((name, code == 0, time.perf_counter() - start, processor_seconds() - used))
    print(f"\n=== summary{'seconds':>18}{'of processors':>16}")
    for name, passed, seconds, used in rows:
        print(f"{name:14} {'passed' if passed else 'FAILED':8} {seconds:5.0f}{used:16.0f}")
    totals = [sum(row[column] for row in rows) for column in (2, 3)]
    print(f"{'total':23} {totals[0]:5.0f}{totals[1]:16.0f}")
    failed = sum(not passed for _, passed, *_ in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(run(PARTS))
