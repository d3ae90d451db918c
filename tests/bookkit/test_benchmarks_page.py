"""The page on benchmarks, made of a small record, and the record that is kept."""

import ast
import importlib.util
import json

import pytest

from bookkit.paths import RESULTS
from diffot.paths import ROOT


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = load("comparisons_page", ROOT / "book" / "_ext" / "comparisons.py")
measuring = load("benchmarks_measuring", ROOT / "benchmarks" / "measuring.py")
KEPT = RESULTS / "benchmarks.json"


def row(name, ours, peer, **more):
    return measuring.row(name, ours, peer, unit="s", against="the other", **more)


@pytest.fixture
def entries():
    rows = [
        row("quick", [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], target=0.75),
        row("slow", [3.0], [2.0], target=1.0, why="It does more."),
        row("lame", [4.0], [2.0], target=1.0),
        row("as it is", [3.0], [2.0]),
    ]
    topic = {"title": "Racing", "about": "Who is first.", "date": "2026-11-27", "seconds": 90}
    topic |= {"threads": 1, "versions": {"other": "1.2", "absent": None}, "rows": rows}
    machine = {"processor": "A processor", "accelerator": None, "cores": 2, "memory_GB": 8.0}
    machine |= {"python": "3.11.7", "torch": "2.13.0"}
    return [{"machine": machine, "topics": {"racing": topic | {"conclusion": "So it goes."}}}]


def test_a_row_compares_round_by_round():
    found = row("x", [1.0, 9.0, 2.0], [1.0, 3.0, 4.0], target=1.0, why="unused")
    assert found["ratio"] == 1.0 and found["quartiles"] == [0.75, 2.0]
    assert found["met"] and found["why"] == ""
    assert row("x", [1.0], [2.0])["met"] is None


def test_exponents_are_fitted():
    assert measuring.fitted_exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_the_page_shows_what_was_measured(entries):
    text = page.benchmarks_text(entries)
    for part in (
        "## A processor",
        "2 cores, 8.0 GB of memory",
        "Of 3 targets, 1 are met.",
        "### Racing",
        "| quick | the other | 2 | 4 s | 0.5 | at most 0.75: met |",
        "| slow | the other | 3 | 2 s | 1.5 | at most 1: **missed** |",
        "| as it is | the other | 3 | 2 s | 1.5 |  |",
        "**Missed.** It does more. Rows: slow (the other).",
        "**Missed.** The reason is not known. Rows: lame (the other).",
        "So it goes.",
        "Measured on 2026-11-27 in 1.5 minutes, on one thread. Peers: other 1.2.",
    ):
        assert part in text


def test_a_page_without_a_record_says_so():
    assert "Nothing has been measured yet" in page.benchmarks_text([])


@pytest.mark.skipif(not KEPT.exists(), reason="nothing is kept; make bench")
def test_the_kept_record_is_complete():
    entries = json.loads(KEPT.read_text())
    topics = {"sampling", "errors", "inversion", "exact", "estimates", "scaling"}
    topics |= {"training", "notebooks", "book"}
    assert any(topics <= set(entry["topics"]) for entry in entries)
    for entry in entries:
        for topic in entry["topics"].values():
            assert topic["rows"] and all(topic["versions"].values())
            for found in topic["rows"]:
                assert found["met"] == (found["target"] and found["ratio"] <= found["target"])
    assert page.benchmarks_text(entries)


def test_topics_have_their_modules():
    written = (ROOT / "benchmarks" / "__main__.py").read_text()
    topics = ast.literal_eval(written.partition("TOPICS = ")[2].partition("\n)\n")[0] + ")")
    assert all((ROOT / "benchmarks" / f"{name}.py").exists() for name in topics)


def test_a_target_between_the_quartiles_is_not_told():
    spread = row("x", [0.9, 3.0, 2.0], [1.0, 1.0, 1.9], target=1.01, why="It does more.")
    assert not spread["met"] and spread["why"] == measuring.TIE


def test_a_ratio_just_above_its_target_shows_it():
    near = row("x", [1.01035], [1.0], target=1.01)
    assert "| 1.01035 | at most 1.01: **missed** |" in page._table([near])


def test_ways_are_listed_by_group():
    made = row("x", [1.0], [2.0]) | {"group": "x"}
    rows = [made | {"column": n, "each": {"ours": n, "other": 2 * n}} for n in (5, 10)]
    (table,) = page._each(rows)
    assert "| x | 5 | 10 |" in table and "| other | 10 | 20 |" in table
