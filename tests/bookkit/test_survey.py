"""Counting at how many seeds claims hold, on notebooks of a few lines that keep a log."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from bookkit import __main__ as command
from bookkit import survey
from bookkit.freshness import code_hash

# What a notebook leaves behind of its claims, without the time that importing torch takes.
SOURCE = """\
import json, os
from pathlib import Path
assert os.environ["DIFFOT_SURVEY"] and "DIFFOT_RECORD" not in os.environ
with open({log!r}, "a") as log:
    log.write(f"{name} {{SEED}} {{PROFILE}}\\n")
{more}
claims = {{"{name}.low": {{"holds": SEED != 2}}, "{name}.high": {{"holds": True}}}}
Path(f"{name}.{{PROFILE}}.seed{{SEED}}.json").write_text(json.dumps({{"claims": claims}}))
"""


class Book:
    """Two notebooks, A and B, and the record of their seeds."""

    def __init__(self, folder):
        self.folder, self.log, self.record = folder, folder / "log", folder / "seeds.json"
        for name in "AB":
            self.write(name)

    def write(self, name, more=""):
        cell = new_code_cell('PROFILE = "default"\nSEED = 0')
        cell.metadata["tags"] = ["parameters"]
        source = SOURCE.format(log=str(self.log), name=name, more=more)
        metadata = {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
        notebook = new_notebook(cells=[cell, new_code_cell(source)], metadata=metadata)
        nbformat.write(notebook, self.folder / f"{name}.ipynb")

    def paths(self, names=()):
        return [self.folder / f"{name}.ipynb" for name in (names or "AB")]

    def survey(self, seeds, names=()):
        """Whether all claims held, and what was run."""
        good = survey.survey(names, seeds, self.record)
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return good, lines


@pytest.fixture
def book(tmp_path, monkeypatch):
    small = Book(tmp_path)
    monkeypatch.setattr(survey, "notebooks", small.paths)
    monkeypatch.setenv("DIFFOT_RECORD", "1")
    return small


def test_only_pairs_that_are_not_known_are_run(book, capsys):
    assert book.survey(1) == (True, ["A 1 fast", "B 1 fast"])
    assert "2 of 2: B, seed 1: not held: none" in capsys.readouterr().out
    assert book.survey(1) == (True, [])
    assert book.survey(2) == (False, ["A 2 fast", "B 2 fast"])
    assert "not held: B.low" in capsys.readouterr().out
    book.write("B", more="more = 1")  # new code: what is known of B is of another notebook
    assert book.survey(2) == (False, ["B 1 fast", "B 2 fast"])
    known = survey.read(book.record)
    assert known["A"]["code"] == code_hash(book.paths()[0])
    assert survey.held(known, "A", "A.low") == (1, 2)
    assert survey.held(known, "B", "B.high") == (2, 2)
    assert survey.held(known, "A", "A.new") == survey.held(known, "C", "C.low") == (0, 0)
    assert str(book.folder) not in book.record.read_text()


def test_what_was_done_before_an_interruption_is_kept(book, monkeypatch):
    run_once, calls = survey.run_once, []

    def interrupted(notebook, seed):
        calls.append(notebook.stem)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_once(notebook, seed)

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(survey, "run_once", interrupted)
        book.survey(1)
    assert json.loads(book.record.read_text())["A"]["seeds"] == {"1": {"failed": []}}
    assert book.log.read_text() == "A 1 fast\n"
    book.log.unlink()
    assert book.survey(1) == (True, ["B 1 fast"])


def test_a_notebook_that_does_not_finish_is_no_end_and_counts_as_held_nowhere(book):
    book.write("A", more='assert SEED != 1, "seed 1 is unlucky"')
    good, ran = book.survey(3)
    assert not good and len(ran) == 6
    known = survey.read(book.record)
    assert "seed 1 is unlucky" in known["A"]["seeds"]["1"]["error"]
    assert survey.held(known, "A", "A.high") == (2, 3)
    assert survey.held(known, "A", "A.low") == (1, 3)
    assert book.survey(3) == (False, ["A 1 fast"])  # it is tried again, as the only one


def test_some_notebooks_leave_what_is_known_of_others(book):
    book.survey(1)
    before = survey.read(book.record)["B"]
    assert book.survey(2, names=["A"]) == (False, ["A 2 fast"])
    assert survey.read(book.record)["B"] == before


def test_command_line(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(survey, "survey", lambda *a: asked.append(a) or len(asked) == 1)
    assert command.main(["sweep", "L1", "--seeds", "3"]) == 0
    assert command.main(["sweep"]) == 1
    assert asked == [(["L1"], 3), ([], survey.COUNT)]
    monkeypatch.undo()
    assert command.main(["sweep", "L2"]) == 2
    assert "unknown notebook" in capsys.readouterr().err
    assert command.main(["sweep", "--seeds", "0"]) == 2
    assert "seeds is 0" in capsys.readouterr().err
