"""Smooth functions of the plane, linear in their coefficients: tensor-product B-splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.interpolate import BSpline, PPoly

DEGREE = 5  # four times continuously differentiable


@dataclass(frozen=True, eq=False)
class Surface:
    r"""A sum of B-splines of degree 5 on the square cells of a box (de Boor 2001).

    .. math:: f(y) = \sum_{jk} c_{jk} B_j(y_1) B_k(y_2)

    Attributes:
        low, high: corners of the box, float64 of shape (2,).
        coefficients: c, float64 of shape (n, n), for n - 5 cells along each side.
    """

    low: np.ndarray
    high: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def flat(cls, low: np.ndarray, high: np.ndarray, cells: int) -> Surface:
        """The function that is zero, on a number of cells along each side."""
        return cls(low, high, np.zeros((cells + DEGREE, cells + DEGREE)))

    @property
    def cells(self) -> int:
        """Number of cells along each side."""
        return len(self.coefficients) - DEGREE

    @property
    def cell(self) -> np.ndarray:
        """Sides of a cell, shape (2,)."""
        return (self.high - self.low) / self.cells

    def plus(self, change: np.ndarray) -> Surface:
        """The surface whose coefficients differ by a vector of shape (n^2,)."""
        shape = self.coefficients.shape
        return Surface(self.low, self.high, self.coefficients + change.reshape(shape))

    def nodes(self, per_cell: int) -> np.ndarray:
        """Points of the box, corners included, so many to a side of a cell; shape (P, 2)."""
        count = per_cell * self.cells + 1
        lines = [np.linspace(*ends, count) for ends in zip(self.low, self.high)]
        return np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2)

    def jet(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values (B,), gradients (B, 2) and Hessians (B, 2, 2) at points (B, 2) of the box."""
        (first, second), along, across = self._local(y)
        local = self.coefficients[first[:, :, None], second[:, None, :]]
        rows = [np.einsum("bjk,bk->bj", local, values) for values in across]
        side, top = self.cell

        def total(i: int, j: int) -> np.ndarray:
            return (along[i] * rows[j]).sum(1) / (side**i * top**j)

        mixed = total(1, 1)
        hessian = np.array([[total(2, 0), mixed], [mixed, total(0, 2)]])
        return total(0, 0), np.stack([total(1, 0), total(0, 1)], 1), hessian.transpose(2, 0, 1)

    def value(self, y: np.ndarray) -> np.ndarray:
        """Values (B,) at points (B, 2) of the box."""
        (first, second), along, across = self._local(y, 0)
        local = self.coefficients[first[:, :, None], second[:, None, :]]
        return np.einsum("bj,bjk,bk->b", along[0], local, across[0], optimize=True)

    def design(self, y: np.ndarray) -> Design:
        """How values and derivatives at points (B, 2) of the box depend on the coefficients."""
        (first, second), along, across = self._local(y)
        n = len(self.coefficients)
        columns = (first[:, :, None] * n + second[:, None, :]).reshape(len(y), -1)
        sides = self.cell

        def products(i: int, j: int) -> np.ndarray:
            entries = along[i][:, :, None] * across[j][:, None, :]
            return entries.reshape(len(y), -1) / (sides[0] ** i * sides[1] ** j)

        slopes = (products(1, 0), products(0, 1))
        curvatures = (products(2, 0), products(1, 1), products(0, 2))
        return Design(columns, n * n, products(0, 0), slopes, curvatures)

    def _local(self, y: np.ndarray, most: int = 2) -> tuple[list, list, list]:
        """Indices (B, 6) of the splines at points, and their derivatives by order, per axis."""
        place = (y - self.low) / self.cell
        cell = np.clip(np.floor(place).astype(int), 0, self.cells - 1)
        inside = place - cell
        indices = [cell[:, k, None] + np.arange(DEGREE + 1) for k in (0, 1)]
        along, across = ([_basis(inside[:, k], i) for i in range(most + 1)] for k in (0, 1))
        return indices, along, across


@dataclass(frozen=True, eq=False)
class Design:
    """Rows of coefficients of a :class:`Surface`, for B points; of each row 36 entries.

    Attributes:
        columns: which, shape (B, 36). size: number of all coefficients.
        value: entries of the rows for the value, shape (B, 36).
        slopes, curvatures: those for the two first and the three second derivatives.
    """

    columns: np.ndarray
    size: int
    value: np.ndarray
    slopes: tuple[np.ndarray, np.ndarray]
    curvatures: tuple[np.ndarray, np.ndarray, np.ndarray]

    def matrix(self, *blocks: np.ndarray) -> sparse.csr_matrix:
        """Blocks of entries (B, 36) below each other, as a sparse matrix."""
        columns = np.concatenate([self.columns] * len(blocks))
        starts = np.arange(len(columns) + 1) * columns.shape[1]
        entries = np.concatenate(blocks)
        shape = (len(columns), self.size)
        return sparse.csr_matrix((entries.ravel(), columns.ravel(), starts), shape=shape)


def _pieces() -> np.ndarray:
    """Coefficients of u^i (rows) in the six splines (columns) on a cell, u from 0 to 1 in it."""
    spline = BSpline.basis_element(np.arange(DEGREE + 2.0), extrapolate=False)
    polynomials = PPoly.from_spline(spline)
    starts = [int(np.flatnonzero(polynomials.x == k)[-1]) for k in range(1, DEGREE + 1)]
    starts = [int(np.flatnonzero(polynomials.x == 0)[-1]), *starts]
    return polynomials.c[::-1, starts[::-1]]


_PIECES = _pieces()


def _basis(u: np.ndarray, order: int) -> np.ndarray:
    """Derivatives of an order of the six splines on a cell, shape (B, 6)."""
    pieces = _PIECES
    for _ in range(order):
        pieces = np.arange(1, len(pieces))[:, None] * pieces[1:]
    return np.vander(u, len(pieces), increasing=True) @ pieces
