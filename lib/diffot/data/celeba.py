"""The list of attributes that comes with CelebA, in its several forms."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path

from diffot.errors import require


def celeba_list(root: Path, expected: str) -> Path:
    """The list of attributes in a folder, as text or as a table with commas."""
    for suffix in (".txt", ".csv"):
        listing = root / f"list_attr_celeba{suffix}"
        if listing.is_file():
            return listing
    raise FileNotFoundError(f"{root / 'list_attr_celeba.txt'} is not there. {expected}")


def celeba_attributes(
    listing: Path,
) -> tuple[list[str], dict[str, list[int]], dict[str, str]]:
    """The attributes' names; for each image 0 or 1 for each attribute; or what its row lacks."""
    names, table = _celeba_table(listing)
    require(
        len(set(names)) == len(names) > 0 and "" not in names,
        f"{listing} names the attributes {names}; expected a name for each, all different",
    )
    rows: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for image, *row in table:
        if len(row) != len(names):
            reasons[image] = f"its row in {listing.name} has {len(row)} of {len(names)} values"
        elif not set(row) <= {"-1", "0", "1"}:
            odd = next(value for value in row if value not in ("-1", "0", "1"))
            reasons[image] = f"its row in {listing.name} has the value {odd!r}"
        elif rows.setdefault(image, row) != row:
            reasons[image] = f"{listing.name} has different rows for it"
    rows = {image: row for image, row in rows.items() if image not in reasons}
    zeros = next((image for image, row in rows.items() if "0" in row), None)
    negatives = next((image for image, row in rows.items() if "-1" in row), None)
    require(
        zeros is None or negatives is None,
        f"{listing} has 0 in the row of {zeros} and -1 in that of {negatives}, and both may mean "
        "'no'; write one of them throughout",
    )
    return names, {k: [int(value == "1") for value in row] for k, row in rows.items()}, reasons


def _celeba_table(listing: Path) -> tuple[list[str], list[list[str]]]:
    """The attributes' names and the rows, as texts, from a list with spaces or with commas."""
    lines = [line for line in _text(listing).splitlines() if line.strip()]
    if lines and "," in lines[0]:
        header, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines))
        return header[1:], rows
    require(
        len(lines) >= 2 and lines[0].strip().isdigit(),
        f"{listing} is not CelebA's list of attributes; expected the number of images in the "
        "first line, the names of the attributes in the second, and then lines like "
        "'000001.jpg -1 1 1'; or, with commas, 'image_id,' and the names in the first line, and "
        "then lines like '000001.jpg,-1,1,1'",
    )
    return lines[1].split(), [line.split() for line in lines[2:]]


def _text(path: Path) -> str:
    """A text in UTF-8, or in UTF-16 with the mark that says so."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 or UTF-16 ({error})") from error
    require("\0" not in text, f"{path} is no text in UTF-8, nor in UTF-16 with a mark")
    return text
