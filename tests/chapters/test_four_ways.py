"""The measures of the four ways to generate, against closed forms."""

import math

import pytest
import torch

from bookkit.paths import TABLES
from bookkit.sweeps import read_table
from chapters.four_ways import tasks
from chapters.four_ways.measurements import (
    energy_distance,
    half_interval,
    is_stray,
    measure_floor,
    measure_generation,
    mode_shares,
    points_of,
    stray_share,
    unevenness,
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


def test_the_floor_is_that_of_the_law():
    found = measure_floor(4000, _generator())
    assert abs(found["distance"]) < 0.01
    assert found["stray"] < 0.004
    assert found["uneven"] < 0.04
    assert unevenness([1.0, 0, 0, 0]) == 0.75 and unevenness([0.25] * 4) == 0


def test_half_an_interval_is_that_of_student():
    # t with four degrees of freedom at 0.975 is 2.776; the standard error of 1 to 5 is 1/sqrt(2)
    assert half_interval([1, 2, 3, 4, 5]) == pytest.approx(2.776 / math.sqrt(2), rel=1e-3)


def test_the_table_holds_the_comparison_and_points_that_are_astray_as_often_as_it_says():
    def read(rows):
        return read_table(TABLES / "F2_methods.jsonl", measure_generation, rows)

    chosen = tasks.chosen_rates(read(tasks.pilots()))
    table = read(tasks.comparison(chosen))
    assert len(table) == tasks.SEEDS * (len(tasks.RATES["GAN"]) + 3)
    for _, row in table.iterrows():
        astray = is_stray(points_of(row["drawn"])).double()
        # the first tenth of the points, to two decimals
        error = 5 * (row["stray"] * (1 - row["stray"]) / len(astray)) ** 0.5 + 0.01
        assert float(astray.mean()) == pytest.approx(row["stray"], abs=error)
