"""The contract between notebooks and library: parameters, seeds, claims, freshness."""

import json
import re
from types import SimpleNamespace

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from diffot import freshness, notebook
from diffot.notebook import ClaimError, begin
from diffot.sweeps import sweep


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A folder with one notebook "N1" that declares one parameter of its own."""
    cell = new_code_cell('PROFILE = "default"\nSEED = 0\nSTEPS = 30\nWIDTH = 0.5')
    cell.metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "N1.ipynb")
    monkeypatch.setattr(notebook, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebook, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(notebook, "glue", lambda *a, **k: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(profile="default", seed=0, steps=30, width=0.5):
    return begin("N1", profile, seed, STEPS=steps, WIDTH=width)


def edited(path, old, new):
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))


def claim(run, value=1.0, name="N1.value", **more):
    run.claim(name, value, "The value", **{"at_least": 0.5, **more})


def test_unknown_and_mistyped_parameters_are_refused(book):
    with pytest.raises(ValueError, match="unknown profile 'fats'; did you mean fast or default"):
        start(profile="fats")
    with pytest.raises(
        ValueError, match=r"STEPZ.*did you mean STEPS or SEED.*PROFILE, SEED, STEPS"
    ):
        begin("N1", "fast", 0, STEPS=30, WIDTH=0.5, STEPZ=3)
    with pytest.raises(ValueError, match="not told its parameter WIDTH"):
        begin("N1", "fast", 0, STEPS=30)
    with pytest.raises(ValueError, match="STEPS is '30'; expected a value of type int"):
        start(steps="30")
    with pytest.raises(ValueError, match="SEED is -1"):
        start(seed=-1)
    start(width=2)  # a whole number is fine for a real one


def test_a_reader_who_edits_the_parameters_cell_is_not_held_to_the_claims(book):
    """Nor does the run replace the results on record."""
    claim(start())
    run = start()
    claim(run)
    run.finish()
    record = (book / "results" / "N1.json").read_bytes()
    path = book / "N1.ipynb"
    path.write_text(path.read_text().replace("STEPS = 30", "STEPS = 10"))
    edited = start(steps=10)
    claim(edited, 0.1)
    edited.finish()
    assert (book / "results" / "N1.json").read_bytes() == record


def test_make_run_puts_new_parameters_on_record(book, monkeypatch):
    run = start()
    claim(run)
    run.finish()
    path = book / "N1.ipynb"
    path.write_text(path.read_text().replace("STEPS = 30", "STEPS = 10"))
    monkeypatch.setenv("DIFFOT_RECORD", "1")
    run = start(steps=10)
    claim(run)
    run.finish()
    assert json.loads((book / "results" / "N1.json").read_text())["parameters"]["STEPS"] == 10


def test_a_notebook_can_be_run_again_in_the_same_kernel(book, monkeypatch):
    inputs = ["", "PROFILE = 'fast'", "run = begin(...)", "other = 3", "begin()"]
    shell = SimpleNamespace(user_ns={"In": inputs})
    monkeypatch.setattr(notebook, "get_ipython", lambda: shell)
    start(profile="fast")
    inputs.insert(2, "# Parameters\nSTEPZ = 3\nPAPERMILL_INPUT_PATH = 'x'\n")
    with pytest.raises(ValueError, match="STEPZ"):
        start(profile="fast")


def test_bounds_are_compared_with_the_value_not_with_what_is_shown(book):
    with pytest.raises(ClaimError):
        claim(start(), 0.99951, at_least=1.0)


def test_draws_for_one_purpose_do_not_depend_on_others(book):
    def draws(run, key):
        return torch.rand(3, generator=run.generator(key)).tolist()

    first, second = start(), start()
    draws(second, "something new")
    assert draws(first, "latents") == draws(second, "latents")
    assert draws(first, "latents") != draws(first, "other")
    assert draws(first, "latents") != draws(start(seed=1), "latents")


def test_profiles_choose_sizes(book):
    sizes = [start(profile=p).n(fast=1, default=2, full=3) for p in notebook.PROFILES]
    assert sizes == [1, 2, 3]


@pytest.mark.parametrize("bounds", [{"at_least": 1.1}, {"at_least": None, "at_most": 0.9}])
def test_a_violated_claim_raises(book, bounds):
    with pytest.raises(ClaimError, match=r"N1.value: The value: 1, but the claim says at"):
        claim(start(), **bounds)


def test_claims_that_cannot_fail_or_are_incomplete_are_refused(book):
    run = start()
    with pytest.raises(ValueError, match="cannot fail"):
        claim(run, at_least=None)
    with pytest.raises(ValueError, match="not a finite number"):
        claim(run, float("nan"))
    with pytest.raises(ValueError, match="needs a verdict"):
        claim(run, hypothesis="Hypothesis 1")
    with pytest.raises(ValueError, match="unknown hypothesis 'Hypothesis 11'"):
        claim(run, hypothesis="Hypothesis 11", verdict="holds")
    with pytest.raises(ValueError, match="unknown verdict 'proved'"):
        claim(run, hypothesis="Hypothesis 1", verdict="proved")
    claim(run)
    with pytest.raises(ValueError, match="made twice"):
        claim(run)
    with pytest.raises(ValueError, match="no claim of N1 bears on Hypothesis 1"):
        run.verdict("Hypothesis 1", "holds", "of nothing")


def test_the_official_run_writes_to_results_and_others_beside_themselves(book):
    for run in (start(), start(seed=3), start(profile="fast"), start(steps=31)):
        claim(run, 0.98765, uncertainty=0.0123, n=10, digits=2)
        run.finish()
    (official,) = (book / "results").iterdir()
    assert official.name == "N1.json"
    beside = sorted(p.name for p in book.glob("*.json"))
    assert beside == [
        "N1.default.seed0.json", "N1.default.seed3.json", "N1.fast.seed0.json",
    ]  # fmt: skip
    record = json.loads(official.read_text())["claims"]["N1.value"]
    assert (record["value"], record["uncertainty"], record["n"]) == (0.99, 0.01, 10)


def test_other_parameters_than_the_committed_ones_are_not_held_to_the_claims(book, capsys):
    claim(start(steps=31), 0.1)
    assert "not so with these parameters" in capsys.readouterr().out
    with pytest.raises(ClaimError):
        claim(start(seed=31), 0.1)


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (0.178, None, "0.178"),
        (52.0, 1.0, "52 ± 1"),
        (200_000.0, None, "200,000"),
        (7.7e-5, 7e-6, "(7.7 ± 0.7) × 10⁻⁵"),
        (3e-13, None, "3 × 10⁻¹³"),
        (0.0, None, "0"),
        (-0.25, 0.5, "-0.25 ± 0.5"),
    ],
)
def test_numbers_are_written_for_readers(value, uncertainty, text):
    assert notebook.number_text(value, uncertainty) == text


# --- Tables: long computations that are read, and computed again in part ------------------------


def measured(i, log, power=2):
    """A row; each call leaves a line with i."""
    with open(log, "a") as file:
        file.write(f"{i}\n")
    return {"square": float(i**power), "odd": i % 2, "name": f"row {i}"}


@pytest.fixture
def tables(book, monkeypatch):
    """The folder of committed tables."""
    monkeypatch.setattr(notebook, "TABLES", book / "tables")
    monkeypatch.delenv("DIFFOT_SCHEDULER", raising=False)
    return book / "tables"


def tasks_of(book, n=6, **more):
    return [{"i": i, "log": str(book / "log"), **more} for i in range(n)]


def computed(book):
    """Which rows were computed since the last call, in order."""
    log = book / "log"
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(int(line) for line in lines)


def commit_table(book, tables, n=6, change=None):
    """A table on record, with text replaced in it."""
    sweep(measured, tasks_of(book, n), tables / "T.jsonl", jobs=1, progress=False)
    if change:
        edited(tables / "T.jsonl", *change)
    computed(book)


@pytest.mark.parametrize("profile", ["fast", "default"])
def test_a_table_is_read_and_some_rows_are_computed_again(book, tables, profile, capsys):
    commit_table(book, tables, n=8)
    before = (tables / "T.jsonl").read_bytes()
    tasks = tasks_of(book)[::-1]
    found = start(profile=profile).table("T", measured, tasks, again=3)
    assert found.i.tolist() == [5, 4, 3, 2, 1, 0]
    assert found.square.tolist() == [25, 16, 9, 4, 1, 0] and found.name[0] == "row 5"
    first = computed(book)
    assert len(set(first)) == len(first) == 3
    assert "T: 3 of 6 rows computed again; they agree to 0.1 %" in capsys.readouterr().out
    chosen = [first]
    for seed in (0, 1, 2, 3):
        start(profile=profile, seed=seed).table("T", measured, tasks, again=3)
        chosen.append(computed(book))
    assert chosen[1] == first and any(rows != first for rows in chosen)
    assert (tables / "T.jsonl").read_bytes() == before
    assert not list(book.glob("*.jsonl"))


def test_a_number_that_changed_is_an_error_that_says_which(book, tables):
    commit_table(book, tables, change=('"square": 9.0', '"square": 9.02'))
    with pytest.raises(ClaimError) as caught:
        start().table("T", measured, tasks_of(book), again=6)
    message = str(caught.value)
    assert "T: {'i': 3, " in message and "gives square = 9, but" in message
    assert "table says 9.02; find out why, or compute the table anew" in message


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        (('"square": 9.0', '"square": 9.005'), True),
        (('"square": 0.0', '"square": 5e-10'), True),
        (('"square": 0.0', '"square": 1e-8'), False),
        (('"square": 9.0', '"square": NaN'), False),
        (('"square": 4.0, "odd": 0', '"square": 4.0, "odd": 1'), False),
    ],
)
def test_rounding_is_no_change_and_little_else_is(book, tables, change, agrees):
    commit_table(book, tables, change=change)
    if agrees:
        start().table("T", measured, tasks_of(book), again=6)
    else:
        with pytest.raises(ClaimError, match="find out why"):
            start().table("T", measured, tasks_of(book), again=6)


def test_profile_full_adds_to_the_table_what_it_lacks(book, tables):
    found = start(profile="full").table("T", measured, tasks_of(book, 3), again=2)
    first = computed(book)  # each once, and two of them again
    assert set(first) == {0, 1, 2} and len(first) == 5 and found.square.tolist() == [0, 1, 4]
    header = json.loads((tables / "T.jsonl").read_text().splitlines()[0])
    assert re.fullmatch(r"commit \w+, \d{4}-\d\d-\d\d", header["note"])
    more = start(profile="full").table("T", measured, tasks_of(book, 5), again=2)
    then = computed(book)  # the new ones, and two of all again
    assert {3, 4} <= set(then) and len(then) == 4 and more.square.tolist() == [0, 1, 4, 9, 16]
    assert [p.name for p in book.rglob("*.jsonl")] == ["T.jsonl"]
    start().table("T", measured, tasks_of(book, 5), again=1)


def test_profile_full_of_another_run_leaves_the_committed_table_alone(book, tables):
    claim(start())
    run = start()
    claim(run)
    run.finish()
    commit_table(book, tables)
    before = (tables / "T.jsonl").read_bytes()
    for run in (start(profile="full", seed=3), start(profile="full", steps=31)):
        run.table("T", measured, tasks_of(book, 2), again=1)
        assert set(computed(book)) == {0, 1}
    assert sorted(p.name for p in book.glob("*.jsonl")) == ["T.seed0.jsonl", "T.seed3.jsonl"]
    assert (tables / "T.jsonl").read_bytes() == before


def test_profile_full_asks_the_scheduler_of_the_environment(book, tables, monkeypatch):
    monkeypatch.setenv("DIFFOT_SCHEDULER", "nonsense://127.0.0.1:9")
    with pytest.raises(ConnectionError, match="no Dask scheduler answers at 'nonsense"):
        start(profile="full").table("T", measured, tasks_of(book, 2), again=1)


def test_a_table_that_is_missing_or_lacks_rows_is_explained(book, tables):
    with pytest.raises(FileNotFoundError, match=r"no table at .*T\.jsonl; compute it with a sw"):
        start().table("T", measured, tasks_of(book), again=1)
    commit_table(book, tables, n=4)
    with pytest.raises(
        ValueError, match=r"lacks 2 of 6 tasks, the first being \{'i': 4, .*sweep"
    ):
        start().table("T", measured, tasks_of(book), again=1)
    assert computed(book) == []


@pytest.mark.parametrize("old", ["", '"cube": 1.0, '], ids=["gained", "renamed"])
def test_a_column_that_the_table_lacks_is_an_error(book, tables, old):
    commit_table(book, tables)
    path = tables / "T.jsonl"
    path.write_text(re.sub(r'"square": [\d.]+, ', old, path.read_text()))
    with pytest.raises(ClaimError, match=r"gives square = .*, but .* anew"):
        start().table("T", measured, tasks_of(book), again=2)


def test_no_row_may_be_computed_again(book, tables):
    commit_table(book, tables)
    assert len(start().table("T", measured, tasks_of(book), again=0)) == 6
    assert computed(book) == []


# --- Freshness: which edits make outputs stale ------------------------------------------------


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small library of two modules, one imported by the other, and a notebook."""
    folder = tmp_path / "diffot"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "low.py").write_text(
        '"""Low."""\n\ndef f(x):\n    """Double."""\n    return 2 * x\n'
    )
    (folder / "high.py").write_text("from diffot import low\n\ny = low.f(1)\n")
    (folder / "other.py").write_text("z = 1\n")
    path = tmp_path / "N.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("from diffot.high import y\ny")]), path)
    monkeypatch.setattr(freshness, "LIBRARY", folder)
    return folder, path


