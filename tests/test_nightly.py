"""What the nightly job is to run exists."""

from pathlib import Path

import nightly
import pytest

from bookkit.freshness import notebooks
from diffot.paths import ROOT


def test_cheap_chapters_are_notebooks_without_long_tables():
    found = notebooks(nightly.CHEAP)
    assert sorted(path.stem for path in found) == sorted(nightly.CHEAP) != []
    for path in found:
        assert "run.table(" not in path.read_text()


def test_files_of_its_parts_exist():
    files = [part for command in nightly.PARTS.values() for part in command if "/" in part]
    assert len(files) > len(nightly.PARTS)
    for file in files:
        assert (ROOT / file).exists()


@pytest.mark.parametrize("file", nightly.KILLED)
def test_files_with_kills_have_tests_of_that_name(file):
    names = [
        line for line in (ROOT / file).read_text().splitlines() if line.startswith("def test")
    ]
    assert any("kill" in name for name in names)


def test_a_claim_that_fails_in_profile_full_is_an_error(monkeypatch):
    def outcome(notebook: Path, seed: int, profile: str):
        assert profile == "full"
        return [], {"failed": ["a.claim"] if notebook.stem == nightly.CHEAP[-1] else []}

    monkeypatch.setattr(nightly, "run_once", outcome)
    assert not nightly.full()
    monkeypatch.setattr(nightly, "run_once", lambda *_: ([], {"failed": []}))
    assert nightly.full()
