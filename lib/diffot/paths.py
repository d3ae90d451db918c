"""Where the library keeps what it makes and reads."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = ROOT / "data" / "checkpoints"
CACHE = ROOT / "data" / "cache"

# Real images, where a reader has some: celeba, celeba_hq and afhq in this folder.
FOLDERS = Path(os.environ.get("DIFFOT_PHOTOS", ROOT / "data" / "folders"))
