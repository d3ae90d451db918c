"""The three kinds of schedules: what they promise, and that the flow knows only the ratio."""

import math

import pytest
import torch

from diffot.denoisers.exact import ExactDenoiser
from diffot.laws.mixtures import GaussianMixture
from diffot.processes import schedules
from diffot.samplers.ddim import ddim, invert
from diffot.samplers.ddpm import ddpm
from diffot.samplers.higher_order import dpmpp_2m, heun, unipc

KINDS = {
    "preserving": schedules.scaled_linear(1000, 1e-4, 0.02),
    "exploding": schedules.VarianceExploding(80.0, 0.01),
    "rectified": schedules.Rectified(),
}
each = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
LAW = GaussianMixture(
    [0.3, 0.7],
    [[1.0, -0.5], [-0.6, 0.4]],
    [[[0.6, 0.2], [0.2, 0.3]], [[0.4, -0.1], [-0.1, 0.8]]],
)


def normal(n, seed=0):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def times_of(kind, ratios):
    """When alpha / sigma has these values, by bisection."""
    low, high = torch.zeros_like(ratios), torch.full_like(ratios, float(kind.T))
    for _ in range(200):
        middle = (low + high) / 2
        alpha, sigma = kind.levels(middle)
        later = alpha > ratios * sigma
        low, high = torch.where(later, middle, low), torch.where(later, high, middle)
    return (low + high) / 2


@each
def test_the_ratio_falls_from_data_to_noise(kind):
    alpha, sigma = kind.levels(torch.linspace(0, kind.T, 1001, dtype=torch.float64))
    assert (alpha[0], sigma[0]) == (1, 0)
    assert ((alpha / sigma).diff()[1:] < 0).all()
    kept = {"exploding": alpha, "rectified": alpha + sigma}.get(kind.name, alpha**2 + sigma**2)
    torch.testing.assert_close(kept, torch.ones_like(kept), rtol=0, atol=1e-14)


@each
def test_rates_are_the_derivatives_of_the_levels(kind):
    t = torch.linspace(0.2713, 0.9871, 9, dtype=torch.float64) * kind.T
    h = 1e-5 * kind.T
    later, earlier = kind.levels(t + h), kind.levels(t - h)
    for rate, after, before in zip(kind.rates(t), later, earlier):
        torch.testing.assert_close(rate, (after - before) / (2 * h), rtol=1e-6, atol=1e-9)


@each
def test_moments_under_the_stochastic_equation_are_the_levels(kind):
    """d alpha / dt = f alpha and d sigma^2 / dt = 2 f sigma^2 + g^2."""
    t = torch.linspace(0.1, 0.9, 7, dtype=torch.float64) * kind.T
    (alpha, sigma), (alpha_rate, sigma_rate) = kind.levels(t), kind.rates(t)
    f, g2 = kind.sde(t)
    torch.testing.assert_close(f * alpha, alpha_rate)
    torch.testing.assert_close(2 * f * sigma**2 + g2, 2 * sigma * sigma_rate)


def test_the_variance_preserving_equation_is_that_of_the_betas():
    """g^2 = beta and f = -beta / 2 (Song et al. 2021b, eq. 11), for small steps."""
    kind = schedules.linear(1000, 1e-4, 0.02)
    f, g2 = kind.sde(torch.tensor([250.5, 600.5]).double())
    torch.testing.assert_close(f, -g2 / 2, rtol=1e-10, atol=0)
    betas = 1 - kind.alpha_bar[[251, 601]] / kind.alpha_bar[[250, 600]]
    torch.testing.assert_close(g2, betas, rtol=0.01, atol=0)


def test_paths_of_the_exploding_kind_are_those_of_its_source():
    """Karras et al. 2022, eq. 5 with rho = 7."""
    times = schedules.VarianceExploding(80.0, 0.002).timesteps(18)
    for i in range(18):
        ends = 80 ** (1 / 7), 0.002 ** (1 / 7)
        expected = (ends[0] + i / 17 * (ends[1] - ends[0])) ** 7
        assert float(times[i]) == pytest.approx(expected, rel=1e-12)
    assert times[-1] == 0 and len(times) == 19


