"""Real image data sets, from folders as they unpack from their distributions.

Whatever cannot be read is reported by name and left out; gray, CMYK, palette and transparent
images are converted to RGB. Decoded images are kept, and read again only if a file has changed.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from diffot.datasets import cache
from diffot.datasets.images import LabeledImages
from diffot.errors import require, unknown_name
from diffot.paths import CACHE

# To be raised with every change below that changes a pixel.
RECIPE = 1
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
AFHQ_CLASSES = ("cat", "dog", "wild")
AFHQ_SPLITS = ("train", "val", "test")

# CelebA's aligned images, and the square around the face that the thesis cuts out of them.
_CELEBA_SIZE = (178, 218)
_CELEBA_TOP, _CELEBA_LEFT, _CELEBA_WIDTH = 57, 25, 128

_CELEBA = """\
CelebA, aligned and cropped, from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, is expected
as it unpacks, in any folder, whose path is to be given:
  {root}/img_align_celeba/000001.jpg, 000002.jpg, ...
  {root}/list_attr_celeba.txt"""
_CELEBA_HQ = """\
CelebA-HQ, made with https://github.com/tkarras/progressive_growing_of_gans or taken from
https://github.com/switchablenorms/CelebAMask-HQ, is expected in any folder, whose path is to be
given:
  {root}/*.jpg or *.png, or {root}/CelebA-HQ-img/*.jpg"""
_AFHQ = """\
AFHQ, from https://github.com/clovaai/stargan-v2, is expected as it unpacks, in any folder, whose
path is to be given:
  {root}/train/cat/*.jpg or *.png, {root}/train/dog/..., {root}/train/wild/...
  and the same under {root}/val or {root}/test"""
_IMAGES = """\
A folder of images is expected, nested or not, with names that end in {suffixes}."""


@dataclass(frozen=True, eq=False, repr=False)
class FolderImages(LabeledImages):
    """Images from files.

    ``skipped`` has a line for each file that was left out: its name and why.
    """

    skipped: tuple[str, ...] = ()


def celeba(root: str | Path, size: int = 64, folder: Path = CACHE) -> FolderImages:
    """CelebA, aligned, with its 40 attributes as binary labels (Liu et al. 2015).

    A square of 128 x 128 pixels around the face, 57 from the top and 25 from the left, is cut out
    and resized, as in the thesis (section 4.2).

    Args:
        root: the folder with ``img_align_celeba`` and ``list_attr_celeba.txt``.
        size: width and height in pixels; the thesis has 64.
        folder: where the decoded images are kept.

    Raises:
        FileNotFoundError: if the data set is not there, saying how it should look.
        ValueError: if the list of attributes is not one, or no image can be read.
    """
    root = Path(root).expanduser()
    expected = _CELEBA.format(root=root)
    place, listing = root / "img_align_celeba", root / "list_attr_celeba.txt"
    paths = _image_files(place, expected)
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} is not there. {expected}")
    names, rows = _celeba_attributes(listing)
    listed = [path for path in paths if path.name in rows]
    unlisted = [f"{p.name}: no valid row in {listing.name}" for p in paths if p.name not in rows]
    require(len(listed) > 0, f"{listing} has no valid row for any image of {place}. {expected}")
    values = np.array([rows[path.name] for path in listed], np.int64)
    labels = {name: values[:, k] for k, name in enumerate(names)}
    classes = dict.fromkeys(names, ("no", "yes"))
    return _load("celeba", place, listed, labels, classes, size, _celeba_face, folder, unlisted)


def celeba_hq(root: str | Path, size: int = 256, folder: Path = CACHE) -> FolderImages:
    """CelebA-HQ, without labels (Karras et al. 2018).

    Args:
        root: the folder with the images, or with ``CelebA-HQ-img``.
        size: width and height in pixels; the thesis has 256.
        folder: where the decoded images are kept.

    Raises:
        FileNotFoundError: if the data set is not there, saying how it should look.
        ValueError: if no image can be read.
    """
    root = Path(root).expanduser()
    place = root / "CelebA-HQ-img" if (root / "CelebA-HQ-img").is_dir() else root
    paths = _image_files(place, _CELEBA_HQ.format(root=root))
    return _load("celeba-hq", place, paths, {}, {}, size, _middle, folder)


def afhq(
    root: str | Path, split: str = "train", size: int = 256, folder: Path = CACHE
) -> FolderImages:
    """Animal Faces-HQ with the label class: cat, dog, wild (Choi et al. 2020).

    Args:
        root: the folder with ``train`` and ``val`` or ``test``.
        split: which of these.
        size: width and height in pixels; the thesis has 256.
        folder: where the decoded images are kept.

    Raises:
        FileNotFoundError: if the data set is not there, saying how it should look.
        ValueError: for an unknown split, or if no image can be read.
    """
    require(split in AFHQ_SPLITS, unknown_name("split", split, AFHQ_SPLITS))
    root = Path(root).expanduser()
    expected = _AFHQ.format(root=root)
    by_class = [_image_files(root / split / name, expected) for name in AFHQ_CLASSES]
    paths = [path for group in by_class for path in group]
    labels = {"class": np.repeat(np.arange(3), [len(group) for group in by_class])}
    classes = {"class": AFHQ_CLASSES}
    name = f"afhq-{split}"
    return _load(name, root / split, paths, labels, classes, size, _middle, folder)


def images(root: str | Path, size: int, folder: Path = CACHE) -> FolderImages:
    """All images in a folder and the folders below it, in the order of their paths, unlabeled.

    The largest square in the middle is resized. Hidden files are ignored.

    Args:
        root: the folder with the images.
        size: width and height in pixels.
        folder: where the decoded images are kept.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in it.
        ValueError: if no image can be read.
    """
    root = Path(root).expanduser()
    paths = _image_files(root, _IMAGES.format(suffixes=", ".join(SUFFIXES)))
    return _load("images", root, paths, {}, {}, size, _middle, folder)


def _image_files(place: Path, expected: str) -> list[Path]:
    """Paths of all images below a folder, in order."""
    if not place.is_dir():
        raise FileNotFoundError(f"the folder {place} is not there. {expected}")
    found = [
        path
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(place).parts)
        and not path.is_dir()
    ]
    if not found:
        raise FileNotFoundError(f"there is no image in {place}. {expected}")
    return found


def _celeba_attributes(listing: Path) -> tuple[list[str], dict[str, list[int]]]:
    """The attributes' names, and for each image with a valid row 0 or 1 for each attribute."""
    lines = listing.read_text().splitlines()
    require(
        len(lines) >= 2 and lines[0].strip().isdigit(),
        f"{listing} is not CelebA's list of attributes; expected the number of images in the "
        "first line, the names of the attributes in the second, and then lines like "
        "'000001.jpg -1 1 1'",
    )
    names = lines[1].split()
    table = [line.split() for line in lines[2:]]
    rows = {
        row[0]: [int(value == "1") for value in row[1:]]
        for row in table
        if len(row) == len(names) + 1 and set(row[1:]) <= {"-1", "1"}
    }
    return names, rows


def _load(
    name: str,
    place: Path,
    paths: list[Path],
    labels: dict[str, np.ndarray],
    classes: dict[str, tuple[str, ...]],
    size: int,
    square: Callable[[Image.Image, int], Image.Image],
    folder: Path,
    skipped: Sequence[str] = (),
) -> FolderImages:
    """Decode the files, or take them from the cache, and report those that cannot be read."""
    require(size >= 1, f"size is {size}; expected at least 1 pixel")
    parameters = {
        "recipe": RECIPE,
        "size": size,
        "folder": str(place.resolve()),
        "files": _fingerprint(place, paths),
    }
    make = partial(_decode_piece, square, size)
    arrays = cache.provide(f"{name}-{size}px", parameters, ["pillow"], paths, make, folder)
    good = arrays["problem"] == ""
    problems = [
        f"{path.relative_to(place)}: {problem}"
        for path, problem in zip(paths, arrays["problem"])
        if problem
    ]
    skipped = (*skipped, *problems)
    if skipped:
        shown = "".join(f"\n  {line}" for line in skipped[:20])
        more = f"\n  and {len(skipped) - 20} more" if len(skipped) > 20 else ""
        total = len(skipped) + int(good.sum())
        warnings.warn(
            f"{len(skipped)} of the {total} files in {place} were left out:{shown}{more}",
            stacklevel=3,
        )
    require(bool(good.any()), f"none of the images in {place} can be read")
    return FolderImages(
        torch.from_numpy(arrays["pixels"]),
        {label: torch.from_numpy(values[good]) for label, values in labels.items()},
        classes,
        skipped,
    )


def _fingerprint(place: Path, paths: Sequence[Path]) -> str:
    """A hash that changes if a file does: of all names, lengths and times of change."""
    listing = []
    for path in paths:
        try:
            stat = path.stat()
            state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        except OSError:
            state = []
        listing.append([str(path.relative_to(place)), *state])
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _decode_piece(
    square: Callable[[Image.Image, int], Image.Image], size: int, paths: Sequence[Path]
) -> cache.Arrays:
    """Pixels of the readable files, and for every file what the problem is, or nothing."""
    pixels, problems = [], []
    for path in paths:
        # Damaged files make decoders fail in many ways, and none of them may end the work.
        try:
            with Image.open(path) as image:
                pixels.append(np.asarray(square(_as_rgb(image), size)).transpose(2, 0, 1))
            problems.append("")
        except UnidentifiedImageError:
            problems.append("not an image, or of an unknown kind")
        except Exception as error:
            problems.append(f"{error}" or type(error).__name__)
    none = np.empty((0, 3, size, size), np.uint8)
    return {
        "pixels": np.stack(pixels) if pixels else none,
        "problem": np.array(problems, np.str_),
    }


def _as_rgb(image: Image.Image) -> Image.Image:
    """Upright and in RGB; transparent parts become white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow clips 16-bit values instead of scaling them.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _middle(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle, resized."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def _celeba_face(image: Image.Image, size: int) -> Image.Image:
    """The thesis' square around an aligned face, resized."""
    require(
        image.size == _CELEBA_SIZE,
        f"{image.width} x {image.height} pixels; expected {_CELEBA_SIZE[0]} x {_CELEBA_SIZE[1]}",
    )
    box = (
        _CELEBA_LEFT,
        _CELEBA_TOP,
        _CELEBA_LEFT + _CELEBA_WIDTH,
        _CELEBA_TOP + _CELEBA_WIDTH,
    )
    return image.crop(box).resize((size, size), Image.Resampling.LANCZOS)
