import numpy as np
import pytest
import torch
from scipy import integrate, stats

from diffot.laws import mixtures
from diffot.laws.mixtures import GaussianMixture

LEVELS = [1.0, 0.9, 0.4, 0.01]


def amplitudes(alpha_bar: float) -> tuple[float, float]:
    return alpha_bar**0.5, (1 - alpha_bar) ** 0.5


def scipy_density(mixture: GaussianMixture, x: np.ndarray) -> np.ndarray:
    parts = zip(mixture.weights, mixture.means.numpy(), mixture.covariances.numpy())
    return sum(float(w) * stats.multivariate_normal(m, c).pdf(x) for w, m, c in parts)


def test_log_prob_agrees_with_scipy(oblique, generator):
    x = 3 * torch.randn(50, 2, dtype=torch.float64, generator=generator)
    expected = np.log(scipy_density(oblique, x.numpy()))
    assert np.abs(oblique.log_prob(x).numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("alpha_bar", LEVELS[1:])
def test_diffused_law_is_the_convolution(oblique, alpha_bar):
    """Density of x_t = a x_0 + s eps at a point, by quadrature over x_0."""
    point = np.array([0.3, -0.4])
    a, s2 = alpha_bar**0.5, 1 - alpha_bar
    kernel = stats.multivariate_normal(point, s2 * np.eye(2))
    line = np.linspace(-8, 8, 801)
    x_0 = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    density = scipy_density(oblique, x_0) * kernel.pdf(a * x_0)
    expected = integrate.trapezoid(integrate.trapezoid(density, line), line)
    found = oblique.marginal(a, s2**0.5).log_prob(torch.tensor(point)[None]).exp()
    at_once = oblique.log_prob(torch.tensor(point)[None], a, s2**0.5).exp()
    assert float(at_once) == pytest.approx(float(found), rel=1e-12)
    assert float(found) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("alpha_bar", LEVELS[1:])
def test_posterior_mean_agrees_with_quadrature(oblique, alpha_bar):
    """E[x_0 | x_t] by summing over a grid of x_0."""
    line = np.linspace(-8, 8, 801)
    x_0 = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    prior = scipy_density(oblique, x_0)
    for point in ([0.3, -0.4], [2.0, 1.0], [-1.5, 0.1]):
        noise = stats.multivariate_normal(point, (1 - alpha_bar) * np.eye(2))
        weight = prior * noise.pdf(alpha_bar**0.5 * x_0)
        expected = weight @ x_0 / weight.sum()
        x = torch.tensor([point], dtype=torch.float64)
        found = oblique.posterior_mean(x, *amplitudes(alpha_bar))
        assert np.abs(found[0].numpy() - expected).max() < 1e-10
        centered = x_0 - expected
        covariance = (weight[:, None] * centered).T @ centered / weight.sum()
        found = oblique.posterior_covariance(x, *amplitudes(alpha_bar))
        assert np.abs(found[0].numpy() - covariance).max() < 1e-10


@pytest.mark.parametrize("alpha_bar", LEVELS[1:])
def test_posterior_is_bayes_rule(oblique, alpha_bar, generator):
    """p(x_0 | x_t) = p(x_0) p(x_t | x_0) / p(x_t), at random points."""
    x_t = torch.tensor([0.7, -0.9], dtype=torch.float64)
    x_0 = 1.5 * torch.randn(50, 2, dtype=torch.float64, generator=generator)
    noise = stats.multivariate_normal(x_t.numpy(), (1 - alpha_bar) * np.eye(2))
    joint = scipy_density(oblique, x_0.numpy()) * noise.pdf(alpha_bar**0.5 * x_0.numpy())
    expected = np.log(joint) - float(oblique.log_prob(x_t[None], *amplitudes(alpha_bar)))
    found = oblique.posterior(x_t, *amplitudes(alpha_bar)).log_prob(x_0)
    assert np.abs(found.numpy() - expected).max() < 1e-10


def test_posterior_has_the_posterior_mean(oblique):
    for x in ([0.3, -0.4], [-40.0, 25.0]):
        x = torch.tensor(x, dtype=torch.float64)
        law = oblique.posterior(x, *amplitudes(0.97))
        assert (
            law.mean - oblique.posterior_mean(x[None], *amplitudes(0.97))[0]
        ).abs().max() < 1e-11
    assert len(law.weights) < len(oblique.weights)  # from afar, some components do not count


@pytest.mark.parametrize(("x", "alpha_bar"), [([[0.0, 0.0]], 0.5), ([0.0, 0.0], 1.0)])
def test_posterior_refuses(oblique, x, alpha_bar):
    with pytest.raises(ValueError, match="expected"):
        oblique.posterior(torch.tensor(x), *amplitudes(alpha_bar))


@pytest.mark.parametrize("alpha_bar", LEVELS)
def test_score_is_the_gradient_of_the_density(oblique, alpha_bar, generator):
    x = 2 * torch.randn(40, 2, dtype=torch.float64, generator=generator)
    x.requires_grad_()
    levels = amplitudes(alpha_bar)
    (score,) = torch.autograd.grad(oblique.marginal(*levels).log_prob(x).sum(), x)
    assert (oblique.score(x, *levels) - score).abs().max() < 1e-12


def test_one_level_per_point_is_the_same_as_one_by_one(oblique, generator):
    x = torch.randn(4, 2, dtype=torch.float64, generator=generator)
    levels = [amplitudes(alpha_bar) for alpha_bar in LEVELS]
    together = oblique.posterior_mean(x, *torch.tensor(levels).T)
    apart = [oblique.posterior_mean(x[i : i + 1], *levels[i]) for i in range(4)]
    assert (together - torch.cat(apart)).abs().max() < 1e-7  # LEVELS as float32


def test_samples_have_the_moments_of_the_law(oblique, generator):
    n = 400_000
    x = oblique.sample(n, generator)
    spread = oblique.covariance.diagonal().sqrt()
    assert ((x.mean(0) - oblique.mean) / spread).abs().max() < 4 / n**0.5
    products = (x - oblique.mean)[:, :, None] * (x - oblique.mean)[:, None, :]
    error = products.std(0) / n**0.5
    assert ((products.mean(0) - oblique.covariance) / error).abs().max() < 4


def test_samples_come_from_the_components_with_their_weights(generator):
    law = mixtures.GaussianMixture(
        [0.1, 0.9], torch.tensor([[-9.0], [9.0]]), torch.tensor([[[0.25]], [[4.0]]])
    )
    x = law.sample(100_000, generator)[:, 0]
    left = x[x < 0]
    assert abs(len(left) / 1e5 - 0.1) < 4 * (0.09 / 1e5) ** 0.5
    assert stats.kstest(left.numpy(), stats.norm(-9, 0.5).cdf).pvalue > 1e-4
    assert stats.kstest(x[x > 0].numpy(), stats.norm(9, 2).cdf).pvalue > 1e-4


def test_float32_points_get_float32_answers_computed_in_float64(oblique, generator):
    x = torch.randn(30, 2, generator=generator)
    precise = oblique.posterior_mean(x.double(), 0.8, 0.6)
    single = oblique.posterior_mean(x, 0.8, 0.6)
    assert single.dtype == torch.float32 and torch.equal(single, precise.float())


def test_mode_is_the_nearest_center_of_separate_modes(generator):
    law = mixtures.thesis_mixture("Low2DASymMix")
    x = law.sample(2000, generator)
    assert torch.equal(law.mode(x), torch.cdist(x, law.means).argmin(1))


def test_thesis_mixtures_are_those_of_its_tables():
    asymmetric = mixtures.thesis_mixture("Low2DASymMix")
    assert asymmetric.means.tolist() == [[3, 3], [-5, 5], [-5, -5], [5, -5]]
    assert asymmetric.mean.tolist() == [-0.5, -0.5]
    assert torch.equal(asymmetric.covariances[0], 0.1 * torch.eye(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="did you mean Low2DSymMix"):
        mixtures.thesis_mixture("Low2DSymmMix")


EYE = torch.eye(2)[None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.6], torch.zeros(2, 2), EYE.expand(2, 2, 2)), "sums to 1.1"),
        (([1.5, -0.5], torch.zeros(2, 2), EYE.expand(2, 2, 2)), "positive numbers"),
        (([1.0], torch.zeros(1, 2), -EYE), "positive definite"),
        (([1.0], torch.zeros(1, 2), torch.tensor([[[1.0, 0.5], [0.0, 1.0]]])), "symmetric"),
        (([1.0], torch.zeros(2, 2), EYE), r"expected \(K,\), \(K, d\) and \(K, d, d\)"),
        (([1.0], torch.tensor([[0.0, float("nan")]]), EYE), "means holds 1 values"),
    ],
)
def test_bad_mixtures_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(*arguments)


