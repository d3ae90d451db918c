r"""Is a map's Jacobian symmetric and positive? By products with vectors, in any dimension.

The Jacobian of an optimal map is the Hessian of a convex function (Brenier 1991). Where it is too
large to be written out, random vectors v with :math:`E[v v^T] = I` tell how far it is from that
(Hutchinson 1990):

.. math:: E \|J v - J^T v\|^2 = \|J - J^T\|^2
              = 2 \operatorname{tr} J J^T - 2 \operatorname{tr} J J,
          \qquad E \|J v\|^2 = E \|J^T v\|^2 = \|J\|^2

in the Frobenius norm. The first is estimated from the differences, which keeps its relative error
small where J is nearly symmetric; as a difference of two estimated traces it would drown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_batch,
    require_finite,
    require_generator,
    require_same_shape,
    require_tensor,
    require_type,
)
from diffot.estimates import Estimate, of_sums
from diffot.flows.jacobian import Jacobian, SymmetricPart


def random_signs(n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Vectors of independent signs, which have mean 0 and covariance I.

    Args:
        n: number of vectors for each point.
        like: points, shape (B, *d).

    Returns:
        Shape (n, B, *d), in the type and on the device of ``like``; drawn where the generator
        is, so that they do not depend on the device.
    """
    n = as_whole_number(n, "n", least=1)
    require_batch(like, "like")
    require_generator(generator)
    signs = torch.randint(2, (n, *like.shape), generator=generator, device=generator.device)
    return (2 * signs - 1).to(like)


def skew_and_whole(jacobian: Jacobian, v: Tensor) -> tuple[Tensor, Tensor]:
    r""":math:`\|J v - J^T v\|^2` and :math:`(\|J v\|^2 + \|J^T v\|^2) / 2` of each vector.

    Their means estimate :math:`\|J - J^T\|^2` and :math:`\|J\|^2` without bias.

    Args:
        jacobian: square, at points (B, *d).
        v: shape (n, B, *d); see :func:`random_signs`.

    Returns:
        Two tensors of shape (n, B), float64.
    """
    require_type(jacobian, Jacobian, "jacobian", "a Jacobian, such as a FunctionJacobian")
    forward = jacobian.product(v)
    require(
        forward.shape == v.shape,
        f"jacobian takes vectors of shape {tuple(v.shape)} to {tuple(forward.shape)}; expected "
        "a square one, of a map between points of the same shape",
    )
    return skew_and_whole_of(forward, jacobian.transposed_product(v))


def skew_and_whole_of(forward: Tensor, backward: Tensor) -> tuple[Tensor, Tensor]:
    """The same, of products J v and J^T v that are at hand, shape (n, B, *d) each."""
    for products, name in ((forward, "forward"), (backward, "backward")):
        require_tensor(products, name, "a floating-point tensor of shape (n, B, *d)")
        require_finite(products, name)
    require_same_shape(forward, backward, ("forward", "backward"))
    forward, backward = (x.flatten(2).double() for x in (forward, backward))
    skew = (forward - backward).square().sum(2)
    return skew, (forward.square().sum(2) + backward.square().sum(2)) / 2


def squared_asymmetry(skew: Tensor, whole: Tensor) -> Estimate:
    r""":math:`\|J - J^T\|^2 / \|J\|^2` at one point, with its standard error over vectors.

    A ratio of means with the error of the jackknife; its bias is of the order of the squared
    relative error. See :func:`~diffot.transport.certificates.jacobian_asymmetry` for the root,
    which is between 0 and 2.

    Args:
        skew, whole: as :func:`skew_and_whole` gives them for one point, shape (n,), n >= 2.
    """
    for values, name in ((skew, "skew"), (whole, "whole")):
        require_tensor(values, name, "a floating-point tensor of shape (n,)")
        require(
            values.ndim == 1 and len(values) >= 2,
            f"{name} has shape {tuple(values.shape)}; expected (n,) with n at least 2",
        )
        require_finite(values, name)
    require(bool(whole.sum() > 0), "whole is zero: the map does not move; leave such points out")
    return of_sums(lambda a, b: a / b, skew, whole)


@dataclass(frozen=True)
class Spectrum:
    r"""The ends of the spectrum of a symmetric matrix S.

    Attributes:
        lowest, highest: the least and the greatest eigenvalue found, Rayleigh quotients. The
            true least one is not above ``lowest``, so that a negative value shows that S is
            not positive.
        lowest_residual, highest_residual: :math:`\|S x - \lambda x\|` of the unit vectors x: an
            eigenvalue is no further away than that.
        products: number of products with S that it took.
    """

    lowest: float
    highest: float
    lowest_residual: float
    highest_residual: float
    products: int


def symmetric_spectrum(
    jacobian: Jacobian, point: Tensor, generator: torch.Generator, tolerance: float = 0.01
) -> Spectrum:
    r"""The ends of the spectrum of :math:`(J + J^T) / 2`, by Lanczos iteration.

    By ARPACK through scipy, in float64 around products in the type of the point. An optimal map
    has no negative eigenvalue: where :math:`x^T J x < 0`, it would be cheaper to exchange the
    images of two latents near each other along x.

    Args:
        jacobian: square, at the point.
        point: shape (1, *d), with at least 4 entries.
        generator: for the vector to start from.
        tolerance: residual by eigenvalue at which to stop.

    Raises:
        scipy's ``ArpackNoConvergence``: if that needs too many products.
    """
    require_type(jacobian, Jacobian, "jacobian", "a Jacobian, such as a FunctionJacobian")
    require_generator(generator)
    require_batch(point, "point")
    tolerance = as_number(tolerance, "tolerance", above=0)
    part, size, products = SymmetricPart(jacobian), point.numel(), 0
    require(
        len(point) == 1 and size >= 4,
        f"point has shape {tuple(point.shape)}; expected (1, *d), with at least 4 entries",
    )

    def apply(x: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        v = torch.from_numpy(x).to(point).reshape(1, *point.shape)
        return part.product(v).double().cpu().numpy().reshape(size)

    start = torch.randn(size, generator=generator, dtype=torch.float64).numpy()
    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    _, vectors = eigsh(operator, k=2, which="BE", ncv=min(12, size), tol=tolerance, v0=start)
    ends = []
    for x in vectors.T:
        image = apply(x)
        value = float(x @ image)
        ends.append((value, float(np.linalg.norm(image - value * x))))
    (lowest, low), (highest, high) = sorted(ends)
    return Spectrum(lowest, highest, low, high, products)
