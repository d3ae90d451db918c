"""Arrays that are expensive to make, kept in chunks.

Each recipe has a folder of its own, and each chunk two files: ``000000.npz`` with the arrays and
``000000.json``, the card, with the recipe, the versions of the packages that matter and the
SHA-256 of the arrays. Whatever has been made survives an interruption, and a longer array starts
with the chunks of a shorter one. Processes may share a folder: two that need the same chunk at
the same time both make it.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from diffot.errors import as_path, as_whole_number, require, require_type
from diffot.files import write_whole
from diffot.paths import CACHE

CHUNK = 500

Arrays = dict[str, np.ndarray]


def provide(
    name: str,
    parameters: dict,
    packages: Sequence[str],
    items: Sequence,
    make: Callable[[Any], Arrays],
    folder: str | Path = CACHE,
    piece_size: int | None = None,
    holds: Callable[[Sequence, Arrays], bool] | None = None,
) -> Arrays:
    """The arrays made of all items, from the cache as far as they are there.

    What is missing, or does not match its SHA-256, is made on all cores; the backend and the
    number of workers can be chosen with ``joblib.parallel_config``. What cannot be read or kept
    is made all the same, with a warning.

    Args:
        name: of the data set; the folder's name begins with it.
        parameters: everything else that the arrays depend on, as JSON.
        packages: those whose versions the arrays depend on.
        items: cut into pieces. The same parameters must mean the same items, or the first of
            them.
        make: makes the arrays of one piece. Has to be picklable.
        piece_size: items in a piece, by default ``CHUNK``.
        holds: says of a piece that was kept, and its arrays, whether they are still right; if
            not, they are made again. Without it they always are.

    Returns:
        The arrays of all pieces, joined along their first axis.

    Raises:
        TypeError: for what is of a wrong type, also among the parameters.
        ValueError: if there are no items, for a name that a folder cannot have, parameters that
            are NaN or infinite, packages that are not installed, and a piece size below 1.
    """
    recipe = _recipe(name, parameters, packages)
    _require_sequence(items, "items")
    require(len(items) > 0, f"nothing to make of {name}: there are no items")
    require_type(make, Callable, "make", "a function of a piece")
    require_type(holds, (Callable, type(None)), "holds", "a function of a piece and its arrays")
    step = CHUNK if piece_size is None else as_whole_number(piece_size, "piece_size", least=1)
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    directory = as_path(folder, "folder") / f"{name}-{key}"

    starts = range(0, len(items), step)
    pieces = [items[start : start + step] for start in starts]
    stems = [directory / f"{k:06}" for k in range(len(pieces))]
    chunks = _read_all(directory, stems, starts, pieces)
    if holds is not None:
        for k, (piece, chunk) in enumerate(zip(pieces, chunks)):
            if chunk is not None and not holds(piece, chunk):
                chunks[k] = None

    missing = [k for k, chunk in enumerate(chunks) if chunk is None]
    work = Parallel(n_jobs=-1 if len(missing) > 1 else 1, return_as="generator")
    made = work(
        delayed(_make)(make, pieces[k], stems[k], {**recipe, "start": starts[k]}) for k in missing
    )
    problems = []
    with tqdm(
        total=sum(len(pieces[k]) for k in missing),
        desc=name,
        unit="image",
        disable=len(missing) < 2,
    ) as bar:
        for k, (chunk, problem) in zip(missing, made):
            chunks[k] = chunk
            problems += [problem] if problem else []
            bar.update(len(pieces[k]))
    if problems:
        warnings.warn(
            f"{len(problems)} chunks of {directory} could not be kept ({problems[0]}) and will "
            "have to be made again; free some space, or give another folder",
            stacklevel=2,
        )
    whole = [chunk for chunk in chunks if chunk is not None]  # by now all of them
    return {key: np.concatenate([chunk[key] for chunk in whole]) for key in whole[0]}


def sha256(arrays: Arrays) -> str:
    """SHA-256 of the values of all arrays, in the order of their names.

    Raises:
        TypeError: for what is no array, and for arrays of objects, which have no values of their
            own.
    """
    require_type(arrays, dict, "arrays", "a dict of numpy arrays")
    digest = hashlib.sha256()
    for name in sorted(arrays):
        require_type(arrays[name], np.ndarray, f"arrays[{name!r}]", "a numpy array")
        array = np.ascontiguousarray(arrays[name])
        if array.dtype.hasobject:
            raise TypeError(f"arrays[{name!r}] holds objects; expected numbers or texts")
        digest.update(f"{name}:{array.dtype.str}:{array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _recipe(name: str, parameters: dict, packages: Sequence[str]) -> dict:
    """What the arrays depend on, checked."""
    require_type(name, str, "name", "a text")
    require(
        name == Path(name).name and name.strip(".") != "",
        f"name is {name!r}; expected one that a folder can have",
    )
    require_type(parameters, dict, "parameters", "a dict of what JSON knows")
    try:
        json.dumps(parameters, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"parameters are not what JSON knows ({error})") from error
    _require_sequence(packages, "packages")
    for package in packages:
        require_type(package, str, "a name in packages", "a text")
    try:
        versions = {package: version(package) for package in packages}
    except PackageNotFoundError as error:
        raise ValueError(f"packages are {packages}; {error.name} is not installed") from error
    return {"name": name, "parameters": parameters, "packages": versions}


def _require_sequence(values: object, name: str) -> None:
    require_type(values, Sequence, name, "a list, tuple or range")
    if isinstance(values, str):
        raise TypeError(f"{name} is the text {values!r}; expected a list, tuple or range")


def _read_all(
    directory: Path, stems: Sequence[Path], starts: Sequence[int], pieces: Sequence[Sequence]
) -> list[Arrays | None]:
    """The arrays of the chunks that are there and sound; says which are not sound."""
    chunks, problems = [], []
    for stem, start, piece in zip(stems, starts, pieces):
        try:
            chunks.append(_read(stem, start, len(piece)))
        # A damaged file can fail in any way that json, zipfile, zlib and numpy know.
        except Exception as error:
            chunks.append(None)
            problems.append(f"{stem.name}.npz is damaged or cannot be read ({error})")
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        warnings.warn(f"{directory}: {problems[0]}{more}; made again", stacklevel=3)
    return chunks


def _read(stem: Path, start: int, items: int) -> Arrays | None:
    """The arrays of a chunk, or None if it is missing or holds other items."""
    try:
        description = json.loads(stem.with_suffix(".json").read_text())
        with np.load(stem.with_suffix(".npz")) as file:
            arrays = dict(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    digest = sha256(arrays)
    require(digest == description["sha256"], f"SHA-256 {digest[:12]}... is not the card's")
    # Older cards do not say where their chunk starts.
    same = description["items"] == items and description.get("start", start) == start
    return arrays if same else None


def _make(
    make: Callable[[Sequence], Arrays], piece: Sequence, stem: Path, recipe: dict
) -> tuple[Arrays, str]:
    """Make a chunk and keep it; where that is impossible, also why."""
    arrays = make(piece)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's own stub
    card = {**recipe, "items": len(piece), "sha256": sha256(arrays)}
    try:
        # Without a card no other process takes the new arrays for damaged old ones.
        stem.with_suffix(".json").unlink(missing_ok=True)
        write_whole(stem.with_suffix(".npz"), buffer.getvalue())
        write_whole(stem.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    except OSError as error:
        return arrays, str(error)
    return arrays, ""
