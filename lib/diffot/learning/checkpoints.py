"""Trained weights on disk: for each name two files, the weights and their card.

``NAME.safetensors`` holds the weights; ``NAME.json``, the card, holds what is needed to rebuild
and to judge what was trained, and the SHA-256 of the weights.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from diffot.errors import differences, require, require_type
from diffot.files import write_whole
from diffot.paths import CHECKPOINTS

KEYS = ("parameters", "cpu_seconds", "losses")  # by every card, beside name and hash


def save(
    name: str,
    weights: Mapping[str, Tensor],
    description: dict,
    folder: Path = CHECKPOINTS,
    overwrite: bool = False,
) -> Path:
    """Write weights and card; each file appears whole or not at all.

    Args:
        name: letters, digits, ``_``, ``-`` and dots.
        weights: as in ``network.state_dict()``.
        description: what the card says, as JSON, with at least the keys ``parameters``,
            ``cpu_seconds`` and ``losses``. Name, version of torch and hash are added.
        overwrite: replace an existing checkpoint.

    Returns:
        The path of the weights.

    Raises:
        FileExistsError: if there is one already and ``overwrite`` is not set.
        TypeError: for arguments of other types.
        ValueError: for another kind of name, NaN or infinity in weights or description, or if
            the description lacks a key. Nothing is written then.
    """
    check_free(name, folder, overwrite)
    path = _path(name, folder)
    require_type(weights, Mapping, "weights", "a dict of tensors")
    require_type(description, dict, "description", "a dict")
    for key, value in weights.items():
        require_type(value, Tensor, f"weights[{key!r}]", "a tensor")
    _require_finite(weights, f"the weights for {path}", "nothing was saved")
    missing = [key for key in KEYS if key not in description]
    require(not missing, f"the description for {path} lacks {', '.join(missing)}")
    blob = safetensors.torch.save({key: value.contiguous() for key, value in weights.items()})
    complete = {
        "name": name,
        **description,
        "torch": torch.__version__.split("+")[0],
        "sha256": hashlib.sha256(blob).hexdigest(),
    }
    try:
        text = json.dumps(complete, indent=1, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"the description for {path} holds NaN or infinity") from error
    write_whole(path, blob)
    write_whole(path.with_suffix(".json"), f"{text}\n".encode())
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


def card(name: str, folder: Path = CHECKPOINTS, keys: Sequence[str] = ()) -> dict:
    """What is known about a checkpoint.

    Args:
        keys: what the card has to have beside what all cards have.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the card cannot be read, lacks a key or is another's.
    """
    path = card_path(name, folder)
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint of {name} in {folder}; train it with: make train MODEL={name}"
        )
    try:
        description = json.loads(path.read_text())
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"{path} cannot be read ({error}); {_remedy(name)}") from error
    require(isinstance(description, dict), f"{path} is no card; {_remedy(name)}")
    missing = [key for key in ("name", *KEYS, *keys, "sha256") if key not in description]
    require(not missing, f"{path} lacks {', '.join(missing)}; {_remedy(name)}")
    owner, sha256 = description["name"], description["sha256"]
    require(owner == name, f"{path} is the card of {owner!r}; {_remedy(name)}")
    require(
        isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) is not None,
        f"{path} has the hash {sha256!r}; expected 64 hexadecimal digits; {_remedy(name)}",
    )
    return description


def require_recipe(name: str, card: dict, recipe: dict, folder: Path = CHECKPOINTS) -> None:
    """Make sure that a checkpoint is of its recipe as it is now.

    Args:
        card: what its card says; keys that the recipe has not do not count.
        recipe: as plain numbers, texts, lists and dicts.

    Raises:
        ValueError: if they differ; says where.
    """
    recipe = json.loads(json.dumps(recipe))
    differing = differences({key: card[key] for key in recipe if key in card}, recipe)
    require(
        not differing,
        f"{card_path(name, folder)} is of another recipe than that of {name}: "
        f"{'; '.join(differing)}. Restore the recipe, or {_remedy(name)}",
    )


def hashes(*names: str, folder: Path = CHECKPOINTS) -> str:
    """The first digits of the SHA-256 of the weights of checkpoints, as ``"1a2b3c4d+5e6f7a8b"``.

    Each checkpoint counts once, however often it is named.
    """
    return "+".join(card(name, folder)["sha256"][:8] for name in dict.fromkeys(names))


def require_hashes(expected: str, *names: str, folder: Path = CHECKPOINTS) -> None:
    """Make sure that measurements are about the weights that they are said to be about.

    Args:
        expected: first digits of the hashes, at least eight each, as of :func:`hashes`.

    Raises:
        ValueError: if the weights are others.
    """
    require_type(expected, str, "weights", "the hashes as a text")
    actual = [card(name, folder)["sha256"] for name in dict.fromkeys(names)]
    parts = expected.split("+")
    require(
        len(parts) == len(actual)
        and all(len(p) >= 8 and h.startswith(p) for h, p in zip(actual, parts)),
        f"weights is {expected!r}, and those of {', '.join(dict.fromkeys(names))} have the hash "
        f"{'+'.join(h[:12] for h in actual)}; expected these, at least eight digits of each: "
        "compute the table anew",
    )


def load(name: str, folder: Path = CHECKPOINTS) -> dict[str, Tensor]:
    """The weights of a checkpoint, in the type in which they are stored.

    Raises:
        ValueError: if they do not match the hash in the card, or hold NaN or infinity.
        FileNotFoundError: if card or weights are missing.
    """
    expected = card(name, folder)["sha256"]
    path = _path(name, folder)
    if not path.exists():
        raise FileNotFoundError(
            f"the weights {path} are missing though their card is there; {_remedy(name)}"
        )
    blob = path.read_bytes()
    actual = hashlib.sha256(blob).hexdigest()
    require(
        actual == expected,
        f"{path} is damaged or not the file its card describes: SHA-256 {actual[:12]}..., "
        f"expected {expected[:12]}...; {_remedy(name)}",
    )
    try:
        weights = safetensors.torch.load(blob)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} holds no weights ({error}); {_remedy(name)}") from error
    _require_finite(weights, str(path), _remedy(name))
    return weights


def load_into(network: nn.Module, name: str, folder: Path = CHECKPOINTS) -> None:
    """Give a network the weights of a checkpoint, in its own type.

    Raises:
        ValueError: as of :func:`load`, and for weights of another network.
    """
    weights = load(name, folder)
    require_weights(network, weights, str(_path(name, folder)))
    network.load_state_dict(weights)


def require_weights(network: nn.Module, weights: Mapping[str, Tensor], whose: str) -> None:
    """Require weights of the names and shapes of a network's.

    Args:
        whose: what holds them, for the message.
    """
    here, there = (
        {key: tuple(value.shape) for key, value in values.items()}
        for values in (network.state_dict(), weights)
    )
    differing = differences(there, here)
    require(
        not differing,
        f"{whose} has the weights of another network: {'; '.join(differing[:3])}"
        f"{' and more' if len(differing) > 3 else ''}. Restore the network or the weights",
    )


def card_path(name: str, folder: Path = CHECKPOINTS) -> Path:
    """Where the card of a checkpoint is, or would be."""
    return _path(name, folder).with_suffix(".json")


def _path(name: str, folder: Path) -> Path:
    require_type(name, str, "name", "a text")
    require_type(folder, (str, Path), "folder", "a path")
    require(
        re.fullmatch(r"\w[\w.-]*", name, re.ASCII) is not None,
        f"name is {name!r}; expected letters, digits, '_', '-' and dots, no part of a path",
    )
    return Path(folder) / f"{name}.safetensors"


def _remedy(name: str) -> str:
    return f"restore the file, or train again with: make train MODEL={name} OVERWRITE=1"


def _require_finite(weights: Mapping[str, Tensor], whose: str, remedy: str) -> None:
    for key, value in weights.items():
        bad = int((~value.isfinite()).sum())
        require(
            bad == 0,
            f"{whose}: {key} has {bad} of {value.numel()} values that are NaN or infinite; "
            f"{remedy}",
        )
