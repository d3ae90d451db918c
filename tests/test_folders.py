import os

import numpy as np
import pytest
import torch
from PIL import Image

from diffot.datasets import cache, folders

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def solid(color, size=(40, 30), mode="RGB") -> Image.Image:
    return Image.new(mode, size, color)


def save(image: Image.Image, path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def plant_bad_files(place) -> None:
    """A JPEG cut in half, a text, an empty file and a link to nowhere; none of them an image."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    save(Image.fromarray(noise), place / "bad_cut.jpg")
    content = (place / "bad_cut.jpg").read_bytes()
    (place / "bad_cut.jpg").write_bytes(content[: len(content) // 2])
    (place / "bad_text.jpg").write_text("<html>404 not found</html>")
    (place / "bad_empty.png").write_bytes(b"")
    (place / "bad_link.png").symlink_to(place / "nowhere.png")


BAD = ["bad_cut.jpg", "bad_empty.png", "bad_link.png", "bad_text.jpg"]


def names(skipped) -> list[str]:
    return sorted(line.split(":")[0] for line in skipped)


def color_of(image: torch.Tensor) -> list[float]:
    return image.float().mean((1, 2)).tolist()


def test_every_kind_of_image_becomes_rgb(tmp_path):
    root = tmp_path / "data"
    halves = solid(RED, (40, 40))
    halves.paste(BLUE, (20, 0, 40, 40))
    turned = halves.getexif()
    turned[0x0112] = 6  # to be turned clockwise: what is left in the file is on top
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([*RED, *GREEN])
    clear = palette.copy()
    clear.paste(1, (0, 0, 20, 20))
    wide = solid(RED, (300, 100))
    wide.paste(GREEN, (100, 0, 200, 100))
    deep = Image.fromarray(np.full((20, 20), 128 * 257, np.uint16))
    save(halves, root / "a_turned.jpg", exif=turned, quality=95)
    save(solid(100, mode="L"), root / "b_gray.png")
    save(solid((0, 255, 255, 0), mode="CMYK"), root / "c_cmyk.jpg")
    save(palette, root / "d_palette.png", transparency=1)
    save(clear, root / "e_clear.png", transparency=1)
    save(solid((0, 0, 255, 0), mode="RGBA"), root / "f_alpha.png")
    save(wide, root / "g_wide.png")
    save(wide.transpose(Image.Transpose.ROTATE_90), root / "h_tall.PNG")
    save(deep, root / "i_deep.png")
    save(solid(BLUE), root / "nested" / "j.webp", lossless=True)
    save(solid(BLUE), root / ".hidden" / "k.png")
    (root / "._l.png").write_bytes(b"resource fork")
    (root / "readme.txt").write_text("not an image")

    data = folders.images(root, 20, folder=tmp_path / "cache")
    assert data.skipped == () and data.pixels.shape == (10, 3, 20, 20)
    top, bottom = data.pixels[0][:, :9], data.pixels[0][:, 11:]
    assert color_of(top) == pytest.approx(RED, abs=4)
    assert color_of(bottom) == pytest.approx(BLUE, abs=4)
    white = [255] * 3
    wanted = [[100] * 3, RED, RED, white, white, GREEN, GREEN, [128] * 3, BLUE]
    for image, color in zip(data.pixels[1:], wanted, strict=True):
        assert color_of(image) == pytest.approx(color, abs=2)


def test_bad_files_are_reported_and_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 3)  # so that the second of three chunks is all bad
    root = tmp_path / "data"
    for k in range(3):
        save(solid((k * 100, 0, 0)), root / f"{'abz'[k]}.png")
    plant_bad_files(root)
    for _ in range(2):  # also when the images come from the cache
        with pytest.warns(UserWarning, match=r"4 of the 7 files .* were left out:\n  bad_cut"):
            data = folders.images(root, 8, folder=tmp_path / "cache")
        assert names(data.skipped) == BAD
        assert data.pixels[:, 0, 4, 4].tolist() == [0, 100, 200]
    save(solid((50, 0, 0)), root / "bad_text.jpg", quality=95)
    with pytest.warns(UserWarning, match="3 of the 7 files"):
        data = folders.images(root, 8, folder=tmp_path / "cache")
    assert data.pixels[:, 0, 4, 4] == pytest.approx(np.array([0, 100, 50, 200]), abs=2)
    for path in root.glob("[abz].png"):
        path.unlink()
    (root / "bad_text.jpg").unlink()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="none of the images"):
        folders.images(root, 8, folder=tmp_path / "cache")


ATTRIBUTES = ["5_o_Clock_Shadow", "Eyeglasses", "Smiling"]


def make_celeba(root) -> None:
    """Five faces: one with half a row, one of a wrong shape; and a row without a face."""
    position = np.zeros((218, 178, 3), np.uint8)
    position[..., 0] = np.arange(178)
    position[..., 1] = np.arange(218)[:, None]
    for k in (1, 2, 3, 5):
        position[..., 2] = 40 * k
        save(Image.fromarray(position), root / f"img_align_celeba/{k:06}.jpg", quality=98)
    save(solid(RED, (178, 200)), root / "img_align_celeba/000004.jpg")
    rows = ["000001.jpg -1  1 -1", "000002.jpg  1 -1  1", "000003.jpg 1 1",
            "000004.jpg  1  1  1", "000005.jpg -1 -1  1", "000006.jpg  1  1  1"]  # fmt: skip
    (root / "list_attr_celeba.txt").write_text(
        "\n".join(["6", " ".join(ATTRIBUTES) + " ", *rows]) + "\n"
    )


def test_celeba_is_cut_as_in_the_thesis_and_labeled(tmp_path):
    make_celeba(tmp_path / "data")
    plant_bad_files(tmp_path / "data" / "img_align_celeba")
    with pytest.warns(UserWarning, match="6 of the 9 files"):
        data = folders.celeba(tmp_path / "data", size=128, folder=tmp_path / "cache")
    unlisted = "no valid row in list_attr_celeba.txt"
    assert names(data.skipped) == ["000003.jpg", "000004.jpg", *BAD]
    assert f"000003.jpg: {unlisted}" in data.skipped
    assert "000004.jpg: 178 x 200 pixels; expected 178 x 218" in data.skipped
    assert data.pixels[:, 2].float().mean((1, 2)) == pytest.approx(np.array([40, 80, 200]), abs=2)
    for row, column in [(0, 0), (127, 127), (0, 127), (64, 3)]:
        across, down = data.pixels[0, :2, row, column].tolist()
        assert (across, down) == pytest.approx((25 + column, 57 + row), abs=4)
    assert {name: labels.tolist() for name, labels in data.labels.items()} == {
        "5_o_Clock_Shadow": [0, 1, 0], "Eyeglasses": [1, 0, 0], "Smiling": [0, 1, 1],
    }  # fmt: skip
    assert data.classes["Smiling"] == ("no", "yes")
    assert data.at([2]).skipped == data.skipped


def test_celeba_at_half_size_keeps_the_frame(tmp_path):
    make_celeba(tmp_path / "data")
    with pytest.warns(UserWarning):
        data = folders.celeba(tmp_path / "data", folder=tmp_path / "cache")
    assert data.pixels.shape[2:] == (64, 64)
    # pixel k of 64 covers pixels 2k and 2k + 1 of the 128
    columns, rows = data.pixels[0, 0].float().mean(0), data.pixels[0, 1].float().mean(1)
    assert columns[8:56] == pytest.approx(25.5 + 2 * np.arange(8, 56), abs=2)
    assert rows[8:56] == pytest.approx(57.5 + 2 * np.arange(8, 56), abs=2)


def test_a_list_of_attributes_that_is_none_is_refused(tmp_path):
    make_celeba(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_text("000001.jpg -1 1 -1\n")
    with pytest.raises(ValueError, match="not CelebA's list of attributes"):
        folders.celeba(tmp_path, folder=tmp_path / "cache")
    (tmp_path / "list_attr_celeba.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"list_attr_celeba.txt is not there. CelebA"):
        folders.celeba(tmp_path, folder=tmp_path / "cache")


@pytest.mark.parametrize("below", [".", "CelebA-HQ-img"])
def test_celeba_hq_is_found_in_both_layouts(tmp_path, below):
    root = tmp_path / "data"
    save(solid(BLUE, (64, 64)), root / below / "0.jpg", quality=95)
    if below != ".":
        save(solid(RED, (64, 64)), root / "CelebA-HQ-mask" / "0.png")
    data = folders.celeba_hq(root, size=16, folder=tmp_path / "cache")
    assert len(data) == 1 and color_of(data.pixels[0]) == pytest.approx(BLUE, abs=3)


def test_afhq_labels_are_the_folders(tmp_path):
    root = tmp_path / "data"
    colors = {"cat": RED, "dog": GREEN, "wild": BLUE}
    for split, count in (("train", 3), ("val", 1)):
        for k, (name, color) in enumerate(colors.items()):
            for number in range(count + k):
                save(solid(color), root / split / name / f"{number}.png")
    plant_bad_files(root / "train" / "dog")
    with pytest.warns(UserWarning, match="dog/bad_cut.jpg"):
        train = folders.afhq(root, size=8, folder=tmp_path / "cache")
    val = folders.afhq(root, "val", size=8, folder=tmp_path / "cache")
    assert train.labels["class"].bincount().tolist() == [3, 4, 5]
    assert val.labels["class"].bincount().tolist() == [1, 2, 3]
    for data in (train, val):
        assert torch.equal(data.pixels.float().mean((2, 3)).argmax(1), data.labels["class"])
        assert data.classes["class"] == ("cat", "dog", "wild")
    with pytest.raises(ValueError, match="unknown split 'valid'; did you mean val"):
        folders.afhq(root, "valid")
    with pytest.raises(FileNotFoundError, match=r"test.cat is not there. AFHQ, from https"):
        folders.afhq(root, "test")


@pytest.mark.parametrize(
    "load, name",
    [
        (folders.celeba, "img_align_celeba/000001.jpg"),
        (folders.celeba_hq, "CelebA-HQ"),
        (folders.afhq, "train/cat"),
        (lambda root: folders.images(root, 8), "names that end in .jpg"),
    ],
)
def test_absent_and_empty_folders_are_explained(tmp_path, load, name):
    with pytest.raises(FileNotFoundError, match=f"absent.* is not there.(.|\n)*{name}"):
        load(tmp_path / "absent")
    for below in ("img_align_celeba", "train/cat"):
        (tmp_path / "empty" / below).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=f"there is no image in .*(.|\n)*{name}"):
        load(tmp_path / "empty")


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "data" / "a.bmp"
    save(solid(RED), path)
    assert color_of(folders.images(path.parent, 8, tmp_path / "cache").pixels[0]) == [255, 0, 0]
    before = path.stat()
    save(solid(BLUE), path)
    # of the same length and date, as a careful copy would be
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert color_of(folders.images(path.parent, 8, tmp_path / "cache").pixels[0]) == [0, 0, 255]
