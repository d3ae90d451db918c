"""The page from equations to code: what it names exists, cites the same, and is tested."""

import ast
import importlib
import re
import sys
from dataclasses import dataclass

import pytest
import yaml

from diffot.paths import ROOT

PARTS = ("Laws and processes", "Denoisers", "Samplers", "Flows", "Transport", "Learning")
PAGE = (ROOT / "book" / "equations.md").read_text(encoding="utf-8")
THESIS = "thesis"
NAMED = r"(algorithm|theorem|section|remark|appendix) ([A-Z\d][\d.]*)"


@dataclass(frozen=True)
class Row:
    """A row of a table: where a statement is printed, what implements it, and what tests it."""

    printed: str
    name: str
    test: str

    def __str__(self):
        return f"{self.name}: {self.printed}"

    @property
    def last(self) -> str:
        return self.name.split(".")[-1]


def read_rows(page: str) -> list[Row]:
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert {len(row) for row in cells if len(row) > 1} == {4}
    return [
        Row(printed, re.search(r"<(.+)>", name)[1], test.strip("`"))
        for _, printed, name, test in (row for row in cells if len(row) == 4)
        if name != "In the library"
    ]


ROWS = read_rows(PAGE)
each = pytest.mark.parametrize("row", ROWS, ids=str)


def found(name: str):
    """What a dotted name stands for, and the module that it is in."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        thing = module
        for part in parts[count:]:
            thing = getattr(thing, part)
        return thing, module
    raise ModuleNotFoundError(name)


def citations(printed: str) -> list[tuple[str, str]]:
    """Pairs of a source, such as "Su 2025", and one of the places in it, such as "eq 3.6"."""
    pairs = []
    for part in printed.split("; "):
        source, places = part.split(", ", 1)
        numbers = [("eq", number) for number in re.findall(r"\((\d+(?:\.\d+)?)\)", places)]
        kinds = [(kind, number.rstrip(".")) for kind, number in re.findall(NAMED, places)]
        rest = re.sub(rf"\(\d+(\.\d+)?\)|{NAMED}|and|[ ,]", "", places)
        assert (numbers or kinds) and not rest, f"cannot read {places!r}"
        pairs += [(source, f"{kind} {number}") for kind, number in (*numbers, *kinds)]
    return pairs


def cites(text: str, source: str, place: str) -> bool:
    """Whether a docstring names the place, and the source before it with nothing between."""
    text = " ".join(text.split())
    kind, number = place.split(" ", 1)
    author, year = re.fullmatch(r"(.*?)(?: (\d{4}[a-z]?))?", source).groups()
    before = rf"\b{author}\b[^;()]*" + (rf"\(?{year}\b[^;()]*" if year else "")
    at = r"\beqs?\.[^;()]*" if kind == "eq" else rf"\b{kind} [^;()]*"
    return re.search(rf"{before}{at}(?<![\d.]){re.escape(number)}(?!\.?\d)", text) is not None


def test_the_page_is_in_the_book_and_has_these_parts():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    assert files[files.index("book/notation") + 1] == "book/equations"
    assert PAGE.startswith("# From equations to code\n")
    assert tuple(re.findall(r"^## (.*)$", PAGE, re.M)) == PARTS
    assert all(read_rows(part) for part in PAGE.split("\n## ")[1:])
    assert len(set(map(str, ROWS))) == len(ROWS)


@each
def test_the_name_is_public(row):
    thing, module = found(row.name)
    assert row.name.startswith("diffot.")
    assert not any(part.startswith("_") for part in row.name.split("."))
    assert thing.__module__ == module.__name__, "named where it is only imported"


@each
def test_the_docstring_cites_the_same_equations(row):
    thing, module = found(row.name)
    for source, place in citations(row.printed):
        texts = [thing.__doc__ or "", module.__doc__ or ""]
        assert any(cites(text, source, place) for text in texts), f"{source}, {place}"


@each
def test_the_test_names_it(row):
    path = ROOT / "tests" / row.test
    assert path.name.startswith("test_") and path.exists()
    code = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute)}
    names |= {node.value for node in ast.walk(code) if isinstance(node, ast.Constant)}
    assert row.last in names


def test_equations_of_the_thesis_that_are_cited_are_on_the_page():
    """And the other way round."""
    cited = set()
    for path in sorted((ROOT / "lib" / "diffot").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = " ".join((ast.get_docstring(node) or "").split())
                for clause in re.findall(r"\b[Tt]hesis,? eqs?\. ([\d., and]+)", text):
                    cited |= set(re.findall(r"\d\.\d+", clause))
    listed = {
        place.removeprefix("eq ")
        for row in ROWS
        for source, place in citations(row.printed)
        if source == THESIS and place.startswith("eq ")
    }
    assert cited == listed


@pytest.mark.parametrize(
    ("text", "source", "place", "expected"),
    [
        ("(Ho et al. 2020, eq. 4; thesis eqs. 3.16 and\n 3.17)", "thesis", "eq 3.17", True),
        ("(Ho et al. 2020, eq. 4; thesis eqs. 3.16 and 3.17)", "Ho 2020", "eq 4", True),
        ("(Ho et al. 2020, eq. 4; thesis eqs. 3.16 and 3.17)", "Ho 2020", "eq 3.16", False),
        ("(Ho et al. 2020, eq. 4)", "Ho 2022", "eq 4", False),
        ("(Song et al. 2021a, eq. 14)", "Song 2021b", "eq 14", False),
        ("(Song & Ermon 2019, algorithm 1)", "Song & Ermon 2019", "algorithm 1", True),
        ("(Song et al. 2019, algorithm 1)", "Song & Ermon 2019", "algorithm 1", False),
        ("(Ho et al. 2020, eq. 14)", "Ho 2020", "eq 4", False),
        ("(Su & Yang 2025, eq. 3.16)", "Su 2025", "eq 3.1", False),
        ("(Su & Yang 2025, eq. 13.1)", "Su 2025", "eq 3.1", False),
        ("(Su & Yang 2025, section 4)", "Su 2025", "eq 4", False),
        ("of Kim and Lee (2024, algorithm 2).", "Kim 2024", "algorithm 2", True),
    ],
)
def test_citations_are_told_apart(text, source, place, expected):
    assert cites(text, source, place) is expected


def test_what_is_not_there_is_an_error():
    with pytest.raises(ModuleNotFoundError):
        found("diffus.processes")
    with pytest.raises(AttributeError):
        found("diffot.samplers.ddim.ddam")
    with pytest.raises(AssertionError, match="cannot read"):
        citations("Su 2025, somewhere")
    assert "diffot.samplers.ddim" in sys.modules
