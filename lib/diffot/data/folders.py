"""Real image data sets, from folders as they unpack from their distributions.

Whatever is left out is reported by name; gray, CMYK, palette and transparent images are converted
to RGB, and of moving ones the first frame is taken. Decoded images are kept, and read again only
if a file has changed; files that could not be read are tried again each time.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from diffot.data import cache
from diffot.data.celeba import celeba_attributes, celeba_list
from diffot.data.files import find_images, readable_formats, reason_for, shortened
from diffot.data.images import LabeledImages
from diffot.errors import as_path, as_whole_number, require, require_known
from diffot.paths import CACHE

# To be raised with every change below that changes a pixel.
RECIPE = 1
AFHQ_CLASSES = ("cat", "dog", "wild")
AFHQ_SPLITS = ("train", "val", "test")

# CelebA's aligned images, and the square around the face that the thesis cuts out of them.
_CELEBA_SIZE = (178, 218)
_CELEBA_TOP, _CELEBA_LEFT, _CELEBA_WIDTH = 57, 25, 128
_CELEBA = """\
CelebA, aligned and cropped, from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, is expected
as it unpacks, in any folder, whose path is to be given:
  {root}/img_align_celeba/000001.jpg, 000002.jpg, ...
  {root}/list_attr_celeba.txt, or list_attr_celeba.csv with commas"""
_CELEBA_HQ = """\
CelebA-HQ, made with https://github.com/tkarras/progressive_growing_of_gans or taken from
https://github.com/switchablenorms/CelebAMask-HQ, is expected in any folder, whose path is to be
given:
  {root}/*.jpg or *.png, or {root}/CelebA-HQ-img/*.jpg"""
_AFHQ = """\
AFHQ, from https://github.com/clovaai/stargan-v2, is expected as it unpacks, in any folder, whose
path is to be given:
  {root}/train/cat/*.jpg or *.png, {root}/train/dog/..., {root}/train/wild/...
  and the same under {root}/val or {root}/test; some of these folders will do"""
_IMAGES = """\
A folder of images is expected, nested or not, with names that end in .jpg, .png or another suffix
that Pillow reads."""


@dataclass(frozen=True, eq=False, repr=False)
class FolderImages(LabeledImages):
    """Images from files.

    ``skipped`` has a line for each file that was left out, and each folder that could not be
    opened: its name and why. Hidden files and folders are not counted among them.
    """

    skipped: tuple[str, ...] = ()


def celeba(root: str | Path, size: int = 64, folder: str | Path = CACHE) -> FolderImages:
    """CelebA, aligned, with its 40 attributes as binary labels (Liu et al. 2015).

    A square of 128 x 128 pixels around the face, 57 from the top and 25 from the left of 178 x
    218, is cut out and resized, as in the thesis (section 4.2). Of copies at another size, such
    as 89 x 109, it is the same square relative to the width, to whole pixels. Images of another
    shape than 178 : 218, within one pixel, are left out.

    Args:
        root: the folder with ``img_align_celeba`` and ``list_attr_celeba.txt``, or
            ``list_attr_celeba.csv``. The list may write "no" as -1 or as 0.
        size: width and height in pixels; the thesis has 64.
        folder: where the decoded images are kept.

    Raises:
        TypeError: for a path that is none, or a size that is no whole number.
        FileNotFoundError: if the data set is not there, saying how it should look.
        ValueError: if the size is below 1, the list of attributes is not one or writes "no" in
            both ways, or no image can be read.
    """
    root, size = as_path(root, "root"), as_whole_number(size, "size", least=1)
    expected = _CELEBA.format(root=root)
    directory = root / "img_align_celeba"
    paths, skipped = find_images(directory, root, expected)
    names, rows, reasons = celeba_attributes(celeba_list(root, expected))
    listed = [path for path in paths if path.name in rows]
    unlisted = [
        f"{path.relative_to(directory)}: "
        f"{reasons.get(path.name, 'not in the list of attributes')}"
        for path in paths
        if path.name not in rows
    ]
    require(
        len(listed) > 0,
        f"the list of attributes in {root} has no valid row for any image of {directory}:"
        f"{shortened(unlisted)}\n{expected}",
    )
    values = np.array([rows[path.name] for path in listed], np.int64)
    labels = {name: values[:, k] for k, name in enumerate(names)}
    classes: dict[str, tuple[str, ...]] = dict.fromkeys(names, ("no", "yes"))
    left_out = [*unlisted, *skipped]
    files = _Files("celeba", directory, listed, left_out, labels, classes)
    return _load(files, size, _celeba_face, folder)


def celeba_hq(root: str | Path, size: int = 256, folder: str | Path = CACHE) -> FolderImages:
    """CelebA-HQ, without labels (Karras et al. 2018).

    Args:
        root: the folder with the images, or with ``CelebA-HQ-img``.
        size: width and height in pixels; the thesis has 256.
        folder: where the decoded images are kept.

    Raises:
        TypeError: for a path that is none, or a size that is no whole number.
        FileNotFoundError: if the data set is not there, saying how it should look.
        ValueError: if the size is below 1, or no image can be read.
    """
    root, size = as_path(root, "root"), as_whole_number(size, "size", least=1)
    directory = root / "CelebA-HQ-img" if (root / "CelebA-HQ-img").is_dir() else root
    paths, skipped = find_images(directory, root, _CELEBA_HQ.format(root=root))
    return _load(_Files("celeba-hq", directory, paths, skipped), size, _middle, folder)


def afhq(
    root: str | Path, split: str = "train", size: int = 256, folder: str | Path = CACHE
) -> FolderImages:
    """Animal Faces-HQ with the label class: 0 cat, 1 dog, 2 wild (Choi et al. 2020).

    A copy may lack some of the classes. The others keep their numbers, so that a label means the
    same in every copy and split; a warning names what is missing.

    Args:
        root: the folder with ``train`` and ``val`` or ``test``.
        split: which of these.
        size: width and height in pixels; the thesis has 256.
        folder: where the decoded images are kept.

    Raises:
        TypeError: for a path that is none, or a size that is no whole number.
        FileNotFoundError: if the data set is not there, saying how it should look.
        ValueError: for an unknown split or a size below 1, or if no image can be read.
    """
    require_known(split, "split", AFHQ_SPLITS)
    root, size = as_path(root, "root"), as_whole_number(size, "size", least=1)
    directory, expected = root / split, _AFHQ.format(root=root)
    candidates, skipped = find_images(directory, root, expected)
    kinds = [path.relative_to(directory).parts[0] for path in candidates]
    paths = [path for path, kind in zip(candidates, kinds) if kind in AFHQ_CLASSES]
    skipped = [
        f"{path.relative_to(directory)}: not in a folder named {', '.join(AFHQ_CLASSES)}"
        for path, kind in zip(candidates, kinds)
        if kind not in AFHQ_CLASSES
    ] + skipped
    if not paths:
        raise FileNotFoundError(f"there is no image of a class in {directory}. {expected}")
    missing = [name for name in AFHQ_CLASSES if name not in kinds]
    if missing:
        warnings.warn(f"{directory} has no images of {' or '.join(missing)}", stacklevel=2)
    numbers = [AFHQ_CLASSES.index(kind) for kind in kinds if kind in AFHQ_CLASSES]
    labels = {"class": np.array(numbers, np.int64)}
    classes: dict[str, tuple[str, ...]] = {"class": AFHQ_CLASSES}
    files = _Files(f"afhq-{split}", directory, paths, skipped, labels, classes)
    return _load(files, size, _middle, folder)


def images(root: str | Path, size: int, folder: str | Path = CACHE) -> FolderImages:
    """All images in a folder and the folders below it, in the order of their paths, unlabeled.

    The largest square in the middle is resized. Links to folders are followed, each folder is
    read once, and hidden files and folders are ignored.

    Args:
        root: the folder with the images.
        size: width and height in pixels.
        folder: where the decoded images are kept.

    Raises:
        TypeError: for a path that is none, or a size that is no whole number.
        FileNotFoundError: if there is no such folder, or no image in it.
        ValueError: if the size is below 1, or no image can be read.
    """
    root, size = as_path(root, "root"), as_whole_number(size, "size", least=1)
    paths, skipped = find_images(root, root, _IMAGES)
    return _load(_Files("images", root, paths, skipped), size, _middle, folder)


@dataclass(frozen=True)
class _Files:
    """The files of a data set, with their labels, and what was left out."""

    name: str
    directory: Path
    paths: list[Path]
    skipped: Sequence[str]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _load(
    files: _Files,
    size: int,
    square: Callable[[Image.Image, int], Image.Image],
    cached: str | Path,
) -> FolderImages:
    """Decode the files, or take them from the cache, and report what is left out."""
    parameters = {
        "recipe": RECIPE,
        "size": size,
        "folder": str(files.directory.resolve()),
        "files": _fingerprint(files.directory, files.paths),
    }
    make = partial(_decode_piece, square, size)
    arrays = cache.provide(
        f"{files.name}-{size}px",
        parameters,
        ["pillow"],
        files.paths,
        make,
        cached,
        holds=partial(_still_unreadable, make),
    )
    good = arrays["problem"] == ""
    problems = [
        f"{path.relative_to(files.directory)}: {problem}"
        for path, problem in zip(files.paths, arrays["problem"])
        if problem
    ]
    skipped = (*problems, *files.skipped)
    if skipped:
        warnings.warn(
            f"{good.sum()} images of {files.directory} are read, and {len(skipped)} files or "
            f"folders left out:{shortened(skipped)}",
            stacklevel=3,
        )
    require(bool(good.any()), f"none of the images in {files.directory} can be read")
    return FolderImages(
        torch.from_numpy(arrays["pixels"]),
        {label: torch.from_numpy(values[good]) for label, values in files.labels.items()},
        files.classes,
        skipped,
    )


def _fingerprint(directory: Path, paths: Sequence[Path]) -> str:
    """A hash that changes if a file does: of all names, lengths and times of change."""
    listing = []
    for path in paths:
        try:
            status = path.stat()
            state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        except OSError:
            state = []
        listing.append([str(path.relative_to(directory)), *state])
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _still_unreadable(
    make: Callable[[Sequence[Path]], cache.Arrays], paths: Sequence[Path], arrays: cache.Arrays
) -> bool:
    """Whether the files that could not be read have the same problems as before."""
    problems = arrays["problem"]
    failed = [path for path, problem in zip(paths, problems) if problem]
    return not failed or np.array_equal(make(failed)["problem"], problems[problems != ""])


def _decode_piece(
    square: Callable[[Image.Image, int], Image.Image], size: int, paths: Sequence[Path]
) -> cache.Arrays:
    """Pixels of the readable files, and for every file what the problem is, or nothing."""
    pixels, problems = [], []
    for path in paths:
        # Damaged files make decoders fail in many ways, and none of them may end the work.
        try:
            with Image.open(path, formats=readable_formats()) as image:
                pixels.append(np.asarray(square(_as_rgb(image), size)).transpose(2, 0, 1))
            problems.append("")
        except Exception as error:
            problems.append(reason_for(error))
    none = np.empty((0, 3, size, size), np.uint8)
    return {
        "pixels": np.stack(pixels) if pixels else none,
        "problem": np.array(problems, np.str_),
    }


def _as_rgb(image: Image.Image) -> Image.Image:
    """Upright and in RGB; transparent parts become white."""
    kind = image.format
    image = ImageOps.exif_transpose(image)
    # Pillow clips values of more than 8 bits instead of scaling them. Its 16-bit PGM is "I".
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PPM"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    require(
        image.mode not in ("I", "F"),
        "its values have no known range; convert it to 8 or 16 bits",
    )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _middle(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle, resized."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def _celeba_face(image: Image.Image, size: int) -> Image.Image:
    """The thesis' square around an aligned face, resized."""
    width, height = _CELEBA_SIZE
    scale = image.width / width
    require(
        abs(image.height - height * scale) <= 1,
        f"{image.width} x {image.height} pixels; expected {width} x {height}, or that shape at "
        "another size",
    )
    left, top = round(_CELEBA_LEFT * scale), round(_CELEBA_TOP * scale)
    side = max(1, round(_CELEBA_WIDTH * scale))
    return image.crop((left, top, left + side, top + side)).resize(
        (size, size), Image.Resampling.LANCZOS
    )
