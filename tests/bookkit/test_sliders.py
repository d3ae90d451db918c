"""Sliders over frames: the file, the HTML, and what is refused."""

import base64
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from bookkit import sliders
from bookkit.sliders import Slider, frame_slider

SHIFT = Slider("shift", range(-1, 2), "standard deviations", start=0)
BOX = Slider("box", ["eyes", "mouth & hair"])


class Beside:
    """A run that writes to a folder; with ``committed`` it is that of ``make run``."""

    name = "N1"

    def __init__(self, folder, committed=False):
        self.folder, self.committed = folder, committed

    def save(self, path, content):
        if not self.committed:
            path = self.folder / f"{path.stem}.fast.seed1{path.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class Nowhere(Beside):
    """A run whose folder cannot be written to."""

    def save(self, path, content):
        return None


@pytest.fixture
def run(tmp_path):
    return Beside(tmp_path)


def colored(n, height=4, width=6):
    """Frames of noise, each different, so that nothing about them can be guessed."""
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(n)]


def page_of(*made):
    return BeautifulSoup("".join(slider._repr_html_() for slider in made), "html.parser")


def shown(made, row, column):
    """What the window shows of the sheet, by the numbers in the style of the image."""
    image = page_of(made).img["style"]
    window = page_of(made).find(class_="frame-window")["style"]
    width, height = map(int, re.search(r"aspect-ratio: (\d+) / (\d+)", window).groups())
    sheet = np.asarray(Image.open(made.path))
    terms = re.findall(r"var\(--(\w+)\) \* (\d+) \+ (\d+)\) / (\d+)", image)
    place = {}
    for (name, step, edge, whole), size, k in zip(terms, sheet.shape[1::-1], (column, row)):
        assert int(whole) == size
        place[name] = k * int(step) + int(edge)
    percent = float(re.search(r"[ ;]width: ([\d.]+)%", image).group(1))
    assert percent == pytest.approx(100 * sheet.shape[1] / width, rel=1e-5)
    x, y = place["column"], place["row"]
    return sheet[y : y + height, x : x + width]


@pytest.mark.parametrize("counts", [(3,), (7,), (3, 2)])
def test_each_position_shows_its_frame_unharmed(run, counts):
    frames = colored(math.prod(counts))
    controls = [Slider("number", range(n)) for n in counts]
    made = frame_slider(run, "noise", frames, *controls, alt="Noise")
    columns = int(page_of(made).find(class_="frame-slider")["data-columns"])
    for k, frame in enumerate(frames):
        assert (shown(made, *divmod(k, columns)) == frame).all()


def test_what_is_seen_before_the_first_move(run):
    """Without a script too: the frame, the position and the text of the starting values."""
    frames = colored(6)
    made = frame_slider(run, "s", frames, SHIFT, BOX, alt="Noise")
    page = page_of(made)
    place = {k: int(v) for k, v in re.findall(r"--(\w+): (\d+)", page.img["style"])}
    assert (shown(made, place["row"], place["column"]) == frames[2]).all()  # (0, "eyes")
    (control,) = page.find_all("input", type="range")
    assert control["value"] == "1" and control["aria-valuetext"] == "0 standard deviations"
    (span,) = page.find_all(class_="frame-value")
    assert span.text == control["aria-valuetext"]
    (chosen,) = [i for i in page.find_all("input", type="radio") if i.has_attr("checked")]
    assert chosen.parent.text.strip() == "eyes"


def test_texts_beside_another_slider_are_radio_buttons(run):
    page = page_of(frame_slider(run, "s", colored(6), SHIFT, BOX, alt="Noise"))
    choice = page.fieldset
    assert choice.legend.text == "box"
    buttons = choice.find_all("input", type="radio")
    assert [b.parent.text.strip() for b in buttons] == ["eyes", "mouth & hair"]
    assert [b["value"] for b in buttons] == ["0", "1"] and len({b["name"] for b in buttons}) == 1
    alone = page_of(frame_slider(run, "t", colored(2), BOX, alt="Noise"))
    assert alone.fieldset is None and len(alone.find_all("input", type="range")) == 1


def test_two_sliders_on_a_page_do_not_share_anything(run):
    page = page_of(
        frame_slider(run, "one", colored(6), SHIFT, BOX, alt='A "face" & more'),
        frame_slider(run, "two", colored(3), SHIFT, alt="Another"),
    )
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids)) == 2 + 2 * 2
    controls = page.find_all("input", type="range")
    for control, label in zip(controls, ["shift", "shift"], strict=True):
        (found,) = page.find_all("label", attrs={"for": control["id"]})
        assert found.text == label
        options = page.find(id=control["list"]).find_all("option")
        assert control["min"] == "0" and control["max"] == str(len(options) - 1)
    values = [o["label"] for o in page.find(id=controls[0]["list"]).find_all("option")]
    assert values == [f"{v} standard deviations" for v in ("−1", "0", "1")]
    assert [image["alt"] for image in page.find_all("img")] == ['A "face" & more', "Another"]


def test_the_same_frames_give_the_same_bytes(tmp_path):
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        figure, ax = plt.subplots(figsize=(1, 1), dpi=50)
        ax.plot([0, 1], [1, 0])
        made.append(frame_slider(Beside(folder), "s", [figure] * 3, SHIFT, alt="A line"))
        assert not plt.get_fignums()  # else the notebook would show it a second time
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    assert made[0].html == made[1].html and repr(made[0]) == repr(made[1])
    assert str(tmp_path) not in made[0].html + repr(made[0])


