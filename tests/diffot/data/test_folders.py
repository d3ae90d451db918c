import errno
import os
import socket

import joblib
import numpy as np
import pytest
import torch
from PIL import Image

from diffot.data import cache, folders

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

    with pytest.warns(UserWarning, match="readme.txt: its name does not end as"):
        data = folders.images(root, 20, folder=tmp_path / "cache")
    assert names(data.skipped) == ["readme.txt"] and data.pixels.shape == (10, 3, 20, 20)
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
        with pytest.warns(UserWarning, match=r"3 images .* and 4 files .* left out:\n  bad_cut"):
            data = folders.images(root, 8, folder=tmp_path / "cache")
        assert names(data.skipped) == BAD
        assert data.pixels[:, 0, 4, 4].tolist() == [0, 100, 200]
    save(solid((50, 0, 0)), root / "bad_text.jpg", quality=95)
    with pytest.warns(UserWarning, match="4 images .* and 3 files"):
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
    with pytest.warns(UserWarning, match="3 images .* and 6 files"):
        data = folders.celeba(tmp_path / "data", size=128, folder=tmp_path / "cache")
    unlisted = "its row in list_attr_celeba.txt has 2 of 3 values"
    assert names(data.skipped) == ["000003.jpg", "000004.jpg", *BAD]
    assert f"000003.jpg: {unlisted}" in data.skipped
    assert any(line.startswith("000004.jpg: 178 x 200 pixels; ") for line in data.skipped)
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
    with pytest.raises(FileNotFoundError, match=r"test is not there. AFHQ, from https"):
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


# --- What is read, and what is not ------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tif", "TIFF", "gif", "jfif", "jpe", "ppm", "jp2", "avif"])
def test_other_suffixes_are_read(tmp_path, suffix):
    kind = {"jfif": "JPEG", "jpe": "JPEG", "jp2": "JPEG2000"}.get(suffix)
    save(solid(BLUE, (64, 64)), tmp_path / "data" / f"a.{suffix}", format=kind)
    data = folders.images(tmp_path / "data", 8, tmp_path / "cache")
    assert data.skipped == () and color_of(data.pixels[0]) == pytest.approx(BLUE, abs=3)


def test_the_first_frame_is_read_and_depths_are_scaled_or_refused(tmp_path):
    root = tmp_path / "data"
    save(solid(RED), root / "a.gif", save_all=True, append_images=[solid(BLUE)])
    (root / "b.pgm").write_bytes(b"P5 2 2 65535\n" + b"\x80\x80" * 4)
    save(Image.fromarray(np.full((9, 9), 0.5, np.float32)), root / "c.tif")
    save(Image.fromarray(np.full((9, 9), 70_000, np.int32)), root / "d.tif")
    with pytest.warns(UserWarning, match="c.tif: its values have no known range"):
        data = folders.images(root, 8, tmp_path / "cache")
    assert names(data.skipped) == ["c.tif", "d.tif"]
    assert color_of(data.pixels[0]) == [255, 0, 0]
    assert color_of(data.pixels[1]) == [128, 128, 128]


def test_what_is_no_regular_file_is_named_and_not_opened(tmp_path, monkeypatch):
    root = tmp_path / "data"
    save(solid(RED), root / "a.png")
    os.mkfifo(root / "b.jpg")
    monkeypatch.chdir(root)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("c.jpg")
        (root / "d.jpg").symlink_to("/dev/zero")
        (root / "e.jpg").symlink_to("e.jpg")
        with pytest.warns(UserWarning, match="1 images .* and 4 files"):
            data = folders.images(root, 8, tmp_path / "cache")
    special = [f"{name}.jpg: not a regular file" for name in "bcd"]
    assert list(data.skipped[:3]) == special and data.skipped[3].startswith("e.jpg: ")


def test_links_to_folders_are_followed_once(tmp_path):
    root, outside = tmp_path / "data", tmp_path / "outside"
    save(solid(RED), root / "b" / "1.png")
    save(solid(GREEN), outside / "2.png")
    (outside / "back").symlink_to(root)
    (root / "a").symlink_to(root / "b")  # found first, but the folder itself goes first
    (root / "b" / "up").symlink_to(root)
    (root / "c").symlink_to(outside)
    with pytest.warns(UserWarning, match="2 images .* and 3 files or folders"):
        data = folders.images(root, 8, tmp_path / "cache")
    assert [color_of(image) for image in data.pixels] == [[255, 0, 0], [0, 255, 0]]
    assert names(data.skipped) == ["a", "b/up", "c/back"]
    assert all("is read already" in line for line in data.skipped)


