"""Every notebook of the book: its form, its freshness, and its claims under other seeds."""

import json
import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell

from bookkit import freshness, paths
from bookkit.notebook import declared_parameters
from bookkit.reading import words
from diffot.paths import ROOT

NOTEBOOKS = freshness.notebooks()
LONGEST = 1800  # words of a chapter
BEFORE = 450  # words before its first figure
NAMES = [path.stem for path in NOTEBOOKS]
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)


def execute(path, folder, **parameters):
    """Execute a notebook with parameters, working in ``folder``."""
    papermill.execute_notebook(
        path, folder / path.name, parameters=parameters, cwd=folder,
        progress_bar=False, request_save_on_cell_execute=False, execution_timeout=600,
    )  # fmt: skip


def run_papermill(path, folder, **parameters):
    """Execute a notebook with parameters; returns its recorded claims."""
    execute(path, folder, **parameters)
    (written,) = folder.glob(f"{path.stem}.*.json")
    return json.loads(written.read_text())


def shorten(path, to, last, *more):
    """Write a notebook up to the first cell with some text, and further code, to another file."""
    whole = nbformat.read(path, as_version=4)
    first = next(i for i, c in enumerate(whole.cells) if last in c.source)
    whole.cells = whole.cells[: first + 1] + [new_code_cell(source) for source in more]
    nbformat.write(whole, to)


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
    # what IPython hides, nbval compares: end with "_ = ..." instead
    assert not any(c.source.rstrip().endswith(";") for c in cells if c.cell_type == "code")
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
def test_prose_is_short_and_ends_in_short(path):
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert words(prose) <= LONGEST
    _, _, end = prose.partition("\n## In short\n")
    assert re.findall(r"^:::\{admonition\} (.*)$", end, re.M)[:3] == [
        "Result",
        "How sure",
        "What follows",
    ]
    exercises = re.findall(r"^## (.*)$", end, re.M)
    assert exercises in ([], ["Exercises"])
    assert exercises or "\n## In short\n" in f"\n{cells[-1].source}"  # no code after it


@each
def test_a_figure_comes_early(path):
    before = 0
    for cell in nbformat.read(path, as_version=4).cells:
        if "figure" in cell.metadata.get("mystnb", {}):
            break
        before += words(cell.source) if cell.cell_type == "markdown" else 0
    assert before <= BEFORE


