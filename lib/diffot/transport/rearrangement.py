r"""How far a map from N(0, I) in the plane is from optimal, without sampling.

If :math:`\varphi` keeps N(0, I), then pairing :math:`\varphi(z)` with the decoded point D(z),
instead of z itself, is another way to couple the same two laws. Whatever it saves, the optimal
coupling saves at least as much: an explicit cheaper coupling bounds the excess of the map from
below, with the error of a quadrature in place of the noise and the bias of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import hermite_e
from scipy.integrate import solve_ivp
from torch import Tensor

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_finite,
    require_points,
    require_type,
)


@dataclass(frozen=True)
class Rearrangement:
    """A cheaper coupling than that of the flow.

    Attributes:
        cost: mean squared distance between z and D(z).
        cheaper: mean squared distance between phi(z) and D(z).
    """

    cost: float
    cheaper: float

    @property
    def relative_excess(self) -> float:
        """Lower bound on (cost - optimal) / optimal; positive if the flow is not optimal."""
        return (self.cost - self.cheaper) / self.cheaper


def rearrange(
    decode_with_jacobian: Callable[[Tensor], tuple[Tensor, Tensor]],
    degree: int = 8,
    rounds: int = 6,
    spacing: float = 0.15,
    reach: float = 6.0,
) -> Rearrangement:
    r"""Look for a rearrangement of the latents of a map that saves much.

    :math:`\varphi` is built in rounds. Each follows for unit time a field
    :math:`w = \nabla^\perp \psi - \psi\, y^\perp`, which keeps N(0, I) for every stream function
    :math:`\psi`. For a map with Jacobian J, its gain is to second order
    :math:`2 E\langle w, D \rangle - E\langle w, J w \rangle`; the :math:`\psi` that maximizes
    this is the solution of a linear system. For J the decoder's Jacobian is taken, in each round,
    with negative curvature left out. That only affects how good :math:`\varphi` is: its cost is
    evaluated as it is, and a round that saves nothing is halved until it does. Expectations are
    sums over a square grid of latents (trapezoidal rule).

    Args:
        decode_with_jacobian: the map; takes latents (B, 2) to points (B, 2) and to its
            Jacobians (B, 2, 2).
        degree: :math:`\psi` is a sum of Hermite functions up to this total degree, at most 40.
        rounds: number of fields followed one after the other, at least 1.
        spacing: of the grid, in (0, 0.5].
        reach: half width of the grid, at least 3; N(0, I) has mass 4e-9 outside if it is 6, 1e-6
            if 5.

    Raises:
        ValueError: if a number is out of range.
    """
    require_type(
        decode_with_jacobian, Callable, "decode_with_jacobian", "a function of points (B, 2)"
    )
    degree = as_whole_number(degree, "degree", least=0, most=40)
    rounds = as_whole_number(rounds, "rounds", least=1)
    spacing = as_number(spacing, "spacing", above=0, at_most=0.5)
    reach = as_number(reach, "reach", at_least=3)
    line = np.arange(-reach + spacing / 2, reach, spacing)
    z = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    mass = np.exp(-(z**2).sum(1) / 2)
    mass /= mass.sum()
    image, curvature = _image(decode_with_jacobian, z)

    def cost(y: np.ndarray) -> float:
        return float(mass @ ((y - image) ** 2).sum(1))

    y = z
    for _ in range(rounds):
        coefficients = _best_field(y, degree, mass, image, curvature)
        for length in (1.0, 0.5, 0.25, 0.125):
            moved = _follow(y, length * coefficients, degree)
            if cost(moved) < cost(y):
                y = moved
                break
    return Rearrangement(cost=cost(z), cheaper=cost(y))


def _image(
    decode_with_jacobian: Callable[[Tensor], tuple[Tensor, Tensor]], z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The points of latents (P, 2), and their Jacobians' positive parts (P, 2, 2)."""
    image, jacobian = decode_with_jacobian(torch.from_numpy(z))
    require_points(image, 2, "what decode_with_jacobian returns")
    require(
        image.shape == z.shape and jacobian.shape == (*z.shape, 2),
        f"decode_with_jacobian returns shapes {tuple(image.shape)} and {tuple(jacobian.shape)} "
        f"for {len(z)} points; expected (B, 2) and (B, 2, 2)",
    )
    require_finite(jacobian, "the Jacobians that decode_with_jacobian returns")
    return image.double().numpy(), _positive_part(jacobian.double())


def _best_field(
    y: np.ndarray, degree: int, mass: np.ndarray, image: np.ndarray, curvature: np.ndarray
) -> np.ndarray:
    """The coefficients of psi that gain most to second order, shape (F,)."""
    fields = _fields(y, degree)
    linear = np.einsum("p,pfi,pi->f", mass, fields, image)
    bent = np.einsum("pij,pfj->pfi", curvature, fields) * mass[:, None, None]
    quadratic = np.tensordot(fields, bent, ((0, 2), (0, 2)))
    return np.linalg.lstsq(quadratic, linear, rcond=1e-8)[0]


def _positive_part(jacobian: Tensor) -> np.ndarray:
    """Symmetric part of each matrix, less its negative eigenvalues; (P, 2, 2)."""
    spectrum, axes = torch.linalg.eigh((jacobian + jacobian.mT) / 2)
    return ((axes * spectrum.clamp(min=0)[:, None]) @ axes.mT).numpy()


def _follow(y: np.ndarray, coefficients: np.ndarray, degree: int) -> np.ndarray:
    """Where the field takes the points in unit time; (P, 2)."""

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        return np.einsum("pfi,f->pi", _fields(flat.reshape(-1, 2), degree), coefficients).ravel()

    return solve_ivp(velocity, (0, 1), y.ravel(), rtol=1e-6, atol=1e-8).y[:, -1].reshape(-1, 2)


def _fields(y: np.ndarray, degree: int) -> np.ndarray:
    """The fields w of all Hermite functions up to a total degree at points y, (P, F, 2).

    With :math:`h_n(s) = He_n(s) e^{-s^2/4} / \\sqrt{n!}` and psi = h_m(y_1) h_n(y_2),
    w = (-(h_m (h_n' - y_2 h_n)), (h_m' - y_1 h_m) h_n).
    """
    orders = range(degree + 1)
    value, turned = [], []
    for s in y.T:
        polynomial = hermite_e.hermevander(s, degree) * np.exp(-(s**2) / 4)[:, None]
        polynomial /= np.sqrt([float(math.factorial(n)) for n in orders])
        # h_n' = sqrt(n) h_{n-1} - s h_n / 2, of which s h_n is taken away once more
        lower = np.sqrt(orders) * np.pad(polynomial, ((0, 0), (1, 0)))[:, :-1]
        value.append(polynomial)
        turned.append(lower - 1.5 * s[:, None] * polynomial)
    pairs = [(m, n) for m in orders for n in orders if m + n <= degree]
    first, second = np.array(pairs).T
    across = -value[0][:, first] * turned[1][:, second]
    along = turned[0][:, first] * value[1][:, second]
    return np.stack([across, along], -1)
