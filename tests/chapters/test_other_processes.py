"""Other processes: exact chains, heat and charges on a line, blur, and the excess of maps."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from chapters.other_processes import blur, excess, line, unified
from diffot.laws.mixtures import GaussianMixture
from diffot.transport.bounds import excess_bounds
from diffot.transport.gaussian import gaussian_monge_map
from diffot.transport.triangular import knothe_rosenblatt_map

CHARGES = np.array([-1.5, -0.3, 0.4, 1.4])


def normal(variance):
    return GaussianMixture([1.0], [[0.0]], [[[variance]]])


@pytest.mark.parametrize("kept", [0.0, 0.7])
@pytest.mark.parametrize("steps", [1, 4])
def test_drawn_guesses_give_the_law(kept, steps):
    law, x = unified.pair(), unified.grid(800)
    expected = law.log_prob(x[:, None]).exp() * (x[1] - x[0])
    drawn = unified.drawn_with_samples(law, steps, kept)
    assert float((drawn - expected).abs().sum()) < 1e-8


@pytest.mark.parametrize("kept", [0.0, 0.6])
def test_means_of_a_gaussian_shrink_as_their_moments_say(kept):
    variance, steps = 0.5, 6
    now, path = 1.0, unified.levels(steps)
    for (alpha, sigma), (after, spread) in zip(path, path[1:]):
        gain = alpha * variance / (alpha**2 * variance + sigma**2)
        same = kept * spread / sigma
        factor = after * gain + same * (1 - alpha * gain)
        now = factor**2 * now + spread**2 * (1 - kept**2)
    points, mass = unified.drawn_with_means(normal(variance), steps, kept)
    assert float(mass @ points**2) == pytest.approx(now, rel=1e-6)


def test_the_same_noise_is_ddim():
    """For one Gaussian, a product of factors."""
    variance, steps = 0.5, 6
    factor, path = 1.0, unified.levels(steps)
    for (alpha, sigma), (after, spread) in zip(path, path[1:]):
        gain = alpha * variance / (alpha**2 * variance + sigma**2)
        factor *= after * gain + spread / sigma * (1 - alpha * gain)
    drawn = unified.drawn_with_same_noise(normal(variance), steps, 100)
    expected = factor * torch.special.ndtri(unified.probabilities(100))
    torch.testing.assert_close(drawn, expected)


def test_quantiles_of_a_fine_grid():
    x = unified.grid(4000)
    mass = torch.exp(-(x**2) / 2)
    found = unified.quantiles(x, mass / mass.sum(), 50)
    expected = stats.norm.ppf(unified.probabilities(50).numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_heat_convolves():
    law, width = unified.pair(), 0.02
    x = (np.arange(2000) + 0.5) * width - 20
    density = law.log_prob(torch.from_numpy(x)[:, None]).exp().numpy()
    expected = law.log_prob(torch.from_numpy(x)[:, None], 1.0, 0.7).exp().numpy()
    np.testing.assert_allclose(line.heated(density, width, 0.49), expected, atol=1e-12)


def test_particles_keep_their_quantiles():
    x = torch.linspace(-1.5, 1.5, 7).double()[:, None]
    moved = line.carried(normal(0.5), x, 2.0)
    torch.testing.assert_close(moved, x * math.sqrt(2.5 / 0.5))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_lines_of_force_follow_the_equation_of_motion(share):
    heights = np.array([6.0, 1.0, 0.05])
    places = line.field_line(share, heights, CHARGES)
    found = line.followed_line(places[0], heights, CHARGES)
    assert found == pytest.approx(places[-1], abs=1e-8)
    assert line.below(places[-1], 0.05, CHARGES) == pytest.approx(share)


def test_flux_is_that_of_cauchy():
    expected = np.mean([stats.cauchy(c, 0.7).cdf(0.3) for c in CHARGES])
    assert float(line.below(0.3, 0.7, CHARGES)) == pytest.approx(expected)


def test_the_start_of_one_charge():
    """Total variation of two Cauchy laws that are 2h apart, of width T: (2/pi) arctan(h/T)."""
    expected = 2 / math.pi * math.atan(0.5 * 1.2 / 3.0)
    assert line.start_error(3.0, np.array([1.2])) == pytest.approx(expected, abs=1e-8)


def test_a_shell_pulls_as_its_center_or_not_at_all():
    assert line.shell_pull(0.6) == pytest.approx(0, abs=1e-10)
    assert line.shell_pull(1.7) == pytest.approx(1 / 1.7**2)


def test_blur_of_drawn_images():
    """Closed forms against the samplers themselves, on images drawn from the law."""
    ring = blur.BlurredRing(pixels=8, noise=0.05, time=0.3)
    draws = np.random.default_rng(0)
    clean = draws.normal(size=(40_000, 8)) * np.sqrt(ring.variances)
    start = ring.blur(ring.time) * clean + ring.noise * draws.normal(size=clean.shape)
    path = ring.path(5)
    naive, improved = start, start
    for t, s in zip(path, path[1:]):
        naive = ring.blur(s) * (ring.restoration(t) * naive)
        guess = ring.restoration(t) * improved
        improved = improved + ring.blur(s) * guess - ring.blur(t) * guess
    for drawn, factor in ((naive, blur.naive(ring, 5)), (improved, blur.improved(ring, 5))):
        found = blur.quality(ring, factor)
        total = ring.variances.sum()
        assert np.square(drawn - clean).sum(1).mean() / total == pytest.approx(
            found.error**2, rel=0.02
        )
        assert np.square(drawn).sum(1).mean() / total == pytest.approx(found.variance, rel=0.02)


def test_no_other_factor_has_less_error_than_one_restoration():
    ring = blur.BlurredRing()
    least = blur.quality(ring, blur.one_shot(ring)).error
    assert least < blur.quality(ring, 1.02 * blur.one_shot(ring)).error
    assert least < blur.quality(ring, 0.98 * blur.one_shot(ring)).error


def test_improved_steps_tend_to_the_flow_at_first_order():
    """Its standard deviations are those of the data with the noise that remains."""
    ring = blur.BlurredRing(pixels=8, noise=0.05, time=0.3)
    seen = ring.blur(ring.time) ** 2 * ring.variances + ring.noise**2
    limit = np.sqrt((ring.variances + ring.noise**2) / seen)
    errors = [np.abs(blur.improved(ring, n) / limit - 1).max() for n in (200, 400)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 3.0])
def test_other_units_of_one_gaussian(ratio):
    """The map is D^-1 (D C D)^(1/2), by the Gaussian maps of the library."""
    law = excess.tilted_gaussian()
    units = torch.tensor([math.sqrt(ratio), 1 / math.sqrt(ratio)]).double()
    zero = torch.zeros(2).double()
    stretched = units[:, None] * law.covariance * units
    optimal = gaussian_monge_map(zero, torch.eye(2).double(), zero, stretched)
    z = torch.tensor([[0.3, -1.0], [2.0, 0.5]]).double()
    found = excess.anisotropic_map(law, ratio, 1e-10)(z)
    torch.testing.assert_close(found, optimal.decode(z) / units, atol=1e-8, rtol=0)


def test_in_the_limit_one_coordinate_comes_after_the_other():
    law = excess.four_modes()
    z = torch.tensor([[0.3, -1.0], [1.2, 0.5], [-0.7, 0.8]]).double()
    one_by_one = knothe_rosenblatt_map(law)(z)
    near, far = (
        float((excess.anisotropic_map(law, k, 1e-9)(z) - one_by_one).norm()) for k in (400, 100)
    )
    assert near < 0.4 * far < 0.1


def test_the_excess_of_other_units_is_that_of_matrices():
    task = excess.ExcessTask("one Gaussian", "ratio 4", 0.3, 16)
    bracket = excess_bounds(task.decode(), task.spacing, task.cells)
    law = excess.tilted_gaussian()
    units = torch.tensor([2.0, 0.5]).double()
    spectrum, axes = torch.linalg.eigh(units[:, None] * law.covariance * units)
    moves = (axes * spectrum.sqrt()) @ axes.T / units[:, None]
    cost = float((moves - torch.eye(2)).square().sum())
    optimal = float(2 + torch.trace(law.covariance) - 2 * torch.linalg.svdvals(moves).sum())
    exact = cost / optimal - 1
    assert bracket.lower.value - 2e-3 < exact < bracket.upper.value + 2e-3
    assert bracket.cost == pytest.approx(cost, rel=1e-4)
