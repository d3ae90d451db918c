"""Maps along a training, and the bound on W2 by errors of the score, by other routes."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from chapters.during_training import measurements
from chapters.during_training.bounds import error_bounds
from chapters.during_training.gaussian import ScaledScore, WrongGaussian, stretch_digits
from chapters.during_training.measurements import TrainingTask
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.laws.mixtures import GaussianMixture, equal_mixture
from diffot.learning import networks
from diffot.processes.schedules import VarianceExploding
from diffot.samplers.ddim import ddim

WRONG = [(1.0, 0.5, 0.25, 30.0), (0.25, 1.0, 2.0, 10.0), (4.0, -0.3, 1.0, 3.0)]
NOISES = np.geomspace(1e-6, 1, 20_001)


@pytest.mark.parametrize("case", WRONG)
def test_the_bound_for_a_flow_of_gaussians_is_an_arc_and_w2_its_chord(case):
    v, m, w, noise = case
    s = np.concatenate([[0], noise * NOISES])
    mean, deviation = m * np.sqrt(w / (w + s**2)), np.sqrt(w * (v + s**2) / (w + s**2))
    assert np.allclose(deviation**2 + (w - v) * (mean / m) ** 2, w)
    found = WrongGaussian(*case).flow()
    length = np.hypot(np.diff(mean), np.diff(deviation)).sum()
    chord = math.hypot(mean[-1] - mean[0], deviation[-1] - deviation[0])
    assert found.bound == pytest.approx(length, rel=1e-6)
    assert found.distance == pytest.approx(chord, rel=1e-9)
    assert found.distance < found.bound


@pytest.mark.parametrize("case", [(1.0, 0.7, 1.0, 20.0), (1.0, 0.0, 0.3, 20.0), (1, 0, 5, 20)])
def test_for_a_shift_or_a_wrong_width_alone_the_bound_is_tight(case):
    assert WrongGaussian(*case).flow().ratio == pytest.approx(1, abs=1e-9)
    assert WrongGaussian(*case).diffusion().ratio <= 1 + 1e-9


def test_a_right_model_has_no_error():
    right = WrongGaussian(1.0, 0.0, 1.0, 20.0).flow()
    assert right.distance == right.bound == 0 and math.isnan(right.ratio)


@pytest.mark.parametrize("case", WRONG)
def test_ddim_with_many_steps_approaches_the_closed_form(case):
    v, m, w, noise = case
    schedule = VarianceExploding(noise, 1e-3)
    exact, model = (
        ExactDenoiser(equal_mixture([[mean]], variance), schedule)
        for mean, variance in ((0.0, v), (m, w))
    )
    levels = (torch.arange(500, dtype=torch.float64) + 0.5) / 500
    x = torch.special.ndtri(levels)[:, None]
    x = x / x.square().mean().sqrt() * math.sqrt(v + noise**2)
    closed, errors = WrongGaussian(*case).flow(), []
    for steps in (60, 120):
        found = error_bounds(exact, model, x, steps)
        # on the line all points of a linear map are stretched alike
        assert 10**found.uniform_digits == pytest.approx(found.carried, rel=1e-6)
        errors.append([found.distance / closed.distance - 1, found.carried / closed.bound - 1])
    first, second = np.abs(errors)
    assert (second < 0.02).all() and np.allclose(first / second, 2, atol=0.3)


@pytest.mark.parametrize("case", WRONG)
def test_the_diffusion_of_gaussians_has_the_moments_of_its_equations(case):
    """Mean and variance by their own equations, and two paths with the same noise between."""
    v, m, w, noise = case

    def rate(s, moments):
        mean, variance, gap, square = moments
        slope, there = s / (w + s**2), s / (v + s**2)
        # x has variance v + s^2 on the way; gap = E[x (x - y)], square = E[(x - y)^2], m aside
        return [
            2 * slope * (mean - m),
            4 * slope * variance - 2 * s,
            2 * there * gap + 2 * (there - slope) * (v + s**2) + 2 * slope * gap,
            4 * slope * square + 4 * (there - slope) * gap,
        ]

    start = [0.0, v + noise**2, 0.0, 0.0]
    end = solve_ivp(rate, (noise, 0), start, rtol=1e-10, atol=1e-12).y[:, -1]
    mean, variance, _, square = end
    found = WrongGaussian(*case).diffusion()
    distance = math.hypot(mean, math.sqrt(variance) - math.sqrt(v))
    assert found.distance == pytest.approx(distance, rel=1e-6)
    coupled = math.hypot(mean, math.sqrt(square))
    assert found.distance <= coupled * (1 + 1e-9) and coupled <= found.bound * (1 + 1e-9)


@pytest.mark.parametrize("case", [(4.0, 1.2, 0.2, 4.0), (0.5, 0.8, -0.4, 2.0)])
def test_a_scaled_score_by_its_flow(case):
    v, c, h, time = case

    def rate(t, state):
        variance = 1 + (v - 1) * math.exp(-t)
        return [
            (-0.5 + 0.5 * c / variance) * state[0],
            (-0.5 + 0.5 * c / variance) * state[1] - h / 2,
        ]

    scale, mean = solve_ivp(rate, (time, 0), [1.0, 0.0], rtol=1e-11, atol=1e-13).y[:, -1]
    start = math.sqrt(1 + (v - 1) * math.exp(-time))
    found = ScaledScore(*case).corrected()
    assert found.distance == pytest.approx(math.hypot(mean, scale * start - math.sqrt(v)))
    assert found.ratio < 1
    assert ScaledScore(*case).printed(1.0).bound == 2 * ScaledScore(*case).printed(0.5).bound


def test_the_stretch_between_two_modes():
    for v, m, noise in ((0.1, 2.0, 30.0), (0.5, 1.0, 5.0)):
        found = stretch_digits(equal_mixture([[-m], [m]], v), torch.zeros(1, 1), noise)
        closed = m**2 / 2 * (1 / v - 1 / (v + noise**2)) + math.log(v / (v + noise**2)) / 2
        assert found == pytest.approx(closed / math.log(10), abs=1e-4)
        single = stretch_digits(equal_mixture([[m]], v), torch.zeros(1, 1), noise)
        assert single == pytest.approx(math.log10(v / (v + noise**2)) / 2, abs=1e-4)


def test_errors_of_affine_steps_are_carried_by_products_of_matrices(schedule, generator):
    laws = [
        GaussianMixture([1.0], [[0.3, -0.2]], [[[1.0, 0.6], [0.6, 0.8]]]),
        GaussianMixture([1.0], [[0.1, 0.4]], [[[0.5, -0.2], [-0.2, 1.5]]]),
    ]
    exact, model = (ExactDenoiser(law, schedule) for law in laws)
    x = torch.randn(50, 2, dtype=torch.float64, generator=generator)
    times = schedule.timesteps(6).tolist()
    matrices, slips, here = [], [], x
    for step in zip(times, times[1:]):
        unit = ddim(model, torch.eye(2).double(), step) - ddim(
            model, torch.zeros(1, 2).double(), step
        )
        matrices.append(unit.T)
        there = ddim(exact, here, step)
        slips.append(ddim(model, here, step) - there)
        here = there
    carried, uniform, after = 0.0, 0.0, torch.eye(2).double()
    stretch = 1.0
    for matrix, slip in zip(reversed(matrices), reversed(slips)):
        carried += float((slip @ after.T).square().sum(1).mean().sqrt())
        uniform += stretch * float(slip.square().sum(1).mean().sqrt())
        after, stretch = after @ matrix, stretch * float(torch.linalg.matrix_norm(matrix, 2))
    found = error_bounds(exact, model, x, 6)
    assert found.carried == pytest.approx(carried)
    assert 10**found.uniform_digits == pytest.approx(uniform)
    assert 10**found.stretch_digits == pytest.approx(stretch)


def test_the_bounds_are_in_order(schedule, oblique, generator):
    exact = ExactDenoiser(oblique, schedule)
    network = networks.build({"class": "MLP", "dim": 2, "activation": "silu"}, 0)
    model = NetworkDenoiser(network.requires_grad_(False), schedule)
    x = torch.randn(60, 2, dtype=torch.float64, generator=generator)
    found = error_bounds(exact, model, x, 10)
    ends = ddim(exact, x, 10), ddim(model, x, 10)
    assert found.distance == pytest.approx(
        float((ends[0] - ends[1]).square().sum(1).mean() ** 0.5)
    )
    assert measurements.law_distance(*ends) <= found.distance <= found.carried
    assert found.carried <= 10**found.uniform_digits
    itself = error_bounds(exact, exact, x, 10)
    assert itself.distance == 0  # beside other points, a sum may be rounded otherwise
    assert itself.carried < 1e-14 and itself.uniform_digits < -14


@pytest.fixture
def small(monkeypatch):
    sizes = {"SAMPLER_STEPS": 4, "JACOBIANS": 10, "BOUND_LATENTS": 5, "NOISES": 50, "BATCH": 16}
    for name, value in sizes.items():
        monkeypatch.setattr(measurements, name, value)
    monkeypatch.setattr(measurements, "MOMENTS", (0, 2, 5))
    monkeypatch.setitem(measurements.NETWORK, "widths", [8])


@pytest.mark.usefixtures("small")
def test_a_row_says_the_same_of_a_moment_however_long_the_training(generator):
    """At a constant rate; and its columns are those of the networks trained."""
    long, short = (TrainingTask("V", "constant", 3, n, points=24) for n in (5, 2))
    row, part = measurements.measure_training(long), measurements.measure_training(short)
    assert all(row[name] == part[name] for name in part)
    exact = long.exact()
    z = torch.randn(30, 2, dtype=torch.float64, generator=generator)
    *before, (weights, step, model) = measurements.trained(long)
    assert len(before) == 5 and (weights, step) == ("average", 5)
    x = ddim(model, z, 4)
    reference = ddim(exact, z, 4)
    found = measurements.map_columns(model, z, reference, exact.law.sample(30, generator))
    off = (x - reference).norm(dim=1)
    assert found["map_median"] == pytest.approx(float(off.median()))
    assert found["map_distance"] == pytest.approx(float(off.square().mean().sqrt()))
    assert measurements.map_columns(exact, z, reference, x)["map_distance"] == 0


@pytest.mark.usefixtures("small")
def test_curves_have_a_line_for_each_moment_and_set_of_weights():
    tasks = [TrainingTask(law, "cosine", 0, 5, points=12) for law in measurements.LAWS]
    rows = [measurements.measure_training(task) for task in tasks]
    table = pd.DataFrame([{**vars(task), **row} for task, row in zip(tasks, rows)])
    curves = measurements.curves(table)
    assert len(curves) == 2 * 2 * 3
    for line in curves.itertuples():
        row = rows[list(measurements.LAWS).index(line.law)]
        assert line.excess == row[f"excess_{line.weights}_{line.step}"]
        assert line.asymmetry == row[f"asymmetry_{line.weights}_{line.step}"]
        assert np.isnan(line.bound_carried) == (line.weights == "average")


def test_the_interval_covers_the_mean_as_often_as_it_says(generator):
    values = torch.randn(5, 4000, dtype=torch.float64, generator=generator).numpy() + 3
    low, high = measurements.interval(values, 0.9)
    covered = ((low < 3) & (high > 3)).mean()
    assert abs(covered - 0.9) < 4 * (0.9 * 0.1 / 4000) ** 0.5
    with pytest.raises(ValueError, match="at least two"):
        measurements.interval(values[:1])


def test_the_distance_of_samples_is_that_of_the_best_assignment(generator):
    x, y = (torch.randn(40, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    costs = cdist(x, y, "sqeuclidean")
    best = costs[linear_sum_assignment(costs)].mean() ** 0.5
    assert measurements.law_distance(x, y) == pytest.approx(best)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("W", "constant", 0), "law"),
        (("V", "falling", 0), "decay"),
        (("V", "constant", -1), "seed"),
        (("V", "constant", 0, 0), "iterations"),
        (("V", "constant", 0, 10, 1.5), "points"),
    ],
)
def test_a_task_says_what_is_wrong_with_it(arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        TrainingTask(*arguments)
