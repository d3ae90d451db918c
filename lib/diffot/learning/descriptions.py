"""Things that recipes describe as dicts: which one, and the arguments it is made with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from diffot.errors import require, require_type, unknown_name


def split(description: Mapping, what: str, key: str) -> tuple[dict, str]:
    """A description without its key of this name, and what stands there.

    Raises:
        TypeError: for anything but a dict. ValueError: if it lacks the key.
    """
    require_type(description, Mapping, what, f"a dict with the key {key!r}")
    require(key in description, f"{what} is {description!r}; expected the key {key!r} in it")
    arguments = dict(description)
    return arguments, arguments.pop(key)


def called(function: Callable, arguments: Mapping, what: str) -> Any:
    """``function(**arguments)``.

    Raises:
        ValueError: naming arguments that it does not take, or lacks.
    """
    require_type(arguments, Mapping, what, "a dict of arguments")
    parameters = inspect.signature(function).parameters
    for name in arguments:
        require(name in parameters, unknown_name(f"argument of {what}", name, parameters))
    lacking = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in arguments
    ]
    require(not lacking, f"{what} lacks {', '.join(lacking)}")
    return function(**arguments)
