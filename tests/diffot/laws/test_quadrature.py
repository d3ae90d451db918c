"""Densities in the plane under noise, by quadrature, against mixtures that are the same law."""

import pytest
import torch
from scipy import integrate

from diffot.denoisers.exact import ExactDenoiser
from diffot.laws.densities import QuarticMixture, random_density
from diffot.laws.mixtures import GaussianMixture
from diffot.laws.quadrature import NoisyDensity
from diffot.processes import schedules
from diffot.samplers.ddim import ddim

MEANS = torch.tensor([[2.0, 0.5], [-1.0, 0.8], [0.3, -1.2]], dtype=torch.float64)
Q1 = torch.tensor(
    [[[1.2, 0.5], [0.5, 0.6]], [[0.8, -0.3], [-0.3, 1.5]], [[2.0, 0.2], [0.2, 0.5]]],
    dtype=torch.float64,
)
# wide and narrow Gaussians, and those on either side of the change of rules
LEVELS = [(0.0, 1.0), (0.1, 1.0), (0.8, 0.6), (1.0, 0.15), (1.0, 0.08), (0.99, 0.02), (2.0, 0.0)]
METHODS = ("log_prob", "score", "posterior_mean", "posterior_covariance")


@pytest.fixture(scope="module")
def pair():
    """The same law as a density, by quadrature, and as a mixture of Gaussians."""
    covariances = torch.linalg.inv(2 * Q1)
    twin = GaussianMixture([1 / 3] * 3, MEANS, (covariances + covariances.mT) / 2)
    return QuarticMixture(MEANS, torch.zeros(3, 2), Q1, torch.zeros(3, 2, 2)), twin


@pytest.mark.parametrize("levels", LEVELS)
def test_all_readings_are_those_of_the_mixture(pair, generator, levels):
    law, twin = pair
    x = twin.marginal(*levels).sample(60, generator)
    for name in METHODS:
        found, expected = (getattr(one, name)(x, *levels) for one in (law, twin))
        # nodes of the Gauss-Hermite rule give a spread to 1e-6 of the noise's
        assert (found - expected).abs().max() < 1e-7 * (1 + expected.abs().max()), name


def test_one_level_for_each_point_is_the_same_as_one_by_one(pair, generator):
    law, twin = pair
    x, (alpha, sigma) = (
        twin.sample(len(LEVELS), generator),
        torch.tensor(LEVELS, dtype=torch.float64).T,
    )
    for name in METHODS:
        together = getattr(law, name)(x, alpha, sigma)
        apart = [getattr(law, name)(x[i : i + 1], *LEVELS[i]) for i in range(len(LEVELS))]
        torch.testing.assert_close(together, torch.cat(apart), rtol=1e-11, atol=1e-12)


def test_a_law_of_fourth_order_by_simpsons_rule():
    law = random_density("compact", torch.Generator().manual_seed(8))
    point, alpha, sigma = torch.tensor([[0.4, -0.3]], dtype=torch.float64), 0.7, 0.5
    line = [torch.linspace(*ends, 601, dtype=torch.float64) for ends in law.box.T]
    x_0 = torch.cartesian_prod(*line)
    noise = (point - alpha * x_0).square().sum(1) / (2 * sigma**2)
    joint = torch.exp(law.log_prob(x_0) - noise) / (2 * torch.pi * sigma**2)

    def integral(values):
        inner = integrate.simpson(values.reshape(601, 601).numpy(), x=line[1].numpy())
        return integrate.simpson(inner, x=line[0].numpy())

    mass = integral(joint)
    mean = torch.tensor([integral(joint * x_0[:, i]) / mass for i in (0, 1)])
    centered = x_0 - mean
    covariance = [
        [integral(joint * centered[:, i] * centered[:, j]) / mass for j in (0, 1)] for i in (0, 1)
    ]
    assert float(law.log_prob(point, alpha, sigma).exp()) == pytest.approx(mass, rel=1e-8)
    assert (law.posterior_mean(point, alpha, sigma)[0] - mean).abs().max() < 1e-8
    found = law.posterior_covariance(point, alpha, sigma)[0]
    assert (found - torch.tensor(covariance)).abs().max() < 1e-8


@pytest.mark.parametrize(("family", "seed"), [("compact", 8), ("separated", 10)])
def test_the_two_rules_agree_where_they_meet(family, seed):
    """Gaussians at the change from one to the other. The finer the grid, the narrower they are,
    and the better is the rule around x / alpha."""
    law = random_density(family, torch.Generator().manual_seed(seed))
    x = law.sample(500, torch.Generator().manual_seed(12))
    errors = []
    for nodes in (160, 320):
        noisy = NoisyDensity(law, nodes)
        spacing = float(((law.box[1] - law.box[0]) / (nodes - 1)).max())
        just = [1.25 * spacing * factor for factor in (1 + 1e-9, 1 - 1e-9)]
        one, other = (noisy.score(x, 1.0, sigma) for sigma in just)
        errors.append(float(((one - other) / (1 + one.abs())).abs().max()))
    assert errors[1] < 1e-7
    assert errors[1] < errors[0] / 100


def test_every_sampler_runs_on_it(pair, generator):
    schedule = schedules.Rectified()
    z = torch.randn(100, 2, dtype=torch.float64, generator=generator)
    one, other = (ddim(ExactDenoiser(law, schedule), z, 50) for law in pair)
    assert (one - other).abs().max() < 1e-7


def test_bad_input_is_named(pair):
    law, _ = pair
    with pytest.raises(ValueError, match=r"sigma is -1\.0 for 3 points"):
        law.score(torch.zeros(3, 2), 1.0, -1.0)
    with pytest.raises(ValueError, match="no points"):
        law.score(torch.zeros(0, 2), 1.0, 1.0)
    with pytest.raises(ValueError, match="nodes is 8"):
        NoisyDensity(law, nodes=8)
    with pytest.raises(TypeError, match="density is"):
        NoisyDensity(torch.zeros(3))