def test_code_and_imported_modules_count(library):
    folder, path = library
    hashes = [freshness.code_hash(path)]
    edited(folder / "low.py", "2 * x", "3 * x")  # imported by an imported module
    hashes.append(freshness.code_hash(path))
    edited(path, '"y"', '"y + 1"')
    hashes.append(freshness.code_hash(path))
    assert len(set(hashes)) == 3


def test_comments_docstrings_layout_and_other_modules_do_not_count(library):
    folder, path = library
    before = freshness.code_hash(path)
    edited(folder / "low.py", '"""Double."""', '"""Twice x."""  # and more')
    edited(folder / "low.py", "2 * x", "(2  *  x)")
    edited(folder / "other.py", "z = 1", "z = 2")
    edited(path, '"y"', '"y  # the value"')
    assert freshness.code_hash(path) == before


def test_executing_makes_fresh_and_a_failure_keeps_the_old_outputs(library):
    _, path = library
    nbformat.write(new_notebook(cells=[new_code_cell("print(6 * 7)")]), path)
    assert not freshness.is_fresh(path)
    freshness.execute(path)
    assert freshness.is_fresh(path)
    assert nbformat.read(path, 4).cells[0].outputs[0].text == "42\n"
    edited(path, "print(6 * 7)", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        freshness.execute(path)
    assert path.read_bytes() == before and not freshness.is_fresh(path)