@pytest.mark.parametrize("kind", [KINDS["exploding"], KINDS["rectified"]], ids=lambda k: k.name)
def test_times_to_train_at_have_the_stated_law(kind, generator):
    t = kind.draw_times(20_000, generator)
    told = kind.network_time(t)  # uniform on its range, by construction
    assert float(told.min()) >= 0 and float(told.max()) <= 1
    for quantile in (0.1, 0.5, 0.9):
        hits = float((told < quantile).double().mean())
        assert abs(hits - quantile) < 4 * math.sqrt(quantile * (1 - quantile) / 20_000)


@each
def test_the_prior_is_the_law_of_x_T(kind):
    """For data of unit variance: its standard deviation, and the correlation with the data."""
    alpha, sigma = kind.levels(kind.T)
    assert kind.prior_scale == pytest.approx(math.sqrt(alpha**2 + sigma**2))
    assert kind.prior_signal == pytest.approx(float(alpha) / math.sqrt(alpha**2 + sigma**2))


@pytest.mark.parametrize("sampler", [ddim, heun, dpmpp_2m, unipc])
def test_on_equal_ratios_all_kinds_give_the_same_points(sampler):
    ratios = torch.logspace(-1, 1.5, 25, dtype=torch.float64)
    results = []
    for kind in KINDS.values():
        times = times_of(kind, ratios)
        z = kind.sigma(times[0]) * normal(50)
        x = sampler(ExactDenoiser(LAW, kind), z, times.tolist())
        results.append(x / kind.sigma(times[-1]))
    for other in results[1:]:
        assert (other - results[0]).abs().max() < 1e-9 * results[0].abs().max()


# sigma / alpha along paths from 10 to 0 that are evenly spaced, each in its own quantity
PATHS = {
    "preserving": lambda u: torch.tan(math.atan(10) * u),  # the angle
    "exploding": lambda u: 10 * u**7,  # the seventh root of the noise
    "rectified": lambda u: 10 * u / (11 - 10 * u),  # the time
}


def test_in_the_limit_of_many_steps_the_map_depends_on_the_ratio_alone():
    """DDIM, extrapolated from four numbers of steps to infinitely many (Richardson)."""
    z, limits = normal(20), []
    for name, kind in KINDS.items():
        results = []
        for n in (250, 500, 1000, 2000):
            u = torch.linspace(1, 0, n + 1, dtype=torch.float64)[:-1]
            times = torch.cat([times_of(kind, 1 / PATHS[name](u)), torch.zeros(1)])
            x = kind.sigma(times[0]) * z
            results.append(ddim(ExactDenoiser(LAW, kind), x, times.tolist()))
        assert (results[-1] - results[-2]).abs().max() > 1e-4  # there is something to extrapolate
        for order in (1, 2, 3):
            results = [(2**order * b - a) / (2**order - 1) for a, b in zip(results, results[1:])]
        limits.append(results[0])
    for other in limits[1:]:
        assert (other - limits[0]).abs().max() < 1e-6


@each
def test_ancestral_sampling_reaches_the_law(kind, generator):
    n = 4000
    exact = ExactDenoiser(LAW, kind)
    x = ddpm(exact, exact.prior().sample(n, generator), generator, "posterior", 300)
    centered = x - LAW.mean
    products = centered[:, :, None] * centered[:, None]
    error = products.std(0) / n**0.5
    assert ((x.mean(0) - LAW.mean).abs() < 4 * x.std(0) / n**0.5 + 0.01).all()
    assert ((products.mean(0) - LAW.covariance).abs() < 4 * error + 0.02).all()


@each
def test_inversion_comes_back(kind):
    exact, x = ExactDenoiser(LAW, kind), LAW.sample(50, torch.Generator().manual_seed(1))
    errors = []
    for steps in (200, 400, 800):
        times = kind.timesteps(steps)
        errors.append(float((ddim(exact, invert(exact, x, steps), steps) - x).norm()))
        assert len(times) == steps + 1
    assert errors[2] < 0.6 * errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("arguments", [(1.0, 1.0), (0.0, 0.1), (80.0, -1.0), (math.nan, 0.1)])
def test_bad_ranges_of_noise_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        schedules.VarianceExploding(*arguments)
