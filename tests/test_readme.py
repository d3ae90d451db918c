"""What the README shows works, and the science needs nothing of the book's machinery."""

import re
import subprocess
import sys

from diffot.paths import ROOT

# Whoever uses the science alone need not have these.
FOR_THE_BOOK = ("IPython", "jupyter_book", "nbformat", "nbclient", "papermill", "myst_nb",
                "matplotlib", "seaborn", "diffusers", "bookkit", "chapters")  # fmt: skip
WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Without())
"""


def run_without_the_book(code):
    code = WITHOUT.format(names=FOR_THE_BOOK) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_example_runs_without_the_book():
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = run_without_the_book(f"{example}\nprint(tuple(x.shape), bool(x.isfinite().all()))")
    assert done.stdout == "(4000, 2) True\n", done.stderr


def test_every_module_of_the_science_is_imported_without_the_book():
    folder = ROOT / "lib"
    names = [
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in sorted((folder / "diffot").rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py")
    ]
    done = run_without_the_book("".join(f"import {name}\n" for name in names))
    assert len(names) > 40 and done.returncode == 0, done.stderr


def test_what_the_book_needs_is_missing_there():
    assert "matplotlib is not installed here" in run_without_the_book("import matplotlib").stderr
