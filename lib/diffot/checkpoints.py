"""Trained weights on disk: for each name two files, the weights and their card.

``NAME.safetensors`` holds the weights; ``NAME.json``, the card, holds what is needed to rebuild
and to judge what was trained, and the SHA-256 of the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from diffot.errors import require
from diffot.files import write_whole
from diffot.paths import CHECKPOINTS


def save(
    name: str,
    weights: Mapping[str, Tensor],
    description: dict,
    folder: Path = CHECKPOINTS,
    overwrite: bool = False,
) -> Path:
    """Write weights and card; each file appears whole or not at all.

    Args:
        weights: as in ``network.state_dict()``.
        description: what the card says, as JSON. The version of torch and the hash are added.
        overwrite: replace an existing checkpoint.

    Returns:
        The path of the weights.

    Raises:
        FileExistsError: if there is one already and ``overwrite`` is not set.
    """
    check_free(name, folder, overwrite)
    path = _path(name, folder)
    blob = safetensors.torch.save({key: value.contiguous() for key, value in weights.items()})
    complete = {
        "name": name,
        **description,
        "torch": torch.__version__.split("+")[0],
        "sha256": hashlib.sha256(blob).hexdigest(),
    }
    write_whole(path, blob)
    write_whole(path.with_suffix(".json"), (json.dumps(complete, indent=1) + "\n").encode())
    return path


def check_free(name: str, folder: Path = CHECKPOINTS, overwrite: bool = False) -> None:
    """Make sure that saving will not replace a checkpoint, before time is spent on training.

    Raises:
        FileExistsError: if there is one already and ``overwrite`` is not set.
    """
    path = _path(name, folder)
    if not overwrite and (path.exists() or path.with_suffix(".json").exists()):
        raise FileExistsError(
            f"{path} exists already; to replace it pass overwrite=True (make train: "
            "OVERWRITE=1; command line: --overwrite), or choose another folder"
        )


def card(name: str, folder: Path = CHECKPOINTS) -> dict:
    """What is known about a checkpoint.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = _path(name, folder).with_suffix(".json")
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint of {name} in {folder}; train it with: make train MODEL={name}"
        )
    return json.loads(path.read_text())


def hashes(*names: str, folder: Path = CHECKPOINTS) -> str:
    """The first digits of the SHA-256 of the weights of checkpoints, as ``"1a2b3c4d+5e6f7a8b"``.

    Each checkpoint counts once, however often it is named.
    """
    return "+".join(card(name, folder)["sha256"][:8] for name in dict.fromkeys(names))


def require_hashes(expected: str, *names: str, folder: Path = CHECKPOINTS) -> None:
    """Make sure that measurements are about the weights that they are said to be about.

    Args:
        expected: first digits of the hashes, as of :func:`hashes`.

    Raises:
        ValueError: if the weights are others.
    """
    found = [card(name, folder)["sha256"] for name in dict.fromkeys(names)]
    parts = expected.split("+")
    require(
        len(parts) == len(found) and all(h.startswith(p) for h, p in zip(found, parts)),
        f"the weights of {', '.join(dict.fromkeys(names))} have the hashes "
        f"{'+'.join(h[:12] for h in found)}, and {expected!r} were to be measured; compute the "
        "table anew",
    )


def load(name: str, folder: Path = CHECKPOINTS) -> dict[str, Tensor]:
    """The weights of a checkpoint, in the type in which they are stored.

    Raises:
        ValueError: if they do not match the hash in the card.
        FileNotFoundError: if card or weights are missing.
    """
    expected = card(name, folder)["sha256"]
    path = _path(name, folder)
    if not path.exists():
        raise FileNotFoundError(
            f"the weights {path} are missing though their card is there; restore the file, or "
            f"train again with: make train MODEL={name} OVERWRITE=1"
        )
    blob = path.read_bytes()
    found = hashlib.sha256(blob).hexdigest()
    require(
        found == expected,
        f"{path} is damaged or not the file its card describes: SHA-256 {found[:12]}..., "
        f"expected {expected[:12]}...; restore the file, or train again with: "
        f"make train MODEL={name} OVERWRITE=1",
    )
    return safetensors.torch.load(blob)


def _path(name: str, folder: Path) -> Path:
    return Path(folder) / f"{name}.safetensors"
