"""Estimates against random draws and textbook values, and their columns."""

import math

import numpy as np
import pytest
import torch
from misuse import Use, check, misuses
from scipy import stats

from diffot import seeds
from diffot.estimates import (
    Estimate,
    Share,
    bootstrap,
    columns,
    mean,
    quantile,
    root_mean,
    share,
    share_error,
    true_share,
)


def test_error_is_the_deviation_of_shares(generator):
    shares = (torch.rand(20_000, 50, generator=generator) < 0.3).double().mean(1)
    # the deviation of 20,000 draws is off by 1 / sqrt(40,000) of itself
    assert float(shares.std()) == pytest.approx(share_error(0.3, 50), rel=0.02)
    assert share_error(0.0, 50) == share_error(1.0, 50) == 0.02


def test_interval_holds_the_shares_under_which_the_count_is_not_unlikely():
    """Its ends p' solve (p - p')² = 1.96² p' (1 - p') / n."""
    for hits, n in ((0, 20), (7, 20), (200, 200)):
        counted = share(torch.arange(n) < hits)
        assert counted.value == hits / n
        for end in (counted.low, counted.high):
            away = (hits / n - end) ** 2 * n
            assert away == pytest.approx(1.959964**2 * end * (1 - end), abs=1e-5)
    nothing = share(torch.zeros(0).bool())
    assert math.isnan(nothing.value) and (nothing.low, nothing.high) == (0.0, 1.0)


def test_error_of_a_mean_is_the_deviation_of_means(generator):
    draws = 3 * torch.randn(20_000, 25, generator=generator, dtype=torch.float64)
    errors = [mean(values).error ** 2 for values in draws[:2000]]
    assert float(draws.mean(1).std()) == pytest.approx(0.6, rel=0.02)
    assert sum(errors) / 2000 == pytest.approx(0.36, rel=0.03)
    assert math.isnan(mean(draws[0, :1]).error) and math.isnan(mean(draws[0, :0]).value)


def test_error_of_a_root_mean_square_is_the_deviation_of_roots(generator):
    draws = torch.randn(4000, 200, generator=generator, dtype=torch.float64)
    found = [root_mean(values.square()) for values in draws]
    roots = torch.tensor([estimate.value for estimate in found])
    # of normal numbers, 1 / sqrt(2 n)
    assert float(roots.std()) == pytest.approx(1 / 400**0.5, rel=0.04)
    errors = torch.tensor([estimate.error for estimate in found])
    assert float(errors.square().mean().sqrt()) == pytest.approx(1 / 400**0.5, rel=0.03)
    assert root_mean(torch.zeros(5)) == Estimate(0.0, 0.0)


@pytest.mark.parametrize(("level", "density"), [(0.5, 0.39894), (0.9, 0.17550)])
def test_error_of_a_quantile_is_the_deviation_of_quantiles(generator, level, density):
    """Of normal numbers, sqrt(q (1 - q) / n) over their density at the quantile."""
    draws = torch.randn(4000, 400, generator=generator, dtype=torch.float64)
    expected = (level * (1 - level) / 400) ** 0.5 / density
    found = [quantile(values, level) for values in draws]
    values = torch.tensor([estimate.value for estimate in found])
    assert float(values.std()) == pytest.approx(expected, rel=0.05)
    assert sum(estimate.error for estimate in found) / 4000 == pytest.approx(expected, rel=0.05)
    moved = quantile(3 * draws[0] - 7, level)
    assert moved.value == pytest.approx(3 * found[0].value - 7)
    assert moved.error == pytest.approx(3 * found[0].error)


