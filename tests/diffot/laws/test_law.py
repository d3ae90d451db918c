"""What all laws have in common, and the laws of finitely many points."""

import math

import pytest
import torch
from scipy import stats

from diffot.laws.law import Marginal
from diffot.laws.mixtures import equal_mixture
from diffot.laws.points import PointSet


def points(generator, n=6):
    return torch.randn(n, 2, dtype=torch.float64, generator=generator)


def laws(oblique, generator):
    few = PointSet(points(generator))
    noisy = Marginal(oblique, 0.6, 0.5), Marginal(few, 0.7, 0.4)
    return oblique, few, oblique.marginal(0.6, 0.5), *noisy


def test_scores_are_gradients_and_slopes_of_means_are_covariances(oblique, generator):
    for law in laws(oblique, generator):
        x = points(generator, 10).requires_grad_()
        alpha, sigma = torch.rand(2, 10, dtype=torch.float64, generator=generator) + 0.3
        (score,) = torch.autograd.grad(law.log_prob(x, alpha, sigma).sum(), x)
        assert (law.score(x, alpha, sigma) - score).abs().max() < 1e-9
        mean = law.posterior_mean(x, alpha, sigma)
        slope = torch.stack(
            [torch.autograd.grad(mean[:, i].sum(), x, retain_graph=True)[0] for i in (0, 1)], 1
        )
        covariance = law.posterior_covariance(x, alpha, sigma)
        expected = (alpha / sigma**2)[:, None, None] * covariance
        assert (slope - expected).abs().max() < 1e-9


def test_a_marginal_in_general_is_that_of_a_mixture(oblique, generator):
    special, general, x = (
        oblique.marginal(0.6, 0.5),
        Marginal(oblique, 0.6, 0.5),
        points(generator),
    )
    for levels in ((1.0, 0.0), (0.8, 0.3), (0.0, 1.0)):
        for name in ("log_prob", "score", "posterior_mean", "posterior_covariance"):
            one, other = (getattr(law, name)(x, *levels) for law in (special, general))
            assert (one - other).abs().max() < 1e-10, name
    drawn = general.sample(100_000, generator)
    covariance = torch.cov(drawn.T)
    assert (covariance - special.covariance).abs().max() < 0.02 * special.covariance.max()


def test_a_point_set_is_the_limit_of_narrow_gaussians(generator):
    data, x = points(generator), points(generator, 20)
    few, narrow = PointSet(data), equal_mixture(data.tolist(), 1e-13)
    for levels in ((0.9, 0.3), (0.3, 2.0), (0.0, 1.0)):
        for name in ("log_prob", "score", "posterior_mean", "posterior_covariance"):
            one, other = (getattr(law, name)(x, *levels) for law in (few, narrow))
            assert (one - other).abs().max() < 1e-8, name


def test_a_point_set_draws_its_points_equally_often(generator):
    data = points(generator, 5)
    drawn = PointSet(data).sample(5000, generator)
    counts = [(drawn == point).all(1).sum().item() for point in data]
    assert sum(counts) == 5000
    assert stats.chisquare(counts).pvalue > 1e-4


def test_point_sets_of_images_are_those_of_their_values(generator):
    data, x = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64, generator=generator)
    flat = PointSet(data.flatten(1))
    one, other = PointSet(data), flat
    assert torch.equal(
        one.posterior_mean(x, 0.8, 0.6).flatten(1), other.posterior_mean(x.flatten(1), 0.8, 0.6)
    )
    assert torch.equal(one.log_prob(x, 0.8, 0.6), other.log_prob(x.flatten(1), 0.8, 0.6))
    expected = stats.multivariate_normal(0.8 * data[0].flatten(), 0.36).logpdf(x[1].flatten())
    alone = PointSet(data[:1]).log_prob(x[1:2], 0.8, 0.6)
    assert float(alone) == pytest.approx(expected, rel=1e-12)


def test_what_is_undefined_is_refused(generator):
    few, x = PointSet(points(generator)), points(generator, 3)
    for name in ("log_prob", "score", "posterior_mean", "posterior_covariance"):
        with pytest.raises(ValueError, match="sigma is 0"):
            getattr(few, name)(x, 1.0, 0.0)
        with pytest.raises(ValueError, match=r"sigma is -1\.0 for 3 points"):
            getattr(few, name)(x, 1.0, -1.0)
        with pytest.raises(ValueError, match="alpha is nan for 3 points"):
            getattr(few, name)(x, math.nan, 1.0)
    with pytest.raises(ValueError, match="alpha and sigma are both 0"):
        Marginal(few, 0.0, 0.0)