def test_bad_points_and_levels_are_refused(oblique):
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(B, 2\)"):
        oblique.log_prob(torch.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        oblique.posterior_mean(torch.full((1, 2), float("nan")), 0.8, 0.6)
    with pytest.raises(ValueError, match="one finite number of at least 0"):
        oblique.posterior_mean(torch.zeros(3, 2), -0.1, 1.0)
    with pytest.raises(ValueError, match="one for each point"):
        oblique.posterior_mean(torch.zeros(3, 2), torch.tensor([0.5, 0.5]), 1.0)
    with pytest.raises(ValueError, match=r"alpha is -0\.1; expected a number of at least 0"):
        oblique.marginal(-0.1, 1.0)


@pytest.mark.parametrize("offset", [2.0**10, 2.0**30])
def test_laws_far_from_the_origin(generator, offset):
    """The means and points are multiples of 2^-20, so that the shift does not round them."""
    means, x = (torch.round(torch.randn(3, 2, generator=generator) * 2**20) / 2**20 for _ in "mx")
    means, x = means.double(), x.double()
    covariances = torch.tensor([[[1.0, 0.3], [0.3, 0.1]]], dtype=torch.float64).expand(3, 2, 2)
    weights = [0.25, 0.25, 0.5]
    near = GaussianMixture(weights, means, covariances)
    far = GaussianMixture(weights, means + offset, covariances)
    torch.testing.assert_close(far.log_prob(x + offset), near.log_prob(x), rtol=1e-12, atol=0)
    # alpha = 1/2, so that alpha times the offset is not rounded either
    levels, shifted = (0.5, 0.75**0.5), x + offset / 2
    torch.testing.assert_close(
        far.score(shifted, *levels), near.score(x, *levels), rtol=1e-12, atol=1e-14
    )
    for i in range(3):
        there, here = far.posterior(shifted[i], *levels), near.posterior(x[i], *levels)
        error = (there.means - offset - here.means).abs().max()
        assert error <= offset * torch.finfo(torch.float64).eps


def test_weights_rounded_in_float32_are_accepted_and_good_ones_kept(generator):
    for _ in range(20):
        rounded = torch.softmax(torch.randn(7, generator=generator), 0)
        law = GaussianMixture(rounded, torch.zeros(7, 2), EYE.expand(7, 2, 2))
        assert abs(float(law.weights.sum()) - 1) < 1e-14
    thirds = torch.full((3,), 1 / 3, dtype=torch.float64)
    thirds[0] += 1e-16
    kept = GaussianMixture(thirds, torch.zeros(3, 2), EYE.expand(3, 2, 2)).weights
    assert torch.equal(kept, thirds)
