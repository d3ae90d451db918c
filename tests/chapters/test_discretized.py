"""The discretizations of the paper: each has the order that it should have."""

import math

import numpy as np
import pytest
import torch

from chapters.random_densities.discretized import linear_in_time, runge_kutta, tabulated
from diffot.flows.density import DensityFlow
from diffot.laws.densities import QuarticMixture


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(scope="module")
def law():
    """Two wide components, one of them bent."""
    return QuarticMixture(
        tensor([[0.8, 0.3], [-0.9, 0.5]]),
        tensor([[0.0, -0.5], [0.5, 0.0]]),
        tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.3, -0.1], [-0.1, 0.6]]]),
        tensor([[[0.02, 0.0], [0.0, 0.04]], [[0.1, 0.02], [0.02, 0.05]]]),
    )


@pytest.fixture(scope="module")
def gaussian():
    """One Gaussian, its mean and its covariance."""
    q1 = tensor([[0.9, 0.4], [0.4, 0.5]])
    mean, zero = tensor([[0.6, -0.4]]), torch.zeros(1, 2, 2)
    return QuarticMixture(mean, mean, q1[None], zero), mean[0], torch.linalg.inv(2 * q1)


@pytest.fixture(scope="module")
def x(law):
    return law.sample(50, torch.Generator().manual_seed(1))


def later(covariance, t):
    """Covariance of x_t."""
    return math.exp(-2 * t) * covariance - math.expm1(-2 * t) * torch.eye(2).double()


def gaussian_score(mean, covariance):
    def score(x, t):
        return -(x - math.exp(-t) * mean) @ torch.linalg.inv(later(covariance, t))

    return score


def grid(end, steps):
    return np.linspace(0, end, steps + 1).tolist()


def order(errors):
    """Of convergence, from errors at twice as many steps each time."""
    return -np.polyfit(np.log(2.0 ** np.arange(len(errors))), np.log(errors), 1)[0]


def rms(error):
    return float(error.square().sum(1).mean().sqrt())


# --- Steps --------------------------------------------------------------------------------------


def test_steps_are_of_fourth_order(law, x):
    score, exact = DensityFlow(law, nodes=320).score, DensityFlow(law, 1.0, 1e-12, 320).encode(x)
    errors = [rms(runge_kutta(score, x, grid(1.0, n)) - exact) for n in (32, 64, 128)]
    assert errors[-1] < 1e-7
    assert 3.7 < order(errors) < 4.4


def test_one_gaussian_there_and_back(gaussian):
    """In closed form x - alpha m = (S_t^{1/2} C^{-1/2}) (x_0 - m)."""
    _, mean, covariance = gaussian
    score = gaussian_score(mean, covariance)
    x = 2 * torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    spectrum, axes = torch.linalg.eigh(covariance)
    stretch = ((math.exp(-2.0) * spectrum - math.expm1(-2.0)) / spectrum).sqrt()
    exact = math.exp(-1.0) * mean + (x - mean) @ ((axes * stretch) @ axes.mT)
    errors = [rms(runge_kutta(score, x, grid(1.0, n)) - exact) for n in (8, 16, 32, 64)]
    assert 3.7 < order(errors) < 4.3
    times = grid(1.0, 200)
    back = runge_kutta(score, runge_kutta(score, x, times), times[::-1])
    assert rms(back - x) < 1e-8


def test_steps_of_any_length(law, x):
    score, exact = DensityFlow(law).score, DensityFlow(law, 1.0, 1e-12).encode(x)
    graded = [(k / 40) ** 2 for k in range(41)]
    assert rms(runge_kutta(score, x, graded) - exact) < 1e-5


# --- Linear interpolation in time ---------------------------------------------------------------


def test_interpolation_in_time_is_of_second_order(law, x):
    """Along a path, with steps that end where the pieces do."""
    score = DensityFlow(law).score
    exact, errors = DensityFlow(law, 1.0, 1e-12).encode(x), []
    for n in (8, 16, 32, 64):
        path = runge_kutta(linear_in_time(score, grid(1.0, n)), x, grid(1.0, 2 * n))
        errors.append(rms(path - exact))
    assert 1.8 < order(errors) < 2.2


def test_interpolation_in_time_meets_the_score_and_is_straight_between():
    """On uneven times, for a score whose value is t itself and one that is t squared."""
    times, point = [0.0, 0.1, 0.5, 2.0], torch.zeros(1, 2, dtype=torch.float64)
    straight = linear_in_time(lambda x, t: x + t, times)
    square = linear_in_time(lambda x, t: x + t**2, times)
    for t in (0.0, 0.05, 0.1, 0.3, 0.5, 1.9, 2.0):
        assert straight(point, t)[0, 0] == pytest.approx(t, abs=1e-15)
    for t in times:
        assert square(point, t)[0, 0] == pytest.approx(t**2, abs=1e-15)
    assert square(point, 0.3)[0, 0] == pytest.approx((0.01 + 0.25) / 2)


# --- Tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [0.0, 0.3, 1.5])
def test_a_table_is_of_second_order_in_its_spacing(law, time):
    x = DensityFlow(law, time).encode(law.sample(200, torch.Generator().manual_seed(3)))
    exact = DensityFlow(law).score(x, time)
    errors = [rms(tabulated(law, n, 8.0)(x, time) - exact) for n in (33, 65, 129, 257)]
    assert errors[-1] < 3e-3
    assert 1.7 < order(errors) < 2.3


@pytest.mark.parametrize("time", [0.0, 0.2, 3.0])
def test_a_table_is_exact_for_a_gaussian(gaussian, time):
    """Differences of a square and straight lines are, up to rounding, where p_t is not small."""
    law, mean, covariance = gaussian
    x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x = math.exp(-time) * mean + x @ torch.linalg.cholesky(later(covariance, time)).mT
    error = tabulated(law, 129)(x, time) - gaussian_score(mean, covariance)(x, time)
    assert float(error.abs().max()) < 1e-10


def test_a_table_does_not_depend_on_the_order_of_the_times(law, x):
    """It keeps what it has computed for the last times only."""
    score = tabulated(law, 65)
    first = [score(x, t) for t in (0.0, 0.1, 0.2, 0.3)]
    again = [score(x, t) for t in (0.3, 0.2, 0.1, 0.0)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not torch.equal(first[0], first[1])


# --- What is refused ----------------------------------------------------------------------------


def test_bad_input_is_named(law):
    point, score = torch.zeros(1, 2), DensityFlow(law).score
    with pytest.raises(ValueError, match=r"times has shape \(1,\); expected at least two"):
        runge_kutta(score, point, [0.0])
    with pytest.raises(ValueError, match=r"shape \(1, 3\); expected \(B, 2\)"):
        runge_kutta(score, torch.zeros(1, 3), [0.0, 1.0])
    for t in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"t is {t}; expected a number from 0 to 1"):
            linear_in_time(score, [0.0, 1.0])(point, t)
    with pytest.raises(ValueError, match="nodes is 8; expected a whole number of at least 16"):
        tabulated(law, 8)
    with pytest.raises(ValueError, match=r"shape \(2,\); expected \(B, 2\)"):
        tabulated(law, 33)(point[0], 0.0)
