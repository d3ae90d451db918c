"""What published discretizations cost, on a small case."""

import pytest
import torch

from chapters.random_densities.published import NumericsTask, measure_numerics
from diffot.flows.density import DensityFlow
from diffot.laws.densities import random_density
from diffot.seeds import generator
from diffot.transport.assignment import relative_excess_cost

SMALL = NumericsTask(index=3, few=40, many=60, nodes=128)


@pytest.fixture(scope="module")
def row():
    return measure_numerics(SMALL)


def test_each_interpolation_costs_and_exact_scores_do_not(row):
    assert row["error_adaptive"] < 1e-6 < row["error_steps"] < 1e-3
    assert row["error_steps"] < min(row["error_space"], row["error_time"])


def test_a_finer_table_costs_less_and_leaves_the_rest(row):
    """Linear interpolation is of second order: half the spacing, a quarter of the error."""
    fine = measure_numerics(NumericsTask(index=3, few=40, many=60, nodes=256))
    assert row["error_space"] / fine["error_space"] == pytest.approx(4, rel=0.35)
    for name in ("error_adaptive", "error_steps", "error_time", "excess_adaptive"):
        assert fine[name] == pytest.approx(row[name], rel=1e-6, abs=1e-12)


def test_the_excess_is_that_of_the_density_and_points_of_the_task(row):
    draws = generator(0, "numerics 3")
    law = random_density("compact", draws)
    x = law.sample(60, draws)
    expected = relative_excess_cost(x, DensityFlow(law).encode(x))
    assert row["excess_adaptive"] == pytest.approx(expected, abs=1e-12)
    assert torch.isfinite(x).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"few": 61}, "few is 61; expected at most many, 60"),
        ({"nodes": 8}, "nodes is 8"),
        ({"index": -1}, "index is -1"),
        ({"seed": 0.5}, r"seed is 0\.5"),
    ],
)
def test_what_is_no_task(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        NumericsTask(**{"index": 3, "few": 40, "many": 60, "nodes": 128, **wrong})
