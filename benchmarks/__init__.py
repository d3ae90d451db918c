"""Comparisons with other libraries, side by side in one run: ``make bench``.

Peers are installed without most of what they depend on, and this package lets
the rest be imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

# What packages import and need for other things only: data, augmentation, reports.
UNUSED = ("torchvision", "pytorch_fid", "skimage", "torchsde", "clip", "cleanfid", "kornia")
UNUSED += ("dctorch", "jsonmerge", "wandb")


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets packages that are not installed be imported, with whatever is imported from them."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name.partition(".")[0] in UNUSED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        module.__getattr__ = made_up


def made_up(name: str) -> type:
    """A class that takes any arguments; what Python asks of a module itself is missing."""
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {"__init__": lambda *_, **__: None})


sys.meta_path.append(StandIns())  # the last one asked
