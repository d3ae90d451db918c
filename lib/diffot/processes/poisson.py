r"""Poisson flow: data spread by the kernel of Poisson's equation.

With one more coordinate t, a charge at :math:`(x_0, 0)` has a field along
:math:`(x - x_0, t) / (|x - x_0|^2 + t^2)^{(d+1)/2}` (Xu et al. 2022). Followed by height, its
lines carry :math:`x_t = x_0 + t \xi`, where :math:`\xi` has the multivariate Cauchy law, and

.. math:: \frac{dx}{dt} = \frac{x - m(x, t)}{t}, \qquad m(x, t) = E[x_0 \mid x_t = x],

which is the flow of variance exploding diffusion with a Cauchy kernel for the Gaussian one:
:class:`~diffot.processes.kernels.StudentKernel` with one degree of freedom. Here is the velocity
from the field itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffot.errors import as_number, require_points


def velocity(x: Tensor, t: float, points: Tensor) -> Tensor:
    """dx/dt = (x - m) / t at height t > 0, shape (B, d), for equal charges at points (n, d).

    The field along x over that along t (Su & Yang 2025, eqs. 13.3 and 13.4).
    """
    require_points(x)
    require_points(points, x.shape[1], "points")
    t = as_number(t, "t", above=0)
    squares = (x[:, None] - points).square().sum(2) + t**2
    weights = torch.softmax(-(x.shape[1] + 1) / 2 * squares.log(), 1)
    return (x - weights @ points) / t
