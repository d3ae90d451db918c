"""Guided flows that can be solved: a Gaussian class in a Gaussian law, and two distant modes."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.guidance import GuidedDenoiser
from diffot.errors import as_number, require, require_covariance, require_same_shape
from diffot.flows.probability import ProbabilityFlow
from diffot.laws.mixtures import GaussianMixture
from diffot.processes.schedules import Rectified
from diffot.transport.gaussian import gaussian_monge_map

_FAR = 400.0  # r |m| from which on the separatrix is followed back


def guided_matrix(whole: Tensor, part: Tensor, weight: float, tolerance: float = 1e-9) -> Tensor:
    r"""The guided map of a centered Gaussian class in a centered Gaussian law, which is linear.

    .. math:: \frac{dM}{dr} = r \big[(1-w) A (I + r^2 A)^{-1} + w B (I + r^2 B)^{-1}\big] M,
              \qquad z \mapsto \lim_{r \to \infty} M z / r .

    If A and B commute it is :math:`A^{(1-w)/2} B^{w/2}`, and its determinant is always that of
    these powers, since :math:`\frac{d}{dr} \log \det M` is the trace of the bracket times r
    (Liouville's formula).

    Args:
        whole: A, the covariance of the law, shape (d, d). part: B, that of the class. As far as
            this algebra goes, B need not be smaller than A, which it is for a class.
        weight: w. tolerance: of the solver's steps.

    Returns:
        Shape (d, d), float64.
    """
    require_covariance(whole, "whole")
    require_covariance(part, "part")
    require_same_shape(whole, part, ("whole", "part"))
    zero = torch.zeros(1, len(whole), dtype=torch.float64)
    free, told = (
        ExactDenoiser(GaussianMixture([1.0], zero, c[None]), Rectified()) for c in (whole, part)
    )
    flow = ProbabilityFlow(GuidedDenoiser(free, told, weight), tolerance)
    return flow.decode(torch.eye(len(whole), dtype=torch.float64)).T


def linear_excess(matrix: Tensor) -> float:
    r"""Relative excess cost of the linear map :math:`z \mapsto M z` of N(0, I).

    :math:`\|M - I\|^2 / \|P - I\|^2 - 1` with :math:`P = (M M^T)^{1/2}`, the optimal map to the
    same Gaussian (Peyré & Cuturi 2019, remark 2.31).

    Args:
        matrix: M, invertible, shape (d, d), not orthogonal.
    """
    identity, zero = torch.eye(len(matrix)).to(matrix), torch.zeros(len(matrix)).to(matrix)
    product = matrix @ matrix.mT
    optimal = gaussian_monge_map(zero, identity, zero, (product + product.mT) / 2).matrix
    cost = float((optimal - identity).square().sum())
    require(cost > 0, "matrix is orthogonal; there is nothing to move")
    return float((matrix - identity).square().sum()) / cost - 1


def separatrix(weight: float) -> float:
    r"""The latent, along the line through two distant modes, that divides them under guidance.

    For modes :math:`\pm m` whose distance is large beside their width, the flow is
    :math:`dz/d\rho = (1 - w) \tanh(\rho z) + w` in :math:`\rho = r |m|`, the class being that of
    +m. The path that ends in neither has :math:`\rho z \to -\operatorname{artanh}(w / (1 - w))`.
    It repels its neighbors and is therefore followed back to :math:`\rho = 0`.

    Args:
        weight: w, at least 0 and below 1/2. Above, all latents end at +m.

    Returns:
        The latent z*; those above it end at +m, a share of :math:`\Phi(-z^*)`.
    """
    weight = as_number(weight, "weight", at_least=0, below=0.5)
    end = -math.atanh(weight / (1 - weight)) / _FAR

    def velocity(rho: float, z: np.ndarray) -> np.ndarray:
        return (1 - weight) * np.tanh(rho * z) + weight

    path = solve_ivp(velocity, (_FAR, 0), [end], "LSODA", rtol=1e-11, atol=1e-12)
    return float(path.y[0, -1])
