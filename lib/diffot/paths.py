"""Where the repository keeps its things."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "data" / "checkpoints"
RESULTS = ROOT / "data" / "results"
NOTEBOOKS = ROOT / "notebooks"
HYPOTHESES = ROOT / "data" / "hypotheses.json"
# Set in the environment by `make run`: what the notebook finds goes on record.
RECORD = "DIFFOT_RECORD"
CACHE = ROOT / "data" / "cache"
# Real images, where a reader has put some.
FOLDERS = ROOT / "data" / "folders"
