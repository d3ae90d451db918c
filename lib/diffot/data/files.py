"""Finding the images in a folder, and saying which files are none."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

# What Pillow knows, but can only write, or read with another program that need not be there.
_FOREIGN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF"}
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def find_images(place: Path, root: Path, expected: str) -> tuple[list[Path], list[str]]:
    """Paths of all images below a folder, in order, and a line for whatever else is there.

    Args:
        root: where an archive would lie that has not been unpacked.
    """
    if not place.is_dir():
        raise FileNotFoundError(f"the folder {place} is not there.{_unpacking(root)} {expected}")
    files, skipped = _walk(place)
    found = []
    for path in sorted(files):
        reason = _unfit(path)
        if reason:
            skipped.append(f"{path.relative_to(place)}: {reason}")
        else:
            found.append(path)
    if not found:
        others = f" Left out:{shortened(skipped)}\n" if skipped else " "
        raise FileNotFoundError(
            f"there is no image in {place}.{_unpacking(root)}{others}{expected}"
        )
    return found, skipped


def _walk(place: Path) -> tuple[list[Path], list[str]]:
    """All files below a folder, and a line for each folder that is not read.

    Links are followed when all folders that lie there themselves have been read.
    """
    files: list[Path] = []
    skipped: list[str] = []
    seen: set[tuple[int, int]] = set()
    own, linked = [place], list[Path]()
    while own or linked:
        folder = own.pop() if own else linked.pop(0)
        try:
            status = folder.stat()
            identity = status.st_dev, status.st_ino
            if identity in seen:
                skipped.append(f"{folder.relative_to(place)}: a folder that is read already")
                continue
            entries = sorted(folder.iterdir())
        except OSError as error:
            skipped.append(f"{folder.relative_to(place)}: {reason_for(error)}")
            continue
        seen.add(identity)
        for path in entries:
            if path.name.startswith("."):
                continue
            if not os.path.isdir(path):
                files.append(path)
            else:
                (linked if path.is_symlink() else own).append(path)
    return files, skipped


def _unfit(path: Path) -> str:
    """Why a file is not to be opened as an image; nothing if it is."""
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        return "an archive; unpack it"
    if suffix not in _suffixes():
        return "its name does not end as that of an image"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return reason_for(error)
    return "" if stat.S_ISREG(mode) else "not a regular file"


@lru_cache
def readable_formats() -> tuple[str, ...]:
    """The kinds of images that Pillow reads by itself."""
    Image.init()
    return tuple(kind for kind in Image.ID if kind not in _FOREIGN)


@lru_cache
def _suffixes() -> frozenset[str]:
    """How names of such images end."""
    extensions = Image.registered_extensions()
    return frozenset(suffix for suffix, kind in extensions.items() if kind not in _FOREIGN)


def _unpacking(root: Path) -> str:
    """What to do with archives in a folder, in its place or beside it; nothing without any."""
    try:
        inside = sorted(root.iterdir()) if root.is_dir() else []
        beside = [path for path in sorted(root.parent.iterdir()) if path.stem == root.stem]
    except OSError:
        return ""
    archives = [p.name for p in (*beside, *inside) if p.suffix.lower() in _ARCHIVES]
    return f" Unpack {', '.join(archives)} first." if archives else ""


def reason_for(error: Exception) -> str:
    """Why something cannot be read, without the path, which is named anyway."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of an unknown kind"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{error}" or type(error).__name__


def shortened(lines: Sequence[str]) -> str:
    """The first twenty lines, and how many more there are."""
    more = f"\n  and {len(lines) - 20} more" if len(lines) > 20 else ""
    return "".join(f"\n  {line}" for line in lines[:20]) + more
