"""Every notebook of the book: its form, its freshness, and its claims under other seeds."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import papermill
import pytest

from diffot import freshness, paths
from diffot.notebook import declared_parameters

NOTEBOOKS = freshness.notebooks()
NAMES = [path.stem for path in NOTEBOOKS]
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)


def run_papermill(path, folder, **parameters):
    """Execute a notebook with parameters, working in ``folder``; returns its recorded claims."""
    papermill.execute_notebook(
        path, folder / path.name, parameters=parameters, cwd=folder,
        progress_bar=False, request_save_on_cell_execute=False, execution_timeout=600,
    )  # fmt: skip
    (written,) = folder.glob(f"{path.stem}.*.json")
    return json.loads(written.read_text())


@each
def test_outputs_are_fresh(path):
    assert freshness.is_fresh(path), (
        f"outputs are older than the code; run: make run ({path.stem})"
    )


@each
def test_form(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    for word in ("**Question.**", "**Thesis.**", "**Found here.**", "**Run time.**"):
        assert word in cells[0].source
    assert list(declared_parameters(path))[:2] == ["PROFILE", "SEED"]
    assert path.stat().st_size <= 1.5e6
    figures, sliders = (
        [c for c in cells if any(seen(o.get("data", {})) for o in c.get("outputs", []))]
        for seen in (
            lambda data: "image/png" in data,
            lambda data: "frame-slider" in data.get("text/html", ""),
        )
    )
    assert figures
    for cell in figures + sliders:
        assert len(cell.metadata["mystnb"]["figure"]["caption"]) > 40
    for cell in figures:  # a slider's HTML has its own description
        assert len(cell.metadata["mystnb"]["image"]["alt"]) > 40


@each
def test_recorded_claims_are_those_of_the_notebook(path):
    record = json.loads((paths.RESULTS / f"{path.stem}.json").read_text())
    assert record["parameters"] == declared_parameters(path)
    glued = {}
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name", "")
            if name and not name.endswith(".text"):
                glued[name] = float(output["data"]["application/papermill.record/text/plain"])
    assert glued == {name: claim["value"] for name, claim in record["claims"].items()}


@each
def test_bounds_are_four_standard_errors_away(path):
    record = json.loads((paths.RESULTS / f"{path.stem}.json").read_text())
    for name, claim in record["claims"].items():
        for bound in (claim["at_least"], claim["at_most"]):
            if bound is not None and claim["uncertainty"] is not None:
                assert abs(claim["value"] - bound) >= 4 * claim["uncertainty"], name


@each
@pytest.mark.parametrize("seed", [1, 2])
def test_claims_hold_for_other_seeds(path, seed, tmp_path):
    found = run_papermill(path, tmp_path, PROFILE="fast", SEED=seed)
    expected = json.loads((paths.RESULTS / f"{path.stem}.json").read_text())
    assert set(found["claims"]) == set(expected["claims"])
    assert all(claim["holds"] for claim in found["claims"].values())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"PROFILE": "fst"}, r"unknown profile 'fst'; did you mean fast.*fast, default, full"),
        (
            {"STEP": 10},
            r"unknown parameter of .* 'STEP'; did you mean STEPS or SEED.*PROFILE, SEED",
        ),
        ({"STEPS": "ten"}, r"parameter STEPS is 'ten'; expected a value of type int"),
    ],
)
def test_a_wrong_parameter_fails_with_the_valid_ones(parameters, message, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        run_papermill(paths.NOTEBOOKS / "L1_euclidean_distance.ipynb", tmp_path, **parameters)


def test_other_values_of_own_parameters_are_not_held_to_the_claims(tmp_path):
    path = paths.NOTEBOOKS / "L1_euclidean_distance.ipynb"
    found = run_papermill(path, tmp_path, PROFILE="fast", STEPS=5)
    broken = [name for name, claim in found["claims"].items() if not claim["holds"]]
    assert broken  # five steps are too few for some, and the run went on


# --- The safety net itself: a wrong number and a wrong formula must be noticed ----------------


@pytest.fixture
def copy(tmp_path):
    """A copy of what the L.1 notebook needs, in which things can be broken."""
    for folder in ("lib", "notebooks", "data/results", "data/checkpoints"):
        shutil.copytree(paths.ROOT / folder, tmp_path / folder)
    shutil.copy(paths.HYPOTHESES, tmp_path / "data")
    return tmp_path


def nbval(folder, notebook):
    environment = {**os.environ, "PYTHONPATH": str(folder / "lib"), "JUPYTER_PLATFORM_DIRS": "1"}
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-c", os.devnull, str(notebook)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout


def test_a_changed_digit_makes_nbval_fail(copy):
    """On the notebook up to its first claim, to save time."""
    path = copy / "notebooks" / "L1_euclidean_distance.ipynb"
    whole = nbformat.read(path, as_version=4)
    first = next(i for i, c in enumerate(whole.cells) if "run.claim" in c.source)
    whole.cells = whole.cells[: first + 1]
    nbformat.write(whole, path)
    assert nbval(copy, path)[0] == 0
    text = path.read_text()
    assert "n = 200,000" in text
    path.write_text(text.replace("n = 200,000", "n = 200,001"))
    code, output = nbval(copy, path)
    assert code == 1 and "200,001" in output


def test_a_changed_formula_makes_a_claim_fail(copy, tmp_path, monkeypatch):
    """DDIM with a noise term too large by 1 % is still a sampler, but not this one."""
    file = copy / "lib" / "diffot" / "samplers.py"
    right = "return keep * x + "
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, "return 1.01 * keep * x + "))
    monkeypatch.setenv("PYTHONPATH", str(copy / "lib"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(papermill.PapermillExecutionError, match="ClaimError"):
        run_papermill(copy / "notebooks" / "L1_euclidean_distance.ipynb", out, PROFILE="fast")