def test_where_the_frames_lie(tmp_path, monkeypatch):
    """The source of the image is seen from the notebook."""
    monkeypatch.setattr(sliders, "FRAMES", tmp_path / "notebooks" / "frames")
    official = frame_slider(Beside(tmp_path, True), "s", colored(3), SHIFT, alt="Noise")
    assert official.path == tmp_path / "notebooks" / "frames" / "N1-s.webp"
    other = frame_slider(Beside(tmp_path), "s", colored(3), SHIFT, alt="Noise")
    assert other.path == tmp_path / "N1-s.fast.seed1.webp"
    sources = [page_of(made).img["src"] for made in (official, other)]
    assert sources == ["frames/N1-s.webp", "N1-s.fast.seed1.webp"]
    assert other.path.read_bytes() == official.path.read_bytes()


def test_rounding_on_another_processor_does_not_replace_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sliders, "FRAMES", tmp_path)
    run = Beside(tmp_path, committed=True)
    frames = colored(3)
    frames[1][0, 0] = 100
    before = frame_slider(run, "s", frames, SHIFT, alt="Noise").path.read_bytes()
    for value, same in [(101, True), (102, False)]:
        frames[1][0, 0] = value
        made = frame_slider(run, "s", frames, SHIFT, alt="Noise")
        assert (made.path.read_bytes() == before) == same
    made.path.write_bytes(b"damaged")
    frame_slider(run, "s", frames, SHIFT, alt="Noise")
    assert (shown(made, 0, 1) == frames[1]).all()


def test_where_no_file_can_be_written_the_page_holds_the_frames(run):
    kept = frame_slider(run, "s", colored(3), SHIFT, alt="Noise")
    made = frame_slider(Nowhere(run.folder), "s", colored(3), SHIFT, alt="Noise")
    before, data = page_of(made).img["src"].split(",")
    assert made.path is None and before == "data:image/webp;base64"
    assert base64.b64decode(data) == kept.path.read_bytes()


def test_tensors_are_clipped_and_drawn_in_rows(run):
    x = torch.full((3, 2, 3, 4, 4), -1.0)
    x[:, 1], x[1, 0] = 0.5, 3.0
    made = frame_slider(run, "s", x, SHIFT, alt="Squares")
    left, right = np.split(shown(made, 0, 1), 2, axis=1)  # frame 1 of three
    assert (left == 255).all() and (right == round(1.5 * 127.5)).all()
    gray = frame_slider(run, "gray", x[:, 0, :1], SHIFT, alt="Squares")
    assert (shown(gray, 0, 0) == 0).all() and (shown(gray, 0, 1) == 255).all()


def test_small_frames_are_enlarged_without_smoothing(run):
    def widths(height, width, **more):
        frames = [np.zeros((height, width, 3), np.uint8)] * 3
        page = page_of(frame_slider(run, "s", frames, SHIFT, alt="Noise", **more))
        style = page.find(class_="frame-window")["style"]
        return re.search(r"width: (\d+)px", style).group(1), "pixelated" in page.img["style"]

    assert widths(32, 32) == ("256", True)
    assert widths(32, 128) == ("640", True)
    assert widths(300, 400) == ("400", False)
    assert widths(32, 32, zoom=3) == ("96", True)


def test_what_does_not_fit_is_refused_and_nothing_is_written(run, monkeypatch):
    frames = colored(6)

    def refused(message, frames=frames, *controls, name="s", alt="Noise", zoom=None):
        with pytest.raises((TypeError, ValueError), match=message):
            frame_slider(run, name, frames, *(controls or (SHIFT, BOX)), alt=alt, zoom=zoom)

    refused("has 5 frames, and its sliders 3 x 2 values; expected 6 frames$", frames[:5])
    refused(r"has 3 frames.*in one row, as by tensor.flatten\(0, 1\)", torch.zeros(3, 2, 3, 4, 4))
    refused("sizes 4 x 6, 6 x 4; expected one size", [frames[0].swapaxes(0, 1), *frames[1:]])
    refused("a frame is a ndarray of float64 and shape", [f / 255 for f in frames])
    refused("values that are NaN", torch.full((6, 3, 4, 4), float("nan")))
    refused("no description", alt=" ")
    refused("named 'a b'; expected a letter", name="a b")
    refused("3 sliders; expected one or two", frames, SHIFT, BOX, BOX)
    refused("one of the sliders is 'shift', of type str; expected a Slider", frames, "shift", BOX)
    refused("frames is None; expected a sequence of images", None)
    refused("name is None; expected a text", name=None)
    refused("alt is None; expected what the images show", alt=None)
    refused("zoom is 0; expected a whole number of at least 1", zoom=0)
    monkeypatch.setattr(sliders, "BUDGET", 20_000)
    noise = colored(6, 40, 40)  # 29 kB, which no coding makes smaller
    refused(r"of s take (29|3\d) kB, and a slider may have 20 kB; take fewer or smaller", noise)
    monkeypatch.setattr(sliders, "LONGEST_SIDE", 17)
    refused("fill 16 x 18 pixels, and at most 17")
    assert not list(run.folder.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start": 5}, "start at 5; expected one of its values, -1, 0, 1"),
        ({"values": [1]}, "has 1 values; expected at least two"),
        ({"values": [1, math.nan]}, "one of the values of slider 'shift' is nan"),
        ({"values": [1, None]}, "one of the values of slider 'shift' is None"),
        ({"values": 3}, "values is 3"),
        ({"values": [1.0, 1.0000001]}, "has values that look the same: 1, 1"),
        ({"label": " "}, "has no label"),
        ({"label": None}, "label is None"),
        ({"unit": None}, "unit is None"),
    ],
)
def test_what_is_no_slider_is_refused(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Slider(**{"label": "shift", "values": [-1, 0, 1], **wrong})