def test_folders_that_link_to_each_other_do_not_multiply(tmp_path):
    root = tmp_path / "data"
    for k in range(12):
        save(solid(RED), root / f"{k}" / "image.png")
        for other in range(12):
            (root / f"{k}" / f"to{other}").symlink_to(root / f"{other}")
    with pytest.warns(UserWarning, match="12 images .* and 144 files or folders"):
        folders.images(root, 8, tmp_path / "cache")


def failing(function, match, error):
    """A function that fails for paths of this name."""

    def fail(path, *arguments, **options):
        if match in str(path):
            raise error
        return function(path, *arguments, **options)

    return fail


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    root = tmp_path / "data"
    save(solid(RED), root / "open" / "1.png")
    save(solid(RED), root / "locked" / "2.png")
    denied = PermissionError(errno.EACCES, "Permission denied")
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.iterdir", failing(type(root).iterdir, "locked", denied))
        with pytest.warns(UserWarning, match="locked: Permission denied"):
            assert len(folders.images(root, 8, tmp_path / "cache")) == 1
        with pytest.raises(FileNotFoundError, match=r"no image in .*(.|\n)*: Permission denied"):
            folders.images(root / "locked", 8, tmp_path / "cache")
    assert len(folders.images(root, 8, tmp_path / "cache")) == 2


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), MemoryError(), OSError("truncated")]
)
def test_a_failed_read_is_tried_again(tmp_path, monkeypatch, error):
    monkeypatch.setattr(cache, "CHUNK", 2)
    root, opened = tmp_path / "data", []
    for k in range(4):
        save(solid((k * 60, 0, 0)), root / f"{k}.png")
    good = Image.open

    def counted(path, **options):
        opened.append(path.name)
        return good(path, **options)

    def load() -> list[int]:
        with joblib.parallel_config("sequential"):  # other processes would not see the failure
            return folders.images(root, 8, tmp_path / "cache").pixels[:, 0, 0, 0].tolist()

    with monkeypatch.context() as patched, pytest.warns(UserWarning, match="1.png: "):
        patched.setattr(Image, "open", failing(good, "1.png", error))
        assert load() == [0, 120, 180]
        assert load() == [0, 120, 180]
    monkeypatch.setattr(Image, "open", counted)
    assert load() == [0, 60, 120, 180]
    assert load() == [0, 60, 120, 180]
    assert sorted(opened) == ["0.png", "1.png", "1.png"]


@pytest.mark.parametrize(
    "where", ["celeba.zip", "celeba/images.ZIP", "celeba/img_align_celeba.7z"]
)
def test_an_archive_is_to_be_unpacked(tmp_path, where):
    (tmp_path / "celeba").mkdir()
    (tmp_path / where).write_bytes(b"")
    name = where.split("/")[-1]
    with pytest.raises(FileNotFoundError, match=f"is not there. Unpack {name} first. CelebA"):
        folders.celeba(tmp_path / "celeba")
    with pytest.raises(FileNotFoundError, match=f"is no image in .* Unpack {name} first."):
        folders.images(tmp_path / "celeba", 8)
    save(solid(RED), tmp_path / "celeba" / "a.png")
    if "/" in where:
        with pytest.warns(UserWarning, match=f"{name}: an archive; unpack it"):
            folders.images(tmp_path / "celeba", 8, tmp_path / "cache")


# --- CelebA's list, and copies of it ----------------------------------------------------------

LINES = ["3", "Eyeglasses Smiling", "000001.jpg -1  1", "000002.jpg  1 -1", "000003.jpg -1 -1"]
EYEGLASSES, SMILING = [0, 1, 0], [1, 0, 0]


def with_zeros(text: str) -> str:
    return text.replace("-1", "0")


def with_commas(text: str) -> str:
    names, *rows = [",".join(line.split()) for line in text.splitlines()[1:]]
    return "\n".join(["image_id," + names, *rows])


def labeled(root, content: bytes, name="list_attr_celeba.txt") -> dict[str, list[int]]:
    """The labels that are read of three faces with this list."""
    for k in range(1, 4):
        save(solid(RED, (178, 218)), root / f"img_align_celeba/{k:06}.jpg")
    (root / name).write_bytes(content)
    data = folders.celeba(root, 8, root / "cache")
    return {label: values.tolist() for label, values in data.labels.items()}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", [str, with_zeros, with_commas])
def test_lists_come_in_many_forms(tmp_path, form, encoding, newline):
    text = form("\n".join([*LINES, ""])).replace("\n", newline)
    name = f"list_attr_celeba.{'csv' if form is with_commas else 'txt'}"
    found = labeled(tmp_path, text.encode(encoding), name)
    assert found == {"Eyeglasses": EYEGLASSES, "Smiling": SMILING}


