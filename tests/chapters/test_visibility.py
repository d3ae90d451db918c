"""The columns of the tables on random laws, computed again by other means."""

import math

import numpy as np
import ot
import pytest
import torch

from chapters.random_densities import visibility
from chapters.random_densities.visibility import (
    DensityTask,
    MixtureTask,
    measure_density,
    measure_mixture,
    random_gaussian_mixture,
)
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow
from diffot.laws.densities import QuarticMixture, random_density
from diffot.laws.examples import bent_pair
from diffot.laws.mixtures import GaussianMixture
from diffot.seeds import generator
from diffot.transport.certificates import find_certificate
from diffot.transport.rearrangement import rearrange

# Its map folds.
BENT = bent_pair()
# As sharp as the random densities are.
SMOOTH = GaussianMixture(
    [0.5, 0.5],
    [[1.1, 0.6], [-1.1, -0.6]],
    [[[0.5, -0.3], [-0.3, 0.35]], [[0.3, 0.25], [0.25, 0.55]]],
)
STRAIGHT = {
    "one Gaussian": GaussianMixture([1.0], [[3.0, 1.0]], [[[2.0, 0.9], [0.9, 0.6]]]),
    "a product": GaussianMixture(
        [0.5, 0.5],
        [[-1.0, 0.7], [1.0, 0.7]],
        torch.diag(torch.tensor([0.2, 0.3])).expand(2, 2, 2),
    ),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Four subsamples of 100, a coarser grid, and cycles of one size and 300 at most."""
    monkeypatch.setattr(visibility, "CLOUD", 400)
    monkeypatch.setattr(visibility, "SUBSAMPLES", {100: 4})
    monkeypatch.setattr(visibility, "_SPACING", {"compact": 0.35, "separated": 0.5})

    def find(*arguments, most_points):
        return find_certificate(*arguments, radii=(0.1,), most_points=300)

    monkeypatch.setattr(visibility, "find_certificate", find)


def as_density(mixture):
    """An equal mixture of Gaussians, as a density in the plane."""
    k = len(mixture.weights)
    q1 = torch.linalg.inv(2 * mixture.covariances)
    zero = torch.zeros(k, 2, 2)
    return QuarticMixture(mixture.means, mixture.means, (q1 + q1.mT) / 2, zero)


def fixed(monkeypatch, mixture):
    """Make the functions measure this law."""
    law = as_density(mixture)
    monkeypatch.setattr(visibility, "random_density", lambda family, draws: law)
    monkeypatch.setattr(visibility, "random_gaussian_mixture", lambda dim, draws: mixture)


def excess(x, y):
    """Relative excess cost, by POT's solver on the matrix of all costs."""
    costs = torch.cdist(x, y).square().numpy()
    least = ot.emd2([], [], costs, numItermax=10_000_000)
    return (costs.diagonal().mean() - least) / least


def require_sample_columns(row, x, y):
    parts = [excess(*pair) for pair in zip(x.split(100)[:4], y.split(100)[:4])]
    assert row["excess_100"] == pytest.approx(np.mean(parts), abs=1e-8)
    assert row["error_100"] == pytest.approx(np.std(parts, ddof=1) / 2, abs=1e-8)
    assert row["unmoved_100"] == np.mean(np.abs(parts) < 1e-9)


def asymmetry_and_folds(mixture, reach=5.0, spacing=0.1):
    """Means over N(0, I) in the plane, from the Jacobians of the flow of mixtures."""
    line = torch.arange(-reach, reach + spacing / 2, spacing, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    mass = torch.exp(-(z**2).sum(1) / 2)
    jacobian = ExactFlow(mixture, 1e-8).jacobian(z).numpy()
    turned = np.abs(jacobian[:, 0, 1] - jacobian[:, 1, 0]) * math.sqrt(2)
    share = turned / np.sqrt((jacobian**2).sum((1, 2)))
    off = (jacobian[:, 0, 1] + jacobian[:, 1, 0]) / 2
    trace = jacobian[:, 0, 0] + jacobian[:, 1, 1]
    positive = (trace > 0) & (jacobian[:, 0, 0] * jacobian[:, 1, 1] > off**2)
    mass = (mass / mass.sum()).numpy()
    return mass @ share, mass @ ~positive


# --- Densities in the plane ---------------------------------------------------------------------


@pytest.mark.parametrize("family", ["compact", "separated"])
def test_a_row_belongs_to_its_density(family):
    row = measure_density(DensityTask(family, 1, 0))
    draws = generator(0, f"{family} density 1")
    law = random_density(family, draws)
    x = law.sample(400, draws)
    assert row["components"] == len(law.a1)
    require_sample_columns(row, x, DensityFlow(law, tolerance=1e-10, nodes=256).encode(x))
    assert row["map_error"] < 1e-5


def test_a_bent_density_is_measured_as_the_flow_of_mixtures_says(monkeypatch):
    """With time 8 instead of infinity, which leaves 3e-4 of the signal."""
    fixed(monkeypatch, SMOOTH)
    row = measure_density(DensityTask("compact", 0, 0))
    law = as_density(SMOOTH)
    x = law.sample(400, generator(0, "compact density 0"))
    later = SMOOTH.marginal(math.exp(-8), (1 - math.exp(-16)) ** 0.5)
    codes = ExactFlow(later).decode(ExactFlow(SMOOTH).encode(x))
    require_sample_columns(row, x, codes)
    asymmetry, folded = asymmetry_and_folds(SMOOTH)
    assert row["asymmetry"] == pytest.approx(asymmetry, rel=0.01)
    assert row["folded"] == pytest.approx(folded, abs=1e-3)
    exact = rearrange(ExactFlow(SMOOTH, 1e-8).decode_with_jacobian, spacing=0.25)
    assert row["population"] == pytest.approx(exact.relative_excess, rel=0.05)
    assert row["certified"] == 1 and row["gain"] > 0 and 2 <= row["cycle"] <= 300
    missed = (DensityFlow(law).encode(x) - codes)[:200].square().sum(1).mean().sqrt()
    assert row["map_error"] == pytest.approx(float(missed), rel=0.1)


@pytest.mark.parametrize("name", STRAIGHT)
def test_nothing_is_found_for_a_density_whose_map_is_optimal(monkeypatch, name):
    fixed(monkeypatch, STRAIGHT[name])
    row = measure_density(DensityTask("separated", 0, 0))
    for key in ("excess_100", "error_100", "folded", "certified"):
        assert row[key] == 0, key
    assert row["unmoved_100"] == 1
    assert row["asymmetry"] < 1e-9
    assert abs(row["population"]) < 1e-7
    assert row["map_error"] < 1e-8


# --- Mixtures in any dimension ------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 5])
def test_a_row_belongs_to_its_mixture(dim):
    row = measure_mixture(MixtureTask(dim, 1, 0))
    draws = generator(0, f"mixture 1 in dimension {dim}")
    law = random_gaussian_mixture(dim, draws)
    x = law.sample(400, draws)
    assert row["components"] == len(law.weights)
    require_sample_columns(row, x, ExactFlow(law).encode(x))
    z = torch.randn(3000, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    jacobian = ExactFlow(law, 1e-8).jacobian(z).numpy()
    turned = np.sqrt(((jacobian - jacobian.swapaxes(1, 2)) ** 2).sum((1, 2)))
    share = turned / np.sqrt((jacobian**2).sum((1, 2)))
    error = share.std() * math.sqrt(1 / 500 + 1 / 3000)
    assert abs(row["asymmetry"] - share.mean()) < 5 * error
    assert error < 0.1 * share.mean()
    assert row["certified"] == 1 and row["gain"] > 0


def test_a_folded_mixture(monkeypatch):
    monkeypatch.setattr(visibility, "CLOUD", 2500)
    monkeypatch.setattr(visibility, "SUBSAMPLES", {100: 4, 2500: 1})
    fixed(monkeypatch, BENT)
    row = measure_mixture(MixtureTask(2, 0, 0))
    x = BENT.sample(2500, generator(0, "mixture 0 in dimension 2"))
    y = ExactFlow(BENT).encode(x)
    require_sample_columns(row, x, y)
    assert row["unmoved_100"] < 1 and row["error_100"] > 0
    assert row["relative_error"] == row["excess_2500"] == pytest.approx(excess(x, y), abs=1e-8)
    assert row["relative_error"] > 1e-3
    assert (row["error_2500"], row["unmoved_2500"]) == (0, 0)
    assert row["cost"] == pytest.approx(float((x - y).square().sum(1).mean()), rel=1e-8)
    asymmetry, folded = asymmetry_and_folds(BENT)
    assert row["asymmetry"] == pytest.approx(asymmetry, rel=0.2)
    assert row["folded"] > 0
    assert abs(row["folded"] - folded) < 4 * math.sqrt(folded / 500)
    assert row["certified"] == 1


@pytest.mark.parametrize("name", STRAIGHT)
def test_nothing_is_found_for_a_mixture_whose_map_is_optimal(monkeypatch, name):
    fixed(monkeypatch, STRAIGHT[name])
    row = measure_mixture(MixtureTask(2, 0, 0))
    assert row["certified"] == row["folded"] == row["excess_100"] == 0
    assert row["asymmetry"] < 1e-7 and row["unmoved_100"] == 1


def test_random_mixtures_have_the_stated_parameters():
    draws = torch.Generator().manual_seed(2)
    laws = [random_gaussian_mixture(3, draws) for _ in range(200)]
    assert {len(law.weights) for law in laws} == {2, 3, 4}
    assert all(1 <= float(a.weights.max() / a.weights.min()) <= 2 for a in laws)
    spread = torch.linalg.eigvalsh(torch.cat([a.covariances for a in laws])).sqrt()
    assert 0.3 - 1e-9 < float(spread.min()) < 0.31 and 0.99 < float(spread.max()) < 1 + 1e-9
    logs = spread.log()
    middle = math.log(0.3) / 2
    assert abs(float(logs.mean()) - middle) < 4 * float(logs.std()) / math.sqrt(logs.numel())
    means = torch.cat([a.means for a in laws])
    assert abs(float(means.square().mean()) - 2) < 4 * 2 * math.sqrt(2 / means.numel())
    with pytest.raises(ValueError, match="dim is 1; expected a whole number of at least 2"):
        random_gaussian_mixture(1, draws)


def test_a_row_depends_on_index_and_seed_alone():
    first = measure_mixture(MixtureTask(2, 3, 0))
    assert measure_mixture(MixtureTask(2, 3, 0)) == first
    assert measure_mixture(MixtureTask(2, 4, 0))["asymmetry"] != first["asymmetry"]
    assert measure_mixture(MixtureTask(2, 3, 1))["asymmetry"] != first["asymmetry"]
