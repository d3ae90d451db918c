"""Points that are spread more evenly than random ones."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from diffot.errors import as_whole_number, require_generator


def quasi_normal(n: int, dim: int, generator: torch.Generator) -> Tensor:
    """Points spread evenly like N(0, I): a scrambled Sobol sequence through the normal quantiles.

    Averages over them come out nearer to the expectation than over independent draws. Their
    error is estimated from several calls: each scrambling is independent of the others.

    Args:
        n: number of points, best a power of two.

    Returns:
        float64, shape (n, dim).
    """
    n, dim = as_whole_number(n, "n", least=1), as_whole_number(dim, "dim", least=1)
    require_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return torch.from_numpy(qmc.MultivariateNormalQMC(np.zeros(dim), rng=seed).random(n))
