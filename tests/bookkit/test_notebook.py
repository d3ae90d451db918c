"""The contract between notebooks and library: parameters, seeds, claims, freshness."""

import ast
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from bookkit import __main__ as command
from bookkit import freshness, notebook, paths
from bookkit.claims import Claim, number_text, prose_text
from bookkit.notebook import ClaimError, begin
from bookkit.sweeps import sweep
from bookkit.verdicts import Prediction


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A repository with one notebook "N1" that declares parameters of its own, and a working
    directory beside its notebooks."""
    cell = new_code_cell('PROFILE = "default"\nSEED = 0\nSTEPS = 30\nWIDTH = 0.5')
    cell.metadata["tags"] = ["parameters"]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "notebooks" / "N1.ipynb")
    monkeypatch.setattr(notebook, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(notebook, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(notebook, "glue", lambda *a, **k: None)
    monkeypatch.delenv("DIFFOT_RECORD", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recorded(book, make_run):
    """The content of the record that ``make run`` writes of one claim."""
    with make_run():
        finished()
    return (book / "results" / "N1.json").read_bytes()


@pytest.fixture
def make_run(monkeypatch):
    """A context in which runs are those of ``make run``."""

    @contextmanager
    def recording():
        with monkeypatch.context() as environment:
            environment.setenv("DIFFOT_RECORD", "1")
            yield

    return recording


def start(profile="default", seed=0, steps=30, width=0.5):
    return begin("N1", profile, seed, STEPS=steps, WIDTH=width)


def edited(path, old, new):
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))


def finished(value=1.0, **parameters):
    """A run with one claim, from its beginning to its end."""
    run = start(**parameters)
    claim(run, value)
    run.finish()


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
    with pytest.raises(TypeError, match="STEPS is '30', of type str; expected a whole number"):
        start(steps="30")
    with pytest.raises(TypeError, match=r"STEPS is 30\.0, .*expected a whole number"):
        start(steps=30.0)
    with pytest.raises(ValueError, match="WIDTH is nan; expected a number"):
        start(width=float("nan"))
    with pytest.raises(ValueError, match="unknown notebook 'N'; did you mean N1"):
        begin("N", "fast", 0)
    with pytest.raises(ValueError, match="SEED is -1"):
        start(seed=-1)
    start(width=2)  # a whole number is fine for a real one


def test_numbers_of_other_libraries_are_parameters_too(book):
    run = start(seed=np.int64(0), steps=torch.tensor(30), width=np.float32(0.5))
    assert run.parameters == {"PROFILE": "default", "SEED": 0, "STEPS": 30, "WIDTH": 0.5}
    with pytest.raises(ClaimError):  # as committed, so claims are enforced
        claim(run, 0.1)
    json.dumps(run.parameters)


def test_a_reader_who_edits_the_parameters_cell_is_not_held_to_the_claims(book, recorded):
    edited(book / "notebooks" / "N1.ipynb", "STEPS = 30", "STEPS = 10")
    finished(0.1, steps=10)
    assert (book / "results" / "N1.json").read_bytes() == recorded


def test_make_run_puts_new_parameters_on_record(book, recorded, make_run):
    edited(book / "notebooks" / "N1.ipynb", "STEPS = 30", "STEPS = 10")
    with make_run():
        finished(steps=10)
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
    with pytest.raises(ValueError, match="which nothing is"):
        claim(run, at_most=0.4)
    share = Prediction(exact=1, chance=0)
    for bears in ({"hypothesis": "Hypothesis 1"}, {"prediction": share}, {"verdict": "holds"}):
        with pytest.raises(ValueError, match=r"needs a prediction or a verdict \(one of them\)"):
            claim(run, **bears)
    with pytest.raises(ValueError, match="one of them"):
        claim(run, hypothesis="Hypothesis 1", verdict="holds", prediction=share)
    with pytest.raises(ValueError, match="an uncertainty, and a reason why it has none"):
        claim(run, uncertainty=0.1, without_error="exact")
    with pytest.raises(ValueError, match=r"unknown without_error of claim N1\.value 'exat'"):
        claim(run, without_error="exat")
    with pytest.raises(ValueError, match="unknown hypothesis 'Hypothesis 11'"):
        claim(run, hypothesis="Hypothesis 11", verdict="holds")
    with pytest.raises(ValueError, match="unknown verdict 'proved'"):
        claim(run, hypothesis="Hypothesis 1", verdict="proved")
    claim(run)
    with pytest.raises(ValueError, match="made twice"):
        claim(run)
    with pytest.raises(ValueError, match="no claim of N1 bears on Hypothesis 1"):
        run.verdict("Hypothesis 1", "holds", "of nothing")
    with pytest.raises(ValueError, match="no claim of N1 bears on Hypothesis 2"):
        run.judge("Hypothesis 2", "of nothing")


def test_verdicts_follow_from_value_error_and_prediction(book, capsys, monkeypatch):
    """The value itself is judged, not what is shown of it; the prose gets the verdict."""
    glued = {}
    monkeypatch.setattr(notebook, "glue", lambda name, value, **_: glued.update({name: value}))
    run = start()
    bears = {"hypothesis": "Hypothesis 1", "prediction": Prediction(exact=1, chance=0)}
    claim(run, 0.9496, digits=2, name="N1.close", **bears)
    claim(run, 1.0, uncertainty=0.01, name="N1.sure", because="of that", **bears)
    claim(run, 0.0, at_least=0, name="N1.other", hypothesis="Hypothesis 2", verdict="refuted")
    run.judge("Hypothesis 1", "nearly so")
    with pytest.raises(ValueError, match="claims of N1 bear on Hypothesis 2; judge each"):
        run.finish()
    run.judge("Hypothesis 2", "seen")
    run.finish()
    assert "Hypothesis 1 holds approximately: nearly so" in capsys.readouterr().out
    assert glued["Hypothesis_1.text"] == "holds approximately"
    record = json.loads((book / "N1.default.seed0.json").read_text())
    close, sure = (record["claims"][f"N1.{name}"] for name in ("close", "sure"))
    assert (close["value"], close["degree"]) == (0.95, 0.95)
    assert close["verdict"] == "holds approximately" and sure["verdict"] == "holds"
    assert sure["prediction"] == {"exact": 1, "chance": 0, "asks": "always"}
    assert record["verdicts"]["Hypothesis 1"] == {
        "verdict": "holds approximately", "because": "nearly so",
    }  # fmt: skip


def test_in_a_survey_of_seeds_a_violated_claim_is_kept(book, monkeypatch, capsys):
    monkeypatch.setenv("DIFFOT_SURVEY", "1")
    run = start(profile="fast", seed=3)
    claim(run, 0.1)
    claim(run, 0.7, name="N1.good")
    run.finish()
    assert "1 of 2 claims hold" in capsys.readouterr().out
    claims = json.loads((book / "N1.fast.seed3.json").read_text())["claims"]
    assert {name: c["holds"] for name, c in claims.items()} == {
        "N1.value": False, "N1.good": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"value": float("nan")}, "value of claim N1.value is nan; expected a number"),
        ({"value": float("inf")}, "value of claim N1.value is inf"),
        ({"value": None}, "value of claim N1.value is None"),
        ({"value": True}, "value of claim N1.value is True"),
        ({"value": torch.ones(2)}, "value of claim N1.value is torch.float32 of shape"),
        ({"uncertainty": -0.1}, "uncertainty of claim N1.value is -0.1; .*at least 0"),
        ({"uncertainty": float("nan")}, "uncertainty of claim N1.value is nan"),
        ({"uncertainty": "small"}, "uncertainty of claim N1.value is 'small'"),
        ({"at_least": float("nan")}, "at_least of claim N1.value is nan"),
        ({"at_most": float("inf")}, "at_most of claim N1.value is inf"),
        ({"at_most": "1"}, "at_most of claim N1.value is '1'"),
        ({"n": -1}, "n of claim N1.value is -1; .*at least 1"),
        ({"n": 10.5}, "n of claim N1.value is 10.5"),
        ({"digits": 0}, "digits of claim N1.value is 0"),
        ({"name": None}, "name is None"),
        ({"because": 3}, "because of claim N1.value is 3"),
        ({"figure": 3}, "figure of claim N1.value is 3"),
        ({"prediction": 1.0}, "prediction of claim N1.value is 1.0"),
        ({"doubt": 1}, "unexpected keyword argument 'doubt'"),
    ],
)
def test_what_is_no_claim_is_refused_and_not_recorded(book, wrong, message):
    run = start()
    with pytest.raises((TypeError, ValueError), match=message):
        claim(run, **wrong)
    claim(run)  # the name is still free


def test_numbers_of_other_libraries_can_be_claimed(book):
    run = start()
    claim(
        run,
        torch.tensor(0.75),
        at_least=np.float64(0.5),
        uncertainty=torch.tensor(0.01),
        n=np.int64(7),
    )
    run.finish()
    record = json.loads((book / "N1.default.seed0.json").read_text())["claims"]["N1.value"]
    assert (record["value"], record["at_least"], record["uncertainty"]) == (0.75, 0.5, 0.01)
    assert record["n"] == 7


def test_only_make_run_writes_to_the_repository(book, recorded):
    for run in (start(), start(seed=3), start(profile="fast"), start(steps=31)):
        claim(run, 0.98765, uncertainty=0.0123, n=10, digits=2)
        run.finish()
    (official,) = (book / "results").iterdir()
    assert official.name == "N1.json" and official.read_bytes() == recorded
    beside = sorted(p.name for p in book.glob("*.json"))
    assert beside == [
        "N1.default.seed0.json", "N1.default.seed3.json", "N1.fast.seed0.json",
    ]  # fmt: skip
    record = json.loads((book / beside[1]).read_text())["claims"]["N1.value"]
    assert (record["value"], record["uncertainty"], record["n"]) == (0.99, 0.01, 10)


def test_make_run_records_nothing_of_other_seeds_profiles_and_parameters(
    book, recorded, make_run
):
    with make_run():
        for other in ({"seed": 3}, {"profile": "fast"}, {"steps": 31}):
            finished(**other)
    assert (book / "results" / "N1.json").read_bytes() == recorded
    assert len(list(book.glob("*.json"))) == 3


def test_a_run_among_the_notebooks_leaves_nothing_if_it_finds_the_same(
    book, recorded, make_run, monkeypatch, capsys
):
    """As nbval and a reader in Jupyter run it; the text is that of ``make run``."""
    with make_run():
        finished()
    said = capsys.readouterr().out
    monkeypatch.chdir(book / "notebooks")
    finished()
    assert capsys.readouterr().out == said and "recorded in N1.json" in said
    assert [p.name for p in (book / "notebooks").iterdir()] == ["N1.ipynb"]
    finished(2.0)
    assert (book / "notebooks" / "N1.default.seed0.json").exists()
    assert (book / "results" / "N1.json").read_bytes() == recorded


def test_a_folder_that_cannot_be_written_to_costs_only_the_files(
    book, make_run, monkeypatch, capsys
):
    def refused(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(notebook, "write_whole", refused)
    run = start()
    claim(run)
    assert run.save(paths.FRAMES / "N1-s.webp", b"frames") is None
    run.finish()
    said = capsys.readouterr().out
    assert said.count("cannot be written to (Permission denied)") == 1
    assert "N1.value: 1" in said and "1 of 1 claims hold; not recorded" in said
    with make_run(), pytest.raises(OSError, match=r"results cannot be written to .*N1\.json"):
        finished()


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
        (-0.3, 0.5, "−0.3 ± 0.5"),
        (0.7, 0.02, "0.70 ± 0.02"),
        (1.5, 3e-5, "1.50000 ± 0.00003"),
        (1230.0, 20.0, "1,230 ± 20"),
        (0.0, 9e-5, "(0 ± 9) × 10⁻⁵"),
        (6.0, 0.0, "6 ± 0"),
    ],
)
def test_numbers_are_written_for_readers(value, uncertainty, text):
    assert number_text(value, uncertainty).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("value", "uncertainty", "digits", "kept", "text"),
    [
        (0.70312, 0.0196, 3, 0.70, "0.70"),  # no more than the error leaves
        (0.70312, 0.0196, 1, 0.70, "0.7"),  # nor than is asked for
        (98.63, 0.96, 3, 99.0, "99"),
        (166.3, 10.0, 3, 170.0, "170"),
        (147.3, 2.0, 2, 147.0, "150"),
        (-0.02, 0.6, 3, 0.0, "0.0"),
        (9.97e-5, 3e-6, 3, 1e-4, "1.00 × 10⁻⁴"),
        (-0.04, 0.052, 3, -0.04, "−0.04"),
        (0.0002162, 0.000031, 2, 0.00022, "2.2 × 10⁻⁴"),
        (0.17806, None, 3, 0.178, "0.178"),
    ],
)
def test_a_value_is_kept_and_told_to_the_digit_of_its_error(
    value, uncertainty, digits, kept, text
):
    told = Claim("N1.x", value, "x", at_most=200, uncertainty=uncertainty, digits=digits)
    assert told.record()["value"] == kept
    assert prose_text(told).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("value", "more", "text"),
    [
        (1.0, {"cases": 30}, "all 30"),
        (1.0, {"cases": 8, "uncertainty": 0.1}, "all 8"),
        (0.0, {"cases": 4096}, "none"),
        (0.733, {"cases": 30, "uncertainty": 0.08}, "73 ± 8 %"),
        (0.995, {"cases": 2000, "uncertainty": 0.0016}, "99.5 ± 0.2 %"),
        (1 / 3, {"cases": 3}, "33.3 %"),
        (2e-5, {"cases": 100_000}, "below 0.1 %"),
        (0.21634, {"percent": True}, "21.6 %"),
        (-0.0016, {"percent": True, "uncertainty": 0.0004}, "−0.16 ± 0.04 %"),
        (1.0, {"percent": True}, "100 %"),
    ],
)
def test_shares_read_as_prose(value, more, text):
    told = Claim("N1.x", value, "x", at_most=200, **more)
    assert prose_text(told).replace("\u00a0", " ") == text


def test_a_share_of_cases_lies_between_none_and_all():
    with pytest.raises(ValueError, match=r"N1.x is 30; expected a share of its cases"):
        Claim("N1.x", 30, "x", at_most=200, cases=30)


# --- Tables: long computations that are read, and computed again in part ------------------------


@dataclass(frozen=True)
class Task:
    i: int
    log: str
    power: int = 2


def measured(task):
    """A row; each call leaves a line with i."""
    i = task.i
    with open(task.log, "a") as file:
        file.write(f"{i}\n")
    return {"square": float(i**task.power), "odd": i % 2, "name": f"row {i}"}


@pytest.fixture
def tables(book, monkeypatch):
    """The folder of committed tables, which are computed in this process to save time."""
    monkeypatch.setattr(notebook, "TABLES", book / "tables")
    monkeypatch.setattr(notebook, "sweep", lambda *a, **k: sweep(*a, **{**k, "jobs": 1}))
    monkeypatch.delenv("DIFFOT_SCHEDULER", raising=False)
    return book / "tables"


def tasks_of(book, n=6, **more):
    return [Task(i, str(book / "log"), **more) for i in range(n)]


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
    assert "T: Task(i=3, " in message and "gives square = 9, but" in message
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


def test_profile_full_of_another_run_leaves_the_committed_table_alone(book, tables, recorded):
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
        ValueError, match=r"lacks 2 of 6 tasks, the first being Task\(i=4, .*sweep"
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


def test_a_table_of_another_function_is_refused(book, tables):
    commit_table(book, tables, change=("test_notebook.measured", "test_notebook.guessed"))
    with pytest.raises(ValueError, match=r"T\.jsonl is the table of test_notebook\.guessed"):
        start().table("T", measured, tasks_of(book), again=1)


@pytest.mark.parametrize("again", [-1, 1.5, None, "all"])
def test_the_number_of_rows_to_compute_again_is_a_count(book, tables, again):
    with pytest.raises((TypeError, ValueError), match="again is"):
        start().table("T", measured, tasks_of(book), again=again)


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
    monkeypatch.setattr(freshness, "LIBRARY", tmp_path)
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


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import diffot.other",
        "def f():\n    from diffot import other",
        "async def f():\n    from diffot.other import z",
        "class A:\n    from .other import z",
        "from . import other",
        "from diffot.package import inner",
        "import diffot.package.inner",
        "from diffot.package.inner import back",
        "try:\n    from diffot.other import *\nexcept ImportError:\n    pass",
    ],
)
def test_imports_of_every_form_count(library, source):
    folder, path = library
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from ..other import z\n")
    (package / "inner.py").write_text("from . import back\n")
    (package / "back.py").write_text("from .. import low\n")
    (folder / "high.py").write_text(f"{source}\ny = 1\n")
    behind = freshness.modules(path)
    assert {"diffot", "diffot.high", "diffot.other"} <= behind
    inner = {"diffot.package", "diffot.package.inner", "diffot.package.back", "diffot.low"}
    assert inner <= behind if "package" in source else not inner & behind
    before = freshness.code_hash(path)
    edited(folder / "other.py", "z = 1", "z = 2")
    assert freshness.code_hash(path) != before


def test_no_module_is_imported_by_name_at_run_time():
    """The hash would not see it. Looking for a module without loading it is fine."""
    by_name = {"import_module", "__import__", "exec_module", "load_module", "run_module"}
    for path in sorted(Path(freshness.LIBRARY).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = getattr(node, "id", getattr(node, "attr", None))
            assert called not in by_name, f"{path}, line {node.lineno}: {called}"


@pytest.mark.parametrize("name", ["H1_identical_latents", "T1_image_models"])
def test_data_sets_are_among_the_modules_behind_image_notebooks(name):
    behind = freshness.modules(paths.NOTEBOOKS / f"{name}.ipynb")
    assert {f"diffot.data.{data}" for data in ("faces", "animals", "digits")} <= behind


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


def test_command_line_lists_notebooks_and_refuses_unknown_ones(capsys, monkeypatch):
    notebooks = freshness.notebooks()[:1]  # to read them all takes long
    assert command.main(["run", "L2"]) == 2
    assert "unknown notebook" in capsys.readouterr().err
    monkeypatch.setattr(freshness, "notebooks", lambda names=(): notebooks)
    assert command.main(["info"]) == 0
    assert notebooks[0].stem in capsys.readouterr().out


def test_a_notebook_that_fails_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    codes = {"A": "1 / 0", "B": "print(1)"}
    paths_of = [tmp_path / f"{name}.ipynb" for name in codes]
    for path, code in zip(paths_of, codes.values()):
        nbformat.write(new_notebook(cells=[new_code_cell(code)]), path)
    monkeypatch.setattr(freshness, "notebooks", lambda names=(): paths_of)
    before = paths_of[0].read_bytes()
    assert command.main(["run"]) == 1
    written = capsys.readouterr()
    assert "B: executed" in written.out and "failed: A" in written.err
    assert paths_of[0].read_bytes() == before and freshness.is_fresh(paths_of[1])
