"""One map by several processes, lines that meet or not, and the rows of the methods."""

import numpy as np
import pandas as pd
import pytest
import torch

from chapters.transport_methods import measurements, methods, paths
from chapters.transport_methods.methods import (
    METHODS,
    BracketTask,
    MethodTask,
    exact_flow,
    semidiscrete,
)
from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.exact import ExactFlow
from diffot.laws.mixtures import GaussianMixture, equal_mixture
from diffot.processes import schedules

LAW = equal_mixture([[1.0, 0.5], [-1.0, 0.8]], [0.2, 0.3])


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.VarianceExploding(300.0),
        schedules.Rectified(),
        schedules.linear(400, 1e-4, 0.08),
    ],
    ids=lambda schedule: schedule.name,
)
def test_a_process_followed_in_its_own_time_is_the_flow(schedule, generator):
    """From where the law is nearly N(0, I) to where nearly nothing is left of the noise."""
    z = torch.randn(20, 2, dtype=torch.float64, generator=generator)
    x = paths.own_time(ExactDenoiser(LAW, schedule), z, 0.005, 40.0, 400)
    assert torch.allclose(x, ExactFlow(LAW).decode(z), atol=0.05)


def test_own_time_converges_with_order_four(generator):
    z = torch.randn(20, 2, dtype=torch.float64, generator=generator)
    denoiser = ExactDenoiser(LAW, schedules.Rectified())
    fine = paths.own_time(denoiser, z, 0.1, 5.0, 800)
    errors = [
        float((paths.own_time(denoiser, z, 0.1, 5.0, n) - fine).norm(dim=1).max())
        for n in (10, 20, 40)
    ]
    order = -np.polyfit(np.log([10, 20, 40]), np.log(errors), 1)[0]
    assert 3.3 < order < 5


def test_crossing_of_a_gaussian_is_that_of_its_root():
    covariance = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    root = torch.linalg.cholesky(covariance)
    found = paths.crossing(ExactFlow(GaussianMixture([1.0], [[1.0, 2.0]], covariance[None])), 0.5)
    assert found.determinant == pytest.approx(float(torch.linalg.det(root)), rel=1e-8)
    trace = float(torch.linalg.eigvalsh(covariance).sqrt().sum())
    assert found.trace == pytest.approx(trace, rel=1e-8)
    assert found.negative == 0 and found.latents == 197


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_row_that_repeats(method, monkeypatch):
    monkeypatch.setattr(methods, "BRIDGE_PAIRS", 50)
    settings = {"minibatch": 64, "reflow": 1, "entropic": 0.5, "semi-discrete": 20}
    setting = {**settings, "bridge": 0.5, "convex network": 30}.get(method, 0)
    task = MethodTask("Low2DASymMix", method, setting, 0, iterations=1, points=40)
    row, again = measurements.measure_method(task), measurements.measure_method(task)
    timed = {name for name in row if name.startswith("seconds")}
    assert timed and all(row[name] == again[name] for name in set(row) - timed)
    assert row["law_distance_0"] > 0 and row["drift_0"] == 0


def test_rows_become_a_line_for_each_map():
    row = {"law": "V", "method": "reflow", "setting": 1.0, "seed": 0, "floor": 0.1, "exact": 0.2}
    row |= {"law_distance_0": 1.0, "law_distance_1": 2.0, "drift_0": 0.0, "drift_1": 0.5}
    row |= {"seconds_0": "0.1", "seconds_1": "0.2"}
    lines = measurements.maps(pd.DataFrame([row]))
    assert lines["round"].tolist() == [0, 1] and lines.drift.tolist() == [0.0, 0.5]
    assert lines.law_distance.tolist() == [1.0, 2.0] and (lines.exact == 0.2).all()
    assert lines.name.tolist() == ["flow matching", "reflow"]
    assert lines.gap.tolist() == [0.8, 1.8] and (lines.floor == 0.1).all()


def test_averages_are_over_seeds():
    rows = [
        {"law": "V", "method": "entropic", "setting": 1.0, "seed": seed, "floor": 0.1,
         "exact": 0.2, "law_distance_0": value, "seconds_0": "0.1", "lower_0": low}
        for seed, (value, low) in enumerate([(1.0, 3.0), (2.0, None), (4.0, 5.0)])
    ]  # fmt: skip
    (line,) = measurements.averages(
        measurements.maps(pd.DataFrame(rows)), ["law_distance", "lower"]
    ).to_dict("records")
    assert line["law_distance"] == pytest.approx(7 / 3) and line["lower"] == 4.0
    assert line["law_distance_error"] == pytest.approx(np.std([1, 2, 4], ddof=1) / 3**0.5)
    assert line["lower_error"] == pytest.approx(1.0) and line["round"] == 0


def test_the_semidiscrete_map_gives_every_point_its_share(generator):
    task = MethodTask("density", "semi-discrete", 5, 0, points=40)
    (made,) = semidiscrete(task)
    assert torch.allclose(made.map.masses(), torch.full((5,), 0.2).double(), atol=1e-9)


def test_an_exact_flow_is_bracketed_near_its_sampled_excess():
    bracket = measurements.measure_bracket(BracketTask("V", "exact flow", 0, 0, spacing=0.5))
    row = measurements.measure_method(MethodTask("V", "exact flow", 0, 0, points=500))
    assert 0.005 < bracket["lower_0"] <= bracket["upper_0"] < 0.05
    assert row["sampled_0"] < bracket["upper_0"]
    assert exact_flow(LAW).law is LAW


def test_first_and_last_map_are_bracketed():
    short = {"iterations": 1, "points": 40}
    bracket = measurements.measure_bracket(BracketTask("V", "reflow", 2, 0, **short, spacing=0.5))
    found = {name for name in bracket if name.startswith("lower_") and "error" not in name}
    assert found == {"lower_0", "lower_2"}
    with pytest.raises(TypeError, match="BracketTask"):
        measurements.measure_bracket(MethodTask("V", "reflow", 2, 0, **short))
