"""Where the book keeps its things, and what is set in the environment for its notebooks."""

from diffot.paths import ROOT

TABLES = ROOT / "data" / "tables"
RESULTS = ROOT / "data" / "results"
NOTEBOOKS = ROOT / "notebooks"
FRAMES = NOTEBOOKS / "frames"
HYPOTHESES = ROOT / "data" / "hypotheses.json"
SEEDS = ROOT / "data" / "seeds.json"  # which claims held at which seeds

# Set in the environment by `make run`: what the notebook finds goes on record.
RECORD = "DIFFOT_RECORD"

# May hold the address of a Dask scheduler, for the long computations of profile full.
SCHEDULER = "DIFFOT_SCHEDULER"

# Set in the environment by `make sweep`: a claim that does not hold is kept, and the run goes on.
SURVEY = "DIFFOT_SURVEY"
