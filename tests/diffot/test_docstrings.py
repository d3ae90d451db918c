"""Every public name of the library says what it is, and has a page in the book."""

import importlib
import inspect

import pytest
from sphinx_external_toc.parsing import parse_toc_yaml

from diffot.paths import ROOT

LIBRARY = ROOT / "lib" / "diffot"
MODULES = [
    ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)
    for path in sorted(LIBRARY.rglob("[!_]*.py"))
]


def public_names(module):
    """Functions and classes defined in a module, and the methods of these classes."""
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if name.startswith("_") or not own:
            continue
        if inspect.isclass(value):
            yield name, value
            for method, content in vars(value).items():
                callable_or_property = inspect.isroutine(content) or isinstance(content, property)
                if not method.startswith("_") and callable_or_property:
                    yield f"{name}.{method}", getattr(value, method)
        elif inspect.isfunction(value):
            yield name, value


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert [name for name, value in public_names(module) if not inspect.getdoc(value)] == []


def test_every_room_has_a_page():
    rooms = [path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()]
    pages = set(parse_toc_yaml(ROOT / "_toc.yml"))
    for room in rooms:
        assert f"book/library/{room}" in pages
        text = (ROOT / "book" / "library" / f"{room}.md").read_text(encoding="utf-8")
        assert "<!-- modules -->" in text
