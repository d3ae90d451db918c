"""The law of a chain on a grid, against closed forms for one Gaussian."""

import math

import pytest
import torch

from chapters.equations import chain
from diffot.laws.mixtures import GaussianMixture
from diffot.processes import schedules

V = 0.5


def gaussian(**more):
    law = GaussianMixture([1.0], [[0.0]], [[[V]]])
    return chain.Line(law, reach=24.0, cells=1600, **more)


def divergence(v, w):
    """Of N(0, v) from N(0, w)."""
    return (v / w - 1 - math.log(v / w)) / 2


def variance_after(kind, count, scale=1.0):
    """Of what the chain draws for data N(0, V), by its moments; the mean is linear in x."""
    now = 1.0
    for step in chain.steps_of(chain.TABLE, count):
        total = step.alpha**2 * V + step.sigma**2
        slope = scale * step.sigma / total  # of the predicted noise
        factor = step.gamma * (1 - step.sigma * slope) / step.alpha + step.kappa
        known = step.sigma**2 / total  # of the variance of the noise
        unknown = {
            "analytic": 1 - scale**2 * known,
            "residual": 1 - (2 * scale - scale**2) * known,
        }.get(kind)
        last = step.next_sigma == 0
        if kind == "beta" or (kind == "posterior" and last):
            added = step.beta
        elif kind == "posterior":
            added = step.posterior
        else:
            added = step.posterior + (step.gamma * step.sigma / step.alpha) ** 2 * unknown
        now = factor**2 * now + added
    return now


@pytest.mark.parametrize("kind", ["beta", "posterior", "analytic", "residual"])
@pytest.mark.parametrize("count", [3, 8])
def test_the_chain_of_a_gaussian_is_gaussian(kind, count):
    expected = divergence(V, variance_after(kind, count))
    assert chain.chain_divergence(gaussian(), kind, count) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["analytic", "residual"])
def test_the_same_with_a_mean_that_is_not_exact(kind):
    line = gaussian(scale=0.9)
    expected = divergence(V, variance_after(kind, 5, 0.9))
    assert chain.chain_divergence(line, kind, 5) == pytest.approx(expected, abs=1e-9)


def test_for_a_gaussian_the_analytic_chain_is_exact_but_for_its_start():
    """The reverse steps of a Gaussian are Gaussian, whatever the number of steps."""
    for kind in ("analytic", "SN", "NPR"):
        assert chain.chain_divergence(gaussian(), kind, 4) < 1e-8


def test_the_bound_is_one():
    line = chain.Line(chain.pair(), cells=400)
    entropy = -line.width * float(line.density @ line.density.log())
    for kind in chain.VARIANCES:
        bound = sum(chain.bound_terms(line, kind, 6))
        assert bound > entropy + chain.chain_divergence(line, kind, 6)


def test_no_single_variance_has_a_lower_bound_than_the_analytic_one():
    """It is the minimizer: nudged in all steps, the bound rises."""
    line = chain.Line(chain.pair(), cells=300)

    class Nudged(chain.Line):
        factor = 1.0

        def variance(self, kind, step):
            return self.factor * super().variance(kind, step)

    least = sum(chain.bound_terms(line, "analytic", 6))
    for factor in (0.95, 1.05):
        nudged = Nudged(chain.pair(), cells=300)
        nudged.factor = factor
        assert sum(chain.bound_terms(nudged, "analytic", 6)) > least


def test_a_negative_variance_is_refused():
    with pytest.raises(ValueError, match="variance of a step falls to -"):
        chain.chain_divergence(chain.Line(chain.pair(), cells=200, scale=1.1), "analytic", 10)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_family_converges_at_second_order(noise):
    few, many = (chain.family_divergence(gaussian(), noise, count) for count in (50, 100))
    assert 2.5 < few / many < 7


def test_the_pair_is_standardized():
    law = chain.pair()
    assert float(law.mean) == pytest.approx(0, abs=1e-12)
    assert float(law.covariance) == pytest.approx(1)


def test_steps_fit_together():
    path = chain.steps_of(schedules.cosine(50), 7)
    for one, other in zip(path, path[1:]):
        assert (one.next_alpha, one.next_sigma) == (other.alpha, other.sigma)
    assert path[-1].next_sigma == 0 and path[-1].posterior == 0
    assert path[-1].gamma == pytest.approx(1)
    with pytest.raises(ValueError, match="law has 2 dimensions"):
        chain.Line(GaussianMixture([1.0], [[0.0, 0.0]], torch.eye(2)[None]))
