"""Data in the plane that are not mixtures of a few Gaussians."""

from __future__ import annotations

import torch
from sklearn.datasets import make_s_curve
from torch import Tensor

from diffot.errors import as_whole_number, require_generator
from diffot.laws.mixtures import GaussianMixture, equal_mixture

# The thesis' S-curve (section 4.2): columns 0 and 2 of scikit-learn's, the second halved, both
# stretched, and noise of this standard deviation added.
_STRETCH = torch.tensor([1.9, 0.95], dtype=torch.float64)
_NOISE = 0.15


def s_curve(n: int, generator: torch.Generator) -> Tensor:
    """Draw n points of the thesis' S-curve, float64 of shape (n, 2)."""
    n = as_whole_number(n, "n", least=1)
    require_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    on_curve = torch.from_numpy(make_s_curve(n, random_state=seed)[0][:, [0, 2]].copy())
    noise = torch.randn(n, 2, dtype=torch.float64, generator=generator)
    return _STRETCH * on_curve + _NOISE * noise


def s_curve_mixture(components: int = 400) -> GaussianMixture:
    r"""The law of :func:`s_curve`, as a mixture of Gaussians centered along the curve.

    The curve is :math:`(\sin u, \operatorname{sign}(u) (\cos u - 1))` with u uniform on
    :math:`\pm 3 \pi / 2`; the centers sit in the middle of equal pieces of that range. With 400
    components they are 0.02 to 0.05 apart, at most a third of the noise, and the law is that of
    :func:`s_curve` to within 1e-4.

    Args:
        components: number of Gaussians, at least 1.
    """
    components = as_whole_number(components, "components", least=1)
    level = (torch.arange(components, dtype=torch.float64) + 0.5) / components
    u = 3 * torch.pi * (level - 0.5)
    curve = torch.stack([u.sin(), u.sign() * (u.cos() - 1)], 1)
    return equal_mixture((_STRETCH * curve).tolist(), _NOISE**2)
