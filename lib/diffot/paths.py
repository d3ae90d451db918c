"""Where the library keeps what it makes and reads."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "data" / "checkpoints"
CACHE = ROOT / "data" / "cache"

# Real images, where a reader has put some.
FOLDERS = ROOT / "data" / "folders"
