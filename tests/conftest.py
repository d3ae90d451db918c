import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread for each worker and what it starts, or they get in each other's way. This is read
    # when a library is loaded, so it comes before the first import of one.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"

import torch

from diffot.laws import mixtures
from diffot.processes import schedules


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20)


@pytest.fixture
def schedule() -> schedules.Schedule:
    """The schedule of the thesis' models in the plane."""
    return schedules.scaled_linear(T=1000, beta_1=1e-4, beta_T=0.02)


@pytest.fixture
def oblique() -> mixtures.GaussianMixture:
    """Three components without any symmetry, in the plane."""
    roots = torch.tensor(
        [[[0.9, 0], [0.5, 0.4]], [[0.3, 0], [-0.2, 0.6]], [[0.7, 0], [0.1, 0.2]]]
    )
    return mixtures.GaussianMixture(
        [0.2, 0.3, 0.5],
        torch.tensor([[1.0, 0.5], [-1.0, 0.8], [0.3, -1.2]]),
        roots.double() @ roots.double().mT,
    )
