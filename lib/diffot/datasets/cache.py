"""Arrays that are expensive to make, kept in chunks.

Each recipe has a folder of its own, and each chunk two files: ``000000.npz`` with the arrays and
``000000.json``, the card, with the recipe, the versions of the packages that matter and the
SHA-256 of the arrays. Whatever has been made survives an interruption, and a longer array starts
with the chunks of a shorter one.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from diffot.errors import require
from diffot.files import write_whole
from diffot.paths import CACHE

CHUNK = 500

Arrays = dict[str, np.ndarray]


def provide(
    name: str,
    parameters: dict,
    packages: Sequence[str],
    items: Sequence,
    make: Callable[[Sequence], Arrays],
    folder: Path = CACHE,
    piece_size: int | None = None,
) -> Arrays:
    """The arrays made of all items, from the cache as far as they are there.

    What is missing, or does not match its SHA-256, is made on all cores; the backend and the
    number of workers can be chosen with ``joblib.parallel_config``.

    Args:
        name: of the data set; the folder's name begins with it.
        parameters: everything else that the arrays depend on, as JSON.
        packages: those whose versions the arrays depend on.
        items: cut into pieces. The same parameters must mean the same items, or the first of
            them.
        make: makes the arrays of one piece. Has to be picklable.
        piece_size: items in a piece, by default ``CHUNK``; the same for the same parameters.

    Returns:
        The arrays of all pieces, joined along their first axis.

    Raises:
        ValueError: if there are no items.
    """
    require(len(items) > 0, f"nothing to make of {name}: there are no items")
    recipe = {
        "name": name,
        "parameters": parameters,
        "packages": {package: version(package) for package in packages},
    }
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    place = Path(folder) / f"{name}-{key}"
    step = CHUNK if piece_size is None else piece_size
    pieces = [items[start : start + step] for start in range(0, len(items), step)]
    chunks = [_read(place / f"{k:06}", len(piece)) for k, piece in enumerate(pieces)]

    missing = [k for k, chunk in enumerate(chunks) if chunk is None]
    work = Parallel(n_jobs=-1 if len(missing) > 1 else 1, return_as="generator")
    made = work(delayed(_make)(make, pieces[k], place / f"{k:06}", recipe) for k in missing)
    with tqdm(
        total=sum(len(pieces[k]) for k in missing),
        desc=name,
        unit="image",
        disable=len(missing) < 2,
    ) as bar:
        for k, chunk in zip(missing, made):
            chunks[k] = chunk
            bar.update(len(pieces[k]))
    return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}


def sha256(arrays: Arrays) -> str:
    """SHA-256 of the values of all arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(stem: Path, items: int) -> Arrays | None:
    """The arrays of a chunk, or None if it is missing, damaged or of another length."""
    path, card = stem.with_suffix(".npz"), stem.with_suffix(".json")
    if not (path.exists() and card.exists()):
        return None
    try:
        description = json.loads(card.read_text())
        with np.load(path) as file:
            arrays = dict(file)
        found = sha256(arrays)
        require(found == description["sha256"], f"SHA-256 {found[:12]}... is not the card's")
        return arrays if description["items"] == items else None
    # A damaged file can fail in any way that json, zipfile, zlib and numpy know.
    except Exception as error:
        warnings.warn(f"{path} is damaged ({error}) and is made again", stacklevel=3)
        return None


def _make(
    make: Callable[[Sequence], Arrays], piece: Sequence, stem: Path, recipe: dict
) -> Arrays:
    """Make a chunk and keep it. Where that is impossible, say so: the arrays are there anyway."""
    arrays = make(piece)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    card = {**recipe, "items": len(piece), "sha256": sha256(arrays)}
    try:
        write_whole(stem.with_suffix(".npz"), buffer.getvalue())
        write_whole(stem.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    except OSError as error:
        warnings.warn(
            f"{stem}.npz could not be kept ({error}) and will have to be made again; free some "
            "space, or give another folder",
            stacklevel=2,
        )
    return arrays
