"""The table of modules, and that it is up to date."""

import pytest

from bookkit import layout


def test_the_table_of_modules_is_up_to_date():
    assert layout.is_current(), "the table of modules is not that of the modules: make table"


def test_a_table_is_renewed_between_its_marks(tmp_path):
    path = tmp_path / "C.md"
    path.write_text(f"before\n{layout.START}\nold\n{layout.END}\nafter\n")
    assert not layout.is_current(path)
    layout.update(path)
    assert layout.is_current(path)
    lines = path.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after"
    (row,) = [line for line in lines if line.startswith("| `bookkit.layout` |")]
    assert "The table of modules in CONTRIBUTING" in row
    assert row.endswith("| `table`, `is_current`, `update` |")


def test_a_file_without_marks_is_refused(tmp_path):
    path = tmp_path / "C.md"
    path.write_text("nothing\n")
    with pytest.raises(ValueError, match="around the table of modules"):
        layout.update(path)
    assert path.read_text() == "nothing\n"
