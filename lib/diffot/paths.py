"""Where the repository keeps its things."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "data" / "checkpoints"
TABLES = ROOT / "data" / "tables"
RESULTS = ROOT / "data" / "results"
NOTEBOOKS = ROOT / "notebooks"
FRAMES = NOTEBOOKS / "frames"
HYPOTHESES = ROOT / "data" / "hypotheses.json"
# Set in the environment by `make run`: what the notebook finds goes on record.
RECORD = "DIFFOT_RECORD"
# May hold the address of a Dask scheduler, for the long computations of profile full.
SCHEDULER = "DIFFOT_SCHEDULER"
CACHE = ROOT / "data" / "cache"
# Real images, where a reader has put some.
FOLDERS = ROOT / "data" / "folders"
