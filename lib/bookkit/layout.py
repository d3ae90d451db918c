"""The table of modules in CONTRIBUTING, made from the modules themselves."""

from __future__ import annotations

import ast
from pathlib import Path

from bookkit.freshness import LIBRARY, PACKAGES
from diffot.errors import require
from diffot.files import write_whole
from diffot.paths import ROOT

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
START, END = "<!-- modules: made by `make table` -->", "<!-- end of modules -->"


def table() -> str:
    """One row for each module: what its description begins with, and its public names."""
    rows = ["| module | responsibility | public names |", "|---|---|---|"]
    for package in PACKAGES:
        for path in sorted((LIBRARY / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            description = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
            description = description.replace("|", "\\|")
            parts = path.relative_to(LIBRARY).with_suffix("").parts
            if path.name == "__init__.py":
                rows.append(f"| **`{'.'.join(parts[:-1])}`** | *{description}* | |")
                continue
            names = ", ".join(f"`{name}`" for name in _public(tree))
            rows.append(f"| `{'.'.join(parts)}` | {description} | {names} |")
    return "\n".join(rows)


def is_current(path: Path = CONTRIBUTING) -> bool:
    """Whether the table in the file is that of the present modules."""
    return _parts(path)[1].strip() == table()


def update(path: Path = CONTRIBUTING) -> None:
    """Put the present table into the file."""
    before, _, after = _parts(path)
    write_whole(path, f"{before}{START}\n{table()}\n{END}{after}".encode())


def _parts(path: Path) -> tuple[str, str, str]:
    """The text before, in and after the table."""
    text = path.read_text(encoding="utf-8")
    require(
        text.count(START) == text.count(END) == 1,
        f"{path} lacks the lines {START!r} and {END!r} around the table of modules",
    )
    before, rest = text.split(START)
    inside, after = rest.split(END)
    return before, inside, after


def _public(tree: ast.Module) -> list[str]:
    """Functions and classes of a module that are for others to use."""
    kinds = ast.FunctionDef | ast.ClassDef
    # a function with several signatures is there several times
    names = dict.fromkeys(node.name for node in tree.body if isinstance(node, kinds))
    return [name for name in names if not name.startswith("_") and name != "main"]
