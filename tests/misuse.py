"""Bad input, tried systematically: what the tests of it share.

A :class:`Use` is a call that works. :func:`misuses` spoils one argument at a time with values of
wrong types and, depending on what stands there in the good call, with odd numbers; :func:`check`
asserts that each of these raises a ``TypeError`` or ``ValueError`` that names the argument, and
does so at once. A :class:`Case` is a single bad call, for what no rule foresees.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

SECONDS = 20  # after which a call counts as hanging


@dataclass(frozen=True)
class Use:
    """A good call.

    ``allowed`` names the spoilt values that are good ones too, by argument, as in
    ``{"steps": {"list"}, "generator": {"None"}}``; an argument with ``{"all"}`` is not spoilt.
    ``named`` says how messages call an argument that they do not call by its own name.
    """

    function: Callable
    arguments: Mapping[str, object]
    allowed: Mapping[str, set[str]] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A bad call, and what its message has to hold."""

    call: Callable[[], object]
    says: str
    name: str = ""


def misuses(uses: Sequence[Use]) -> list:
    """Parameters for pytest: every use with every way of spoiling it."""
    return [
        pytest.param(use, argument, value, id=f"{use.function.__name__}-{argument}-{label}")
        for use in uses
        for argument, good in use.arguments.items()
        if "all" not in use.allowed.get(argument, set())
        for label, value in _spoilt(good)
        if label not in use.allowed.get(argument, set())
    ]


def check(use: Use, argument: str, value: object) -> None:
    """Assert that the use, spoilt, raises an error that names the argument."""
    expect(
        lambda: use.function(**{**use.arguments, argument: value}),
        use.named.get(argument, argument),
    )


def expect(call: Callable[[], object], says: str) -> None:
    """Assert that a call fails at once, with a ``TypeError`` or ``ValueError`` that says so."""
    with pytest.raises((TypeError, ValueError)) as raised, _limit():
        call()
    message = str(raised.value)
    assert says in message, message
    assert "unexpected keyword" not in message and "positional argument" not in message, message


def _spoilt(good: object) -> Iterator[tuple[str, object]]:
    yield from [("None", None), ("text", "abc"), ("object", object())]
    if isinstance(good, Tensor):
        yield from [("array", good.numpy()), ("list", good.tolist())]
        if good.is_floating_point():
            for label, hole in (("NaN", math.nan), ("infinity", math.inf)):
                spoilt = good.clone()
                spoilt.view(-1)[0] = hole
                yield label, spoilt
            yield "integers", good.long()
    elif isinstance(good, bool):
        return
    elif isinstance(good, int):
        yield from [("half", 2.5), ("NaN", math.nan), ("truth", True), ("negative", -1)]
        yield "list", [1, 2]
    elif isinstance(good, float):
        yield from [("NaN", math.nan), ("infinity", math.inf), ("truth", True)]
        yield from [("list", [0.1, 0.2]), ("vector", torch.tensor([0.1, 0.2]))]
    elif isinstance(good, np.ndarray):
        spoilt = good.astype(float)
        spoilt.flat[0] = math.nan
        yield "NaN", spoilt


@contextmanager
def _limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"the call did not return within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
