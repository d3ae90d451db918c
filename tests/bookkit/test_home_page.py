"""What the home page is made of."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

from bookkit.paths import NOTEBOOKS
from diffot.paths import ROOT

SPEC = importlib.util.spec_from_file_location("home_page", ROOT / "book" / "_ext" / "home.py")
home = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = home
SPEC.loader.exec_module(home)


def test_every_part_with_notebooks_has_a_card():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    page = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    for part in contents["parts"]:
        if any(chapter["file"].startswith("notebooks/") for chapter in part["chapters"]):
            assert f"{{part}} {part['caption']}\n" in page


def test_a_chapter_has_its_title_and_minutes():
    item = BeautifulSoup(home._entry("notebooks/S1_samplers"), "html.parser")
    cells = home._cells(NOTEBOOKS / "S1_samplers.ipynb")
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    assert item.a["href"] == "../notebooks/S1_samplers.html"
    assert f"# {item.a.text}" == cells[0].source.splitlines()[0]
    assert item.span.text == f"{round(words / 200)} min"


@pytest.mark.parametrize("label", ["fig-l1-maps", "fig-f3-paths"])
def test_the_picture_of_a_card_is_a_small_figure(label, tmp_path):
    picture = home._picture(label)
    (tmp_path / picture.file).write_bytes(picture.content)
    assert len(picture.alt) > 40
    if picture.file.endswith("png"):
        assert max(Image.open(tmp_path / picture.file).size) == home.WIDTH
    else:
        assert b"<svg" in picture.content


def test_an_unknown_figure_is_named():
    with pytest.raises(ValueError, match="no notebook has a figure 'fig-none'"):
        home._picture("fig-none")


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        ({"value": 0.99, "uncertainty": 0.007}, "99.0 ± 0.7"),
        ({"value": 0.158, "uncertainty": None}, "15.8"),
    ],
)
def test_a_share_in_percent(claim, shown):
    assert home.PercentRole().shown(claim).replace("\u00a0", " ") == shown


def test_an_unknown_claim_is_an_error_of_the_page():
    role = home.ClaimRole()
    role.text = "V1.none"
    said = []
    role.inliner = SimpleNamespace(reporter=SimpleNamespace(error=said.append))
    shown, _ = role.run()
    assert shown == [] and said == ["there is no claim 'V1.none'"]