@each
def test_numbers_read_as_prose(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            text = " ".join(cell.source.split())
            assert not re.search(r"\b[Aa] share of (only |about )?\{glue", text), text


@each
def test_each_claim_can_be_read_alone(path):
    record = json.loads((paths.RESULTS / f"{path.stem}.json").read_text())
    for name, claim in record["claims"].items():
        assert not re.match(r"(The same|These|That|Those|Its|It|Their)\b", claim["says"]), name


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
def test_prose_has_verdicts_from_the_code(path):
    """As ``Hypothesis 1 {glue:text}`Hypothesis_1.text```, never typed."""
    known = json.loads(paths.HYPOTHESES.read_text())
    verdict = r"holds|(is|was|remains)\s+(refuted|not\s+resolved)"
    typed = re.compile(rf"({'|'.join(known)})\s+({verdict})\b")
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            assert not typed.search(cell.source), typed.search(cell.source).group()


@each
def test_claims_have_an_uncertainty_or_say_why_not(path):
    record = json.loads((paths.RESULTS / f"{path.stem}.json").read_text())
    for name, claim in record["claims"].items():
        assert (claim["uncertainty"] is None) == (claim["without_error"] is not None), name


@each
def test_bounds_are_four_standard_errors_away(path):
    record = json.loads(
        (paths.RESULTS / f"{path.stem}.json").read_text(), parse_float=Decimal, parse_int=Decimal
    )
    for name, claim in record["claims"].items():
        for bound in (claim["at_least"], claim["at_most"]):
            if bound is not None and claim["uncertainty"] is not None:
                assert abs(claim["value"] - bound) >= 4 * claim["uncertainty"], name


@each
def test_claims_hold_for_other_seeds(path, tmp_path):
    """With two seeds, one after the other in one kernel: loading libraries takes longer than many
    a notebook."""
    whole = nbformat.read(path, as_version=4)
    sources = [c.source for c in whole.cells if c.cell_type == "code"]
    assert sources[0].startswith("PROFILE")
    again = [[sources[0], f'PROFILE, SEED = "fast", {seed}', *sources[1:]] for seed in (1, 2)]
    whole.cells = [new_code_cell(source) for source in [*again[0], "%reset -f", *again[1]]]
    nbformat.write(whole, tmp_path / path.name)
    execute(tmp_path / path.name, tmp_path)
    expected = json.loads((paths.RESULTS / f"{path.stem}.json").read_text())
    written = sorted(tmp_path.glob(f"{path.stem}.*.json"))
    assert [file.name for file in written] == [
        f"{path.stem}.fast.seed{seed}.json" for seed in (1, 2)
    ]
    for file in written:
        found = json.loads(file.read_text())
        assert set(found["claims"]) == set(expected["claims"])
        assert all(claim["holds"] for claim in found["claims"].values())


def test_a_wrong_parameter_fails_with_the_valid_ones(tmp_path):
    """Papermill adds a cell that the notebook's own code does not see."""
    with pytest.raises(
        papermill.PapermillExecutionError,
        match=r"unknown parameter of .* 'STEP'; did you mean STEPS or SEED.*PROFILE, SEED",
    ):
        run_papermill(paths.NOTEBOOKS / "L1_euclidean_distance.ipynb", tmp_path, STEP=10)


def test_a_plain_run_keeps_its_record_to_itself(tmp_path):
    """With the committed parameters, on the beginning of a notebook, to save time."""
    path = tmp_path / "L1_euclidean_distance.ipynb"
    record = paths.RESULTS / f"{path.stem}.json"
    before = record.stat().st_mtime_ns, record.read_bytes()
    claim = 'run.claim("L1.one", 1.0, "One", at_least=0.5)\nrun.finish()'
    shorten(paths.NOTEBOOKS / path.name, path, "begin(", claim)
    out = tmp_path / "out"
    out.mkdir()
    found = run_papermill(path, out)
    assert (record.stat().st_mtime_ns, record.read_bytes()) == before
    assert found["parameters"] == declared_parameters(path)
    names = sorted(p.name for p in out.iterdir())
    assert names == ["L1_euclidean_distance.default.seed0.json", "L1_euclidean_distance.ipynb"]


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
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(paths.HYPOTHESES, tmp_path / "data")
    return tmp_path


def test_a_changed_digit_makes_nbval_fail(copy):
    """On the notebook up to its first claim, to save time."""
    whole = copy / "notebooks" / "L1_euclidean_distance.ipynb"
    right, wrong = (copy / "notebooks" / f"{name}.ipynb" for name in ("right", "wrong"))
    shorten(whole, right, "run.claim")
    text = right.read_text()
    assert "n\u00a0=\u00a0200,000" in text
    wrong.write_text(text.replace("n\u00a0=\u00a0200,000", "n\u00a0=\u00a0200,001"))
    environment = {**os.environ, "PYTHONPATH": str(copy / "lib"), "JUPYTER_PLATFORM_DIRS": "1"}
    nbval = [sys.executable, "-m", "pytest", "--nbval", "-q", "-rf", "-c", os.devnull]
    done = subprocess.run(
        [*nbval, right, wrong],
        cwd=copy, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "200,001" in done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1 and "wrong.ipynb" in failed[0]


def test_a_changed_formula_makes_a_claim_fail(copy, tmp_path, monkeypatch):
    """DDIM with a noise term too large by 1 % is still a sampler, but not this one."""
    file = copy / "lib" / "diffot" / "samplers" / "steps.py"
    right = "torch.add(keep * x, "
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, "torch.add(1.01 * keep * x, "))
    monkeypatch.setenv("PYTHONPATH", str(copy / "lib"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(papermill.PapermillExecutionError, match="ClaimError"):
        run_papermill(copy / "notebooks" / "L1_euclidean_distance.ipynb", out, PROFILE="fast")
