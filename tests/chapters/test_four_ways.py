"""The measures of the four ways to generate, against closed forms."""

import math

import pytest
import torch

from chapters.four_ways.measurements import (
    energy_distance,
    measure_generation,
    mode_shares,
    stray_share,
)
from chapters.four_ways.methods import METHODS, GenerationTask, law


def _generator():
    return torch.Generator().manual_seed(0)


def test_the_energy_distance_is_that_of_gaussians_on_the_line():
    # E|N(m, 2)| - E|N(0, 2)|, twice, for N(m, 1) against N(0, 1)
    x, y = torch.randn(2, 4000, 1, dtype=torch.float64, generator=_generator())
    folded = 2 / math.sqrt(math.pi) * math.exp(-1 / 4) + math.erf(1 / 2)
    expected = 2 * (folded - 2 / math.sqrt(math.pi))
    assert energy_distance(x + 1, y) == pytest.approx(expected, abs=0.05)
    assert abs(energy_distance(x, y)) < 0.003


def test_points_of_the_law_stray_once_in_a_thousand_and_are_shared_equally():
    x = law().sample(100_000, _generator())
    assert stray_share(x) == pytest.approx(1e-3, abs=4e-4)
    assert mode_shares(x) == pytest.approx([0.25] * 4, abs=0.006)
    assert stray_share(torch.zeros(3, 2, dtype=torch.float64)) == 1


def test_a_row_repeats_itself_and_parameters_are_equal_within_five_percent():
    counts = []
    for method in METHODS:
        task = GenerationTask(method, 1e-3, 0, iterations=2, points=100)
        rows = [measure_generation(task) for _ in range(2)]
        for row in rows:
            del row["train_seconds"], row["sample_seconds"]
        assert rows[0] == rows[1]
        assert ("shortfall" in rows[0]) == (method != "GAN")
        counts.append(rows[0]["parameters"])
    assert max(counts) < 1.05 * min(counts)
