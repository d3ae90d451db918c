"""Whether the outputs of a notebook were made by the code as it is now.

Each executed notebook carries a hash of its code and of the library modules that it imports,
directly or through other modules, and of the trained models and tables that it names. The hash of
code is of the syntax trees, so that comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from bookkit.paths import NOTEBOOKS, RECORD, TABLES
from diffot.errors import require, unknown_name
from diffot.files import write_whole
from diffot.paths import CHECKPOINTS

LIBRARY = Path(__file__).resolve().parents[1]  # the folder with the packages
PACKAGES = ("diffot", "chapters", "bookkit")
NOTEBOOK = "notebook"  # stands for the notebook's own code among the modules behind it


def notebooks(names: Sequence[str] = ()) -> list[Path]:
    """Paths of the notebooks with these names, or of all.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    for name in names:
        require(name in known, unknown_name("notebook", name, known))
    return [known[name] for name in (names or known)]


def modules(path: Path) -> set[str]:
    """Names of the library modules that a notebook imports, directly or through other modules.

    Imports inside functions count as well, and so do the packages that modules are in.
    """
    return set(_trees(_source(path))) - {NOTEBOOK}


def code_hash(path: Path) -> str:
    """Hash of a notebook's code cells and of all library modules behind them."""
    source = _source(path)
    trees = _trees(source)
    digest = hashlib.sha256()
    for name in sorted(trees):
        digest.update(f"{name}:{_canonical(_without_docstrings(trees[name]))}\n".encode())
    if "diffot.learning.checkpoints" in trees:
        for path in sorted(CHECKPOINTS.glob("*.json")):
            card = json.loads(path.read_text())
            data = card.get("data")
            # a notebook may put a model's name together from that of its data and a suffix
            if path.stem in source or (isinstance(data, str) and data in source):
                digest.update(card["sha256"].encode())
    for path in sorted(TABLES.glob("*.jsonl")):
        if f'"{path.stem}"' in source:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def is_fresh(path: Path) -> bool:
    """Whether the notebook's stamp is that of the present code and every code cell has run."""
    notebook = nbformat.read(path, as_version=4)
    ran = all(c.execution_count for c in notebook.cells if c.cell_type == "code" and c.source)
    return ran and notebook.metadata.get("diffot", {}).get("code") == code_hash(path)


def execute(path: Path) -> float:
    """Run a notebook in its folder and store it with outputs and stamp; returns seconds.

    A notebook that fails keeps its old outputs.
    """
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=3600,
        record_timing=False,
        coalesce_streams=True,  # else how printed text is cut into parts is up to chance
        resources={"metadata": {"path": path.parent}},
    )
    client.execute(env={**os.environ, RECORD: "1"})
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py"},
        "diffot": {"code": code_hash(path)},
    }
    write_whole(path, (nbformat.writes(notebook) + "\n").encode())
    return time.perf_counter() - start


def _plain(source: str) -> str:
    """Python without the lines that only IPython understands."""
    return "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))


def _source(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(_plain(c.source) for c in notebook.cells if c.cell_type == "code")


def _trees(source: str) -> dict[str, ast.Module]:
    """Syntax trees of a notebook's code and of the library modules behind it, by name."""
    trees = {NOTEBOOK: ast.parse(source)}
    waiting = [NOTEBOOK]
    while waiting:
        name = waiting.pop()
        for module in _imported(trees[name], name) - set(trees):
            trees[module] = ast.parse(_module_file(module).read_text(encoding="utf-8"))
            waiting.append(module)
    return trees


def _imported(tree: ast.AST, module: str) -> set[str]:
    """Library modules that the code of a module imports, and the packages that they are in."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module)
            # each name may be a module or something in one
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    names |= {".".join(parts[:k]) for parts in map(_parts, names) for k in range(1, len(parts))}
    return {name for name in names if _parts(name)[0] in PACKAGES and _module_file(name).exists()}


def _parts(name: str) -> list[str]:
    return name.split(".")


def _origin(node: ast.ImportFrom, module: str) -> str:
    """Full name of what ``from ... import`` imports from, in the code of a module."""
    if not node.level:
        return node.module or ""
    up = node.level - (_module_file(module).name == "__init__.py")
    return ".".join([*_parts(module)[: len(_parts(module)) - up], *filter(None, [node.module])])


def _module_file(name: str) -> Path:
    path = LIBRARY.joinpath(*_parts(name))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
            and isinstance(node.body[0].value.value, str)
        ):
            node.body = node.body[1:]
    return tree


def _canonical(node: object) -> str:
    """A tree as text. ``ast.dump`` would do, but its text depends on the version of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, _canonical(value)) for name, value in ast.iter_fields(node)]
        kept = " ".join(f"{name}={text}" for name, text in fields if text not in ("None", "[]"))
        return f"({type(node).__name__} {kept})"
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    return repr(node)
