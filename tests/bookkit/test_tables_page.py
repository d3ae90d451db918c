"""Tables of pandas, as they stand on a page."""

import importlib.util

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from diffot.paths import ROOT

SPEC = importlib.util.spec_from_file_location("tables", ROOT / "book" / "_ext" / "tables.py")
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1.7e-04", "1.7\u00a0×\u00a010⁻⁴"),
        ("0.0e+00", "0"),
        ("-0.25 ± 0.03", "−0.25\u00a0±\u00a00.03"),
        ("0.1 to -3", "0.1 to −3"),
        ("NaN", "–"),
        ("DPM-Solver-2", "DPM-Solver-2"),
        ("Faces32A", "Faces32A"),
        ("1e+05 evaluations", "1\u00a0×\u00a010⁵ evaluations"),
    ],
)
def test_numbers_are_written_out(text, shown):
    assert tables.number(text) == shown


def heads(frame):
    page = BeautifulSoup(tables.tidied(frame.to_html()), "html.parser")
    return [[cell.get_text() for cell in row.find_all("th")] for row in page.select("thead tr")]


def test_names_of_rows_stand_in_the_first_line_of_the_head():
    one = pd.DataFrame({"cost": [1, 2]}, index=pd.Index(["a", "b"], name="law"))
    assert heads(one) == [["law", "cost"]]
    two = one.set_index(pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["law", "steps"]))
    assert heads(two) == [["law", "steps", "cost"]]
    assert heads(two.rename_axis([None, "steps"])) == [["", "steps", "cost"]]
    assert heads(one.rename_axis(None)) == [["", "cost"]]


def test_a_name_of_the_columns_keeps_its_line():
    frame = pd.DataFrame({"cost": [1]}, index=pd.Index(["a"], name="law")).rename_axis(
        "x", axis=1
    )
    assert heads(frame) == [["x", "cost"], ["law", ""]]