def test_bootstrap_agrees_with_formulas(generator):
    """On the mean, and on a slope, whose error linear regression gives."""
    x = torch.linspace(-1, 1, 300, dtype=torch.float64)
    y = 2 * x + 0.3 * torch.randn(300, generator=generator, dtype=torch.float64)
    fit = stats.linregress(x.numpy(), y.numpy())

    def slope(pairs):
        return torch.cov(pairs.T)[0, 1] / pairs[:, 0].var()

    found = bootstrap(slope, torch.stack([x, y], 1), generator, draws=1000)
    assert found.value == pytest.approx(fit.slope)
    assert found.error == pytest.approx(fit.stderr, rel=0.1)
    of_mean = bootstrap(torch.mean, y, generator, draws=1000)
    assert of_mean.value == pytest.approx(mean(y).value)
    assert of_mean.error == pytest.approx(mean(y).error, rel=0.08)


def test_columns_are_called_after_the_estimate():
    assert columns("cost", Estimate(2.0, 0.5)) == {"cost": 2.0, "cost_error": 0.5}
    row = columns("smiles", Share(0.5, 0.25, 0.75))
    assert row == {"smiles": 0.5, "smiles_low": 0.25, "smiles_high": 0.75}


USES = [
    Use(share_error, {"share": 0.5, "n": 10}),
    Use(share, {"cases": torch.arange(10) < 5}, allowed={"cases": {"array"}}),
    Use(mean, {"values": torch.arange(10.0)}, allowed={"values": {"NaN", "infinity"}}),
    Use(
        root_mean,
        {"squares": torch.arange(10.0)},
        allowed={"squares": {"NaN", "infinity"}},
        named={"squares": "values"},
    ),
    Use(
        quantile,
        {"values": torch.arange(10.0), "level": 0.5},
        allowed={"values": {"NaN", "infinity"}},
    ),
    Use(
        bootstrap,
        {
            "statistic": torch.mean,
            "cases": torch.arange(10.0),
            "generator": torch.Generator(),
            "draws": 5,
        },
        allowed={"cases": {"NaN", "infinity"}},
    ),
    Use(columns, {"name": "cost", "estimate": Estimate(1.0, 0.1)}, allowed={"name": {"text"}}),
    Use(seeds.generator, {"seed": 3, "key": "latents"}, allowed={"key": {"text"}}),
]


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_misuse(use, argument, value):
    check(use, argument, value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share_error(1.5, 10), "share is 1.5; expected a number from 0 to 1"),
        (lambda: share_error(0.5, 0), "n is 0"),
        (lambda: root_mean(torch.tensor([1.0, -3.0])), "squares has the mean -1"),
        (lambda: quantile(torch.zeros(0)), r"values has shape \(0,\)"),
        (lambda: quantile(torch.zeros(3), 1.0), "level is 1"),
        (
            lambda: bootstrap(torch.mean, torch.zeros(1), torch.Generator()),
            "cases has 1 rows; expected at least two",
        ),
        (lambda: share(torch.zeros(2, 2).bool()), r"cases has shape \(2, 2\)"),
    ],
)
def test_counts_that_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_true_share_is_recovered_from_what_a_reader_says():
    """With the exact rates, and against many draws of cases and of test cases."""
    truth, t, f = 0.2, 0.9, 0.04
    exact = true_share(t * truth + f * (1 - truth), 10**6, (t, 10**6), (f, 10**6))
    assert exact.value == pytest.approx(truth, abs=1e-12)
    rng, n, m = np.random.default_rng(0), 400, 300
    found = [
        true_share(
            (rng.binomial(n_true, t) + rng.binomial(n - n_true, f)) / n,
            n,
            (rng.binomial(m, t) / m, m),
            (rng.binomial(m, f) / m, m),
        )
        for n_true in rng.binomial(n, truth, 4000)
    ]
    values = np.array([each.value for each in found])
    errors = np.array([each.error for each in found])
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / 4000**0.5 + 1e-3)
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.1)


def test_a_reader_that_tells_nothing_is_refused():
    with pytest.raises(ValueError, match="expected the first to be larger"):
        true_share(0.5, 10, (0.3, 10), (0.3, 10))
    with pytest.raises(ValueError, match=r"read is 1\.5"):
        true_share(1.5, 10, (0.9, 10), (0.1, 10))