@pytest.mark.parametrize(
    "content, says",
    [
        ("\n".join([*LINES[:3], "000002.jpg 1 0"]), "0 in the row of 000002.jpg and -1 in that"),
        ("\n".join(["1", "Smiling Smiling", *LINES[2:]]), "all different"),
        ("image_id,\n000001.jpg,1", "a name for each"),
        ("\n".join([*LINES[:2], "000001.jpg 1 2"]), "000001.jpg: its row .* the value '2'"),
        ("\n".join([*LINES[:2], "000004.jpg 1 1"]), "000001.jpg: not in the list"),
        ("", "not CelebA's list"),
        (b"\xff\xfe\x00", "no text in UTF-8 or UTF-16"),
        ("\n".join(LINES).encode("utf-16-le"), "UTF-16 with a mark"),
    ],
)
def test_lists_that_say_nothing_certain_are_refused(tmp_path, content, says):
    content = content if isinstance(content, bytes) else content.encode()
    with pytest.raises(ValueError, match=f"(.|\n)*{says}"):
        labeled(tmp_path, content)


def test_rows_that_say_nothing_certain_are_left_out(tmp_path):
    content = "\n".join([*LINES, "000003.jpg -1 1"]).encode()
    with pytest.warns(UserWarning, match="000003.jpg: list_attr_celeba.txt has different rows"):
        assert labeled(tmp_path, content)["Smiling"] == [1, 0]


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_celeba_of_other_sizes_shows_the_same_square(tmp_path, scale):
    """Colors say where a pixel lies in the distribution's image of 178 x 218."""
    width, height = round(178 * scale), round(218 * scale)
    position = np.zeros((height, width, 3), np.uint8)
    position[..., 0] = np.rint((np.arange(width) + 0.5) / scale)
    position[..., 1] = np.rint((np.arange(height) + 0.5) / scale)[:, None]
    names = [f"img_align_celeba/00000{k}.png" for k in (1, 2)]
    save(Image.fromarray(position), tmp_path / names[0])
    save(solid(RED, (width, height + 2)), tmp_path / names[1])
    rows = "".join(f"00000{k}.png 1\n" for k in (1, 2))
    (tmp_path / "list_attr_celeba.txt").write_text(f"2\nSmiling\n{rows}")
    with pytest.warns(UserWarning, match=f"000002.png: {width} x {height + 2} pixels; expected"):
        data = folders.celeba(tmp_path, 32, tmp_path / "cache")
    middles = 4 * np.arange(2, 30) + 2  # of pixels of 4 x 4 in the square of 128 x 128
    within = 0.5 / scale + 1  # the square begins at a whole pixel; colors are rounded twice
    columns, rows = data.pixels[0, 0].float().mean(0), data.pixels[0, 1].float().mean(1)
    assert columns[2:30] == pytest.approx(25 + middles, abs=within)
    assert rows[2:30] == pytest.approx(57 + middles, abs=within)


def test_the_square_of_celeba_itself_is_cut_exactly(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    save(Image.fromarray(pixels), tmp_path / "img_align_celeba/000001.png")
    (tmp_path / "list_attr_celeba.txt").write_text("1\nSmiling\n000001.png 1\n")
    data = folders.celeba(tmp_path, 128, tmp_path / "cache")
    square = pixels[57 : 57 + 128, 25 : 25 + 128].transpose(2, 0, 1)
    assert np.array_equal(data.pixels[0].numpy(), square)


def test_classes_of_afhq_keep_their_numbers_when_some_are_missing(tmp_path):
    save(solid(BLUE), tmp_path / "train" / "wild" / "1.png")
    save(solid(RED), tmp_path / "train" / "cat" / "1.png")
    save(solid(RED), tmp_path / "train" / "fox" / "1.png")
    (tmp_path / "train" / "dog").mkdir()
    with pytest.warns(UserWarning) as caught:
        data = folders.afhq(tmp_path, size=8, folder=tmp_path / "cache")
    assert any("has no images of dog" in str(warning.message) for warning in caught)
    assert data.labels["class"].tolist() == [0, 2] and data.classes["class"][2] == "wild"
    assert data.skipped == ("fox/1.png: not in a folder named cat, dog, wild",)
    save(solid(RED), tmp_path / "val" / "fox" / "1.png")
    with pytest.raises(FileNotFoundError, match=r"no image of a class in .*val"):
        folders.afhq(tmp_path, "val")
