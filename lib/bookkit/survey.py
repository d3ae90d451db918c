"""At how many seeds does each claim hold? All notebooks at many seeds, in profile ``fast``.

What is found is kept in ``data/seeds.json`` as it comes, by notebook and seed. A pair that is
there is not run again, as long as the notebook and the code behind it are the same; one that did
not finish is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bookkit.freshness import code_hash, notebooks
from bookkit.paths import RECORD, SEEDS, SURVEY
from diffot.errors import as_whole_number
from diffot.files import write_whole

PROFILE = "fast"
COUNT = 10  # of seeds: 1 to 10, as bounds were set at seed 0


def read(path: Path = SEEDS) -> dict[str, dict]:
    """What is known of each notebook: the hash of its code, the names of its claims, and by seed
    the claims that did not hold, or why the notebook did not finish. Nothing if there is no file.
    """
    return json.loads(path.read_text()) if path.exists() else {}


def survey(names: Sequence[str] = (), seeds: int = COUNT, path: Path = SEEDS) -> bool:
    """Run notebooks at seeds 1 to ``seeds``, those pairs that are not known; one after the other.

    Args:
        names: of the notebooks; all by default.

    Returns:
        Whether every notebook finished and all its claims held, at all of these seeds.

    Raises:
        ValueError: for an unknown notebook or no seeds.
    """
    numbers = range(1, as_whole_number(seeds, "seeds", least=1) + 1)
    chosen, known = notebooks(names), read(path)
    codes = {notebook.stem: code_hash(notebook) for notebook in chosen}
    for name, code in codes.items():
        if known.get(name, {}).get("code") != code:
            known[name] = {"code": code, "claims": [], "seeds": {}}
    # seed by seed, so that what is cut short has seen every notebook
    waiting = [
        (notebook, seed)
        for seed in numbers
        for notebook in chosen
        if "failed" not in known[notebook.stem]["seeds"].get(str(seed), {})
    ]
    start = time.perf_counter()
    for done, (notebook, seed) in enumerate(waiting, 1):
        entry = known[notebook.stem]
        claims, outcome = run_once(notebook, seed)
        entry["claims"] = claims or entry["claims"]
        entry["seeds"][str(seed)] = outcome
        write_whole(path, (json.dumps(known, indent=1, ensure_ascii=False) + "\n").encode())
        left = (time.perf_counter() - start) / done * (len(waiting) - done)
        said = outcome.get("error") or f"not held: {', '.join(outcome['failed']) or 'none'}"
        print(f"{done} of {len(waiting)}: {notebook.stem}, seed {seed}: {said}; "
              f"about {left / 60:.0f} minutes left", flush=True)  # fmt: skip
    found = [known[name]["seeds"][str(seed)] for name in codes for seed in numbers]
    return all(outcome == {"failed": []} for outcome in found)


def run_once(notebook: Path, seed: int, profile: str = PROFILE) -> tuple[list[str], dict]:
    """The names of a notebook's claims at a seed, and which did not hold: ``{"failed": names}``;
    or no names, and ``{"error": last line}`` if it did not finish."""
    environment = {key: value for key, value in os.environ.items() if key != RECORD}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "papermill", notebook, Path(folder) / notebook.name,
             "-p", "PROFILE", profile, "-p", "SEED", str(seed), "--cwd", folder,
             "--no-progress-bar", "--no-request-save-on-cell-execute"],
            env={**environment, SURVEY: "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return [], {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        written = Path(folder) / f"{notebook.stem}.{profile}.seed{seed}.json"
        claims = json.loads(written.read_text())["claims"]
    return list(claims), {"failed": [name for name in claims if not claims[name]["holds"]]}


def held(known: dict[str, dict], notebook: str, claim: str) -> tuple[int, int]:
    """At how many seeds a claim held, and of how many that are known; (0, 0) if none is.

    A notebook that did not finish counts as if none of its claims had held.
    """
    entry = known.get(notebook, {"claims": [], "seeds": {}})
    if claim not in entry["claims"]:
        return 0, 0
    outcomes = entry["seeds"].values()
    good = sum("error" not in outcome and claim not in outcome["failed"] for outcome in outcomes)
    return good, len(outcomes)
