r"""Jacobians that are known by their products with vectors.

In the 3072 dimensions of a small image a Jacobian is seldom written out. Its products are cheap:
:math:`J v` by forward-mode, :math:`J^T u` by reverse-mode automatic differentiation. A sampler is
a composition of steps, and its Jacobian the product of theirs (the chain rule): each step is
differentiated by itself, at the point that the path visits, so that no more is kept in memory
than one step needs.

All Jacobians here are taken at a batch of points (B, *d), each row by itself, and multiply n
vectors for each of them, shape (n, B, *d).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from diffot.errors import (
    require,
    require_batch,
    require_finite,
    require_tensor,
    require_type,
)


class Jacobian(ABC):
    """The derivatives of a map at a batch of points, shape (B, *d), by products with vectors."""

    @abstractmethod
    def product(self, v: Tensor) -> Tensor:
        """:math:`J v` for n vectors at each point, shape (n, B, *d)."""

    @abstractmethod
    def transposed_product(self, u: Tensor) -> Tensor:
        """:math:`J^T u` for n vectors at each point, shape (n, B, *d)."""


@dataclass(frozen=True, eq=False)
class FunctionJacobian(Jacobian):
    """Of a function at points, by automatic differentiation.

    Attributes:
        function: takes points (B, *d) to values (B, *e), each row by itself. A network's weights
            are to be contiguous: in torch 2.13 the forward mode of GroupNorm is an error where
            channels lie side by side.
        points: shape (B, *d).

    Raises:
        TypeError, ValueError: for no function, or points that are no batch.
    """

    function: Callable[[Tensor], Tensor]
    points: Tensor

    def __post_init__(self):
        require_type(self.function, Callable, "function", "a function of points")
        require_batch(self.points, "points")

    def product(self, v: Tensor) -> Tensor:
        _require_vectors(v, "v")

        def one(tangent: Tensor) -> Tensor:
            return jvp(self.function, (self.points,), (tangent,))[1]

        return vmap(one)(v)

    def transposed_product(self, u: Tensor) -> Tensor:
        _require_vectors(u, "u")
        pullback = vjp(self.function, self.points)[1]
        return vmap(lambda cotangent: pullback(cotangent)[0])(u)


@dataclass(frozen=True, eq=False)
class Composition(Jacobian):
    r"""Of one map after the other: :math:`J = J_K \cdots J_2 J_1`.

    Attributes:
        factors: J_1, J_2, ..., in the order in which the maps are applied; at least one.
    """

    factors: Sequence[Jacobian]

    def __post_init__(self):
        require(len(self.factors) > 0, "factors is empty; expected at least one Jacobian")
        for factor in self.factors:
            require_type(factor, Jacobian, "one of the factors", "a Jacobian")

    def product(self, v: Tensor) -> Tensor:
        for factor in self.factors:
            v = factor.product(v)
        return v

    def transposed_product(self, u: Tensor) -> Tensor:
        for factor in reversed(self.factors):
            u = factor.transposed_product(u)
        return u


@dataclass(frozen=True, eq=False)
class SymmetricPart(Jacobian):
    r"""The symmetric part :math:`(J + J^T) / 2` of a square Jacobian."""

    whole: Jacobian

    def __post_init__(self):
        require_type(self.whole, Jacobian, "whole", "a Jacobian")

    def product(self, v: Tensor) -> Tensor:
        return (self.whole.product(v) + self.whole.transposed_product(v)) / 2

    def transposed_product(self, u: Tensor) -> Tensor:
        return self.product(u)


def step_jacobians(
    steps: Sequence[Callable[[Tensor], Tensor]], start: Tensor
) -> list[FunctionJacobian]:
    """The Jacobian of each of several functions, at the points to which those before it take
    ``start``; of the steps of a sampler, along its path.

    Args:
        steps: functions of points (B, *d), such as :func:`~diffot.samplers.ddim.ddim_steps`.
        start: shape (B, *d).
    """
    require_batch(start, "start")
    factors, x = [], start.detach()
    with torch.no_grad():
        for step in steps:
            factors.append(FunctionJacobian(step, x))
            x = step(x)
    return factors


def _require_vectors(v: Tensor, name: str) -> None:
    require_tensor(v, name, "a floating-point tensor of shape (n, B, *d)")
    require(
        v.ndim >= 3, f"{name} has shape {tuple(v.shape)}; expected (n, B, *d), n vectors a point"
    )
    require_finite(v, name)
