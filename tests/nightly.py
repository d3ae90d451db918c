"""What takes too long for every change and is run by a clock: ``make nightly``.

The claims of the cheap chapters at three seeds, their profile ``full``, and processes that are
killed at random moments. Each part runs even if an earlier one failed. Nothing in the repository
is written but the build of the book.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from run_all import PYTEST, run

from bookkit.freshness import notebooks
from bookkit.survey import run_once, survey

# Chapters whose profile ``full`` takes less than a minute and reads no table.
CHEAP = (
    "F1_probability",
    "F1b_likelihood_chains_and_maps",
    "F3_forward_and_back",
    "F4_objective",
    "F5_ddim_and_flow",
    "F6_optimal_transport",
    "S1_samplers",
)
KILLED = ["tests/diffot/data/test_cache.py", "tests/diffot/learning/test_runs.py"]
KILLED += ["tests/bookkit/test_sweeps.py"]
SEEDS, KILLS = 3, 5

PARTS = {
    "seeds": [sys.executable, __file__, "seeds"],
    "full profile": [sys.executable, __file__, "full"],
    "kills: work": [*PYTEST, *KILLED, "-k", "kill"],
    "kills: book": [sys.executable, "tests/kill_builds.py", str(KILLS)],
}


def seeds() -> bool:
    """Whether all claims of the cheap chapters hold at seeds 1 to 3, in profile ``fast``."""
    with tempfile.TemporaryDirectory() as folder:
        return survey(CHEAP, SEEDS, Path(folder) / "seeds.json")


def full() -> bool:
    """Whether they hold in profile ``full``."""
    outcomes = {}
    for notebook in notebooks(CHEAP):
        _, outcomes[notebook.stem] = run_once(notebook, 0, "full")
        print(notebook.stem, outcomes[notebook.stem], flush=True)
    return all(outcome == {"failed": []} for outcome in outcomes.values())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(not {"seeds": seeds, "full": full}[sys.argv[1]]())
    sys.exit(run(PARTS))
