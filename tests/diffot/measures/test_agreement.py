"""Measures of agreement against known answers, scipy, scikit-learn, and all permutations."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.linear_model import LinearRegression
from sklearn.metrics import cohen_kappa_score

from diffot.measures import agreement
from diffot.measures.linear import explained_variance, linear_share, residuals

# Sixty-fourths are shifted by these without rounding.
OFFSETS = pytest.mark.parametrize(
    ("kind", "offset"), [(torch.float32, 2.0**14), (torch.float64, 2.0**27)]
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(n=40, channels=3, size=8, seed=0):
    """Images with a mean image, smooth parts and noise."""
    noise = normal(n, channels, size, size, seed=seed)
    smooth = normal(n, channels, 1, 1, seed=seed + 1000)
    return normal(channels, size, size, seed=1) + smooth + noise


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


# --- Matrices of all pairs


def test_correlations_are_scipys():
    x, y = images(seed=2), 3 * images(seed=3) + 5
    cosine = 1 - cdist(
        (x - x.mean(0)).flatten(1).numpy(), (y - y.mean(0)).flatten(1).numpy(), "cosine"
    )
    assert np.allclose(agreement.correlations(x, y), cosine, atol=1e-12)
    # without their own means, Pearson's
    x, y = (a - a.mean((1, 2, 3), keepdim=True) for a in (x, y))
    found = agreement.correlations(x, y)
    for i, j in [(0, 0), (3, 7), (39, 1)]:
        first, second = ((a[k] - a.mean(0)).flatten() for a, k in ((x, i), (y, j)))
        assert found[i, j] == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-12)


def test_what_all_images_share_is_no_agreement():
    face = 10 * normal(3, 16, 16, seed=5)
    x, y = face + normal(60, 3, 16, 16, seed=6), face + normal(60, 3, 16, 16, seed=7)
    assert stats.pearsonr(x[0].flatten(), y[0].flatten()).statistic > 0.95
    off = agreement.correlations(x, y)
    assert off.abs().max() < 0.2


def test_correlation_with_a_noisy_copy():
    """x = a z + s noise correlates with z by a / sqrt(a² + s²)."""
    a, s = 0.6, 0.9
    z = normal(200, 3, 32, 32)
    x = a * z + s * normal(200, 3, 32, 32, seed=1)
    found = agreement.permutation_test(agreement.correlations(z, x), draws())
    assert abs(found.value - a / math.hypot(a, s)) < 5 * found.error
    assert found.error < 0.002
    assert found.p_value == 1 / 10_000
    assert abs(found.null_mean) < 1e-3


def test_colors_and_low_frequencies_see_what_they_should():
    """Agreement in brightness and color alone, under noise of high frequency."""
    color = normal(100, 3, 1, 1)
    checkers = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double().tile(4, 4)
    x, y = (color + 20 * normal(100, 3, 1, 1, seed=s) * checkers for s in (1, 2))
    for part in (agreement.channel_means, lambda images: agreement.low_pass(images, 4)):
        pairs = agreement.correlations(part(x), part(y))
        assert pairs.diagonal().min() > 1 - 1e-9
        assert agreement.retrieval(pairs).value == 1
    assert agreement.correlations(x, y).diagonal().mean() < 0.2


def test_block_means():
    x = images(2, 3, 12)
    found = agreement.low_pass(x, 4)
    assert torch.allclose(found[1, 2, 3, 0], x[1, 2, 9:12, 0:3].mean())
    with pytest.raises(ValueError, match=r"12 x 12 pixels have no equal blocks for 5 x 5"):
        agreement.low_pass(x, 5)


# --- The permutation test


def test_null_distribution_is_that_of_all_permutations():
    pairs = normal(6, 6)
    values = np.array(
        [pairs[range(6), list(p)].mean().item() for p in itertools.permutations(range(6))]
    )
    found = agreement.permutation_test(pairs, draws(), 20_000)
    assert found.value == pytest.approx(pairs.trace().item() / 6)
    assert found.null_mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.null_deviation == pytest.approx(values.std(), rel=1e-10)
    share = (values >= found.value - 1e-12).mean()
    assert abs(found.p_value - share) < 4 * math.sqrt(share * (1 - share) / 20_000)


def test_p_values_are_uniform_where_latents_do_not_matter():
    generator = draws(4)
    found = []
    for seed in range(400):
        x, y = images(12, size=2, seed=seed), images(12, size=2, seed=50_000 + seed)
        pairs = agreement.correlations(x, y)
        found.append(agreement.permutation_test(pairs, generator, 199).p_value)
    jitter = torch.rand(400, generator=generator).numpy() / 200  # p is a multiple of 1/200
    assert stats.kstest(np.array(found) - jitter, "uniform").pvalue > 0.01


def test_pairs_that_are_all_alike_are_no_evidence():
    found = agreement.permutation_test(torch.full((30, 30), 0.1), draws(), 99)
    assert found.p_value == 1 and found.null_deviation < 1e-12


def test_error_of_the_mean_correlation():
    """The standard error says by how much the mean varies over sets of latents."""
    values, errors = [], []
    for seed in range(200):
        z = images(30, size=4, seed=seed)
        x = z + images(30, size=4, seed=9000 + seed)
        found = agreement.permutation_test(agreement.correlations(z, x), draws(), 9)
        values.append(found.value)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


# --- Retrieval and attributes


def test_retrieval_without_and_with_agreement():
    hits = [
        agreement.retrieval(
            agreement.correlations(normal(20, 30, seed=s), normal(20, 30, seed=s + 999))
        )
        for s in range(300)
    ]
    rates = np.array([hit.value for hit in hits])
    assert abs(rates.mean() - 1 / 20) < 4 * rates.std() / math.sqrt(300)
    z = normal(50, 100)
    found = agreement.retrieval(agreement.correlations(z, z + normal(50, 100, seed=1)))
    assert found.value == 1 == found.high and 0.9 < found.low < 1


def test_retrieval_as_a_permutation_test_has_chance_as_its_null_mean():
    z = normal(50, 5)
    similarities = agreement.correlations(z, z + 2 * normal(50, 5, seed=1))
    found = agreement.permutation_test(agreement.is_nearest(similarities), draws())
    result = agreement.retrieval(similarities)
    assert found.value == pytest.approx(result.value)
    assert found.null_mean == pytest.approx(1 / len(similarities))
    assert result.low < result.value < result.high
    nearest = [int(np.argmax(row)) for row in similarities.numpy()]
    assert result.value == np.mean([i == j for i, j in enumerate(nearest)])


def test_kappa_is_scikit_learns_and_its_error_the_spread():
    kappas, errors = [], []
    for seed in range(200):
        generator = draws(seed)
        first = torch.randint(3, (100,), generator=generator)
        copied = torch.rand(100, generator=generator) < 0.5
        second = torch.where(copied, first, torch.randint(3, (100,), generator=generator))
        row = agreement.attribute_agreement({"a": first}, {"a": second}, generator, 9).loc["a"]
        assert row.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
        kappas.append(row.kappa)
        errors.append(row.kappa_error)
    assert np.mean(kappas) == pytest.approx(0.5, abs=4 * np.std(kappas) / math.sqrt(200))
    assert np.mean(errors) == pytest.approx(np.std(kappas), rel=0.2)


def test_agreement_by_chance_is_that_of_the_frequencies():
    first, second = torch.tensor([0, 0, 0, 1]), torch.tensor([1, 0, 0, 2])
    found = agreement.attribute_agreement(
        {"hair": first, "smile": first}, {"beard": second, "hair": second}, draws()
    )
    assert list(found.index) == ["hair"]
    assert found.loc["hair", "value"] == 0.5
    assert found.loc["hair", "null_mean"] == pytest.approx(3 / 4 * 2 / 4 + 1 / 4 * 1 / 4)
    with pytest.raises(ValueError, match="hair of first and beard of second have none in common"):
        agreement.attribute_agreement({"hair": first}, {"beard": second}, draws())


def test_an_attribute_that_all_have_says_nothing():
    same = torch.ones(20, dtype=torch.int64)
    row = agreement.attribute_agreement({"a": same}, {"a": same}, draws(), 99).loc["a"]
    assert math.isnan(row.kappa) and row.value == row.null_mean == row.p_value == 1


# --- Scales


def test_bands_add_up_to_the_pooled_correlation():
    """Parseval."""
    x = images(size=12, seed=3)
    y = x + 0.5 * images(size=12, seed=4)
    bands = agreement.fourier_ring_correlations(x, y, draws(), 99)
    first, second = x - x.mean(0), y - y.mean(0)
    pooled = (first * second).sum() / (first.square().sum() * second.square().sum()).sqrt()
    added = (bands.value * (bands.power_x * bands.power_y) ** 0.5).sum()
    assert added == pytest.approx(float(pooled), abs=1e-12)
    assert bands.power_x.sum() == pytest.approx(1)
    # the first band is the mean over pixels
    means = [(a.mean((2, 3)) - a.mean((0, 2, 3))).flatten() for a in (x, y)]
    cosine = 1 - cdist(*(m[None].numpy() for m in means), "cosine")[0, 0]
    assert bands.value[0] == pytest.approx(cosine, abs=1e-12)


def test_each_wave_is_in_its_band():
    """Waves of 1, 3 and 6 cycles agree, disagree, and are unrelated."""
    grid = torch.arange(16, dtype=torch.float64) / 16
    waves = [torch.cos(2 * math.pi * k * grid).expand(16, 16) for k in (1, 3, 6)]
    shared, other = normal(400, 3), normal(400, seed=1)
    x = sum(a[:, None, None] * wave for a, wave in zip(shared.T, waves))[:, None]
    y = sum(
        a[:, None, None] * wave for a, wave in zip((shared[:, 0], -shared[:, 1], other), waves)
    )[:, None]
    bands = agreement.fourier_ring_correlations(x, y, draws(), 1999).set_index("low")
    assert list(bands.index) == [1, 2, 4] and list(bands.high) == [2, 4, 8]
    assert bands.value[1] == pytest.approx(1) and bands.value[2] == pytest.approx(-1)
    assert abs(bands.value[4]) < 4 * bands.error[4]
    assert bands.error[4] == pytest.approx(1 / math.sqrt(400), rel=0.2)
    assert bands.null_deviation[4] == pytest.approx(1 / math.sqrt(400), rel=0.2)
    assert bands.p_value[1] < 0.001 and bands.p_value[2] == 1 and bands.p_value[4] > 0.001


# --- Coordinates


def test_rank_correlations_are_scipys_ties_included():
    z = normal(50, 1, 3, 3)
    x = (z + normal(50, 1, 3, 3, seed=1)).mul(2).round()
    x[:, 0, 0, 0] = 7.0
    found = agreement.rank_correlations(z, x)
    assert found.shape == (1, 3, 3) and found[0, 0, 0].isnan()
    for i, j in list(itertools.product(range(3), range(3)))[1:]:
        expected = stats.spearmanr(z[:, 0, i, j], x[:, 0, i, j]).statistic
        assert found[0, i, j] == pytest.approx(expected, abs=1e-12)


def test_increasing_maps_of_coordinates_have_rank_correlation_one():
    z = normal(80, 3, 4, 4)
    assert torch.allclose(agreement.rank_correlations(z, z.exp()), torch.ones(3, 4, 4).double())


def test_all_pairs_of_ranks_hold_the_mean_rank_correlation_and_its_null_distribution():
    z = normal(6, 1, 2, 3)
    x = z + normal(6, 1, 2, 3, seed=1)
    x[:, 0, 0, 0] = 7.0
    pairs = agreement.rank_similarities(z, x)

    def mean_rank(images):
        return agreement.rank_correlations(z, images).nanmean().item()

    found = agreement.permutation_test(pairs, draws(), 9)
    assert found.value == pytest.approx(mean_rank(x))
    every = [mean_rank(x[list(p)]) for p in itertools.permutations(range(6))]
    assert found.null_mean == pytest.approx(np.mean(every), abs=1e-12)
    assert found.null_deviation == pytest.approx(np.std(every), rel=1e-10)


# --- Linear maps


def test_explained_variance_of_a_known_mixture():
    """A prediction with noise of variance s² in truth of variance 1 has R² = 1 - s²."""
    x = normal(500, 3, 6, 6)
    found = explained_variance(x + 2, x + 2 + 0.5 * normal(500, 3, 6, 6, seed=1))
    assert abs(found.value - 0.75) < 4 * found.error
    assert found.error < 0.004
    mean = x.mean(0).expand_as(x)
    assert explained_variance(x, mean).value == pytest.approx(0, abs=1e-12)


def test_residuals_are_those_of_a_regression():
    x, first, second = (images(20, size=4, seed=s) for s in (1, 2, 3))
    found = residuals(x + first - 2 * second, first, second)
    columns = [(a - a.mean(0)).flatten() for a in (x + first - 2 * second, first, second)]
    design = np.stack(columns[1:], 1)
    fit = LinearRegression(fit_intercept=False).fit(design, columns[0].numpy())
    expected = columns[0].numpy() - fit.predict(design)
    assert np.allclose(found.flatten().numpy(), expected, atol=1e-12)
    assert torch.allclose(residuals(x, first, first), residuals(x, first), atol=1e-10)


def test_partial_correlation_vanishes_where_only_the_linear_part_is_shared():
    linear = images(100, size=8)
    x, y = (linear + images(100, size=8, seed=s) for s in (5, 6))
    whole = agreement.permutation_test(agreement.correlations(x, y), draws(), 99)
    rest = [residuals(a, linear) for a in (x, y)]
    left = agreement.permutation_test(agreement.correlations(*rest), draws(), 99)
    assert whole.value > 0.4 and abs(left.value) < 4 * left.error
    # and stays where something else is
    x, y = x + images(100, size=8, seed=9), y + images(100, size=8, seed=9)
    rest = [residuals(a, linear) for a in (x, y)]
    left = agreement.permutation_test(agreement.correlations(*rest), draws(), 99)
    assert left.value == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("near", [0.0, 0.8])
def test_linear_share_of_cubic_polynomials(near):
    """By Hermite polynomials: of z + (z³ - 3z) c, of variance 1 + 6 c², the share of z is
    1 / (1 + 6 c²), and all of the covariance with (z² - 1) + z is linear."""
    z = normal(1500, 20)
    x, y = z + 0.5 * (z**3 - 3 * z), z + (z**2 - 1)
    own = linear_share(z, x, x, near * z, near * z)
    assert abs(own.value - 1 / 2.5) < 4 * own.error
    assert own.error < 0.05
    both = linear_share(z, x, y, near * z, near * z)
    assert abs(both.value - 1) < 4 * both.error


def test_linear_share_with_fewer_latents_than_dimensions():
    """A regression would explain everything; half of this is not linear."""
    z = normal(200, 1000, seed=3)
    x = 2**0.5 * z + (z**2 - 1)
    found = linear_share(z, x, x, 1.3 * z, 1.3 * z)
    assert abs(found.value - 0.5) < 4 * found.error and found.error < 0.1
    blind = linear_share(z, x, x, 0 * z, 0 * z)
    assert found.error < blind.error


def test_error_of_the_linear_share():
    latents = (normal(100, 5, seed=s) for s in range(200))
    found = [linear_share(z, z**3, z**3, z, z) for z in latents]
    spread = np.std([share.value for share in found])
    assert np.mean([share.error for share in found]) == pytest.approx(spread, rel=0.25)


@OFFSETS
def test_nothing_depends_on_the_origin(kind, offset):
    z = normal(30, 4)
    x, y = ((z @ normal(4, 4, seed=s) * 64).round().to(kind) / 64 for s in (1, 2))
    near, far = (x, y, 0 * x), (x + offset, y + offset, 0 * x + offset)
    assert torch.equal(far[0] - offset, x)

    def found(x, y, linear):
        yield agreement.correlations(x, y)
        yield residuals(x, y)
        for share in (
            explained_variance(x, y),
            linear_share(z.to(kind), x, y, linear, linear),
        ):
            yield torch.tensor([share.value, share.error])

    for first, second in zip(found(*near), found(*far)):
        assert torch.allclose(first, second, rtol=0, atol=1e-6)


# --- Optimal assignment


def test_assignment_keeps_monotone_linear_codes_and_no_others():
    x = normal(60, 1, 3, 3)
    root = normal(9, 9, seed=1)
    codes = (x.flatten(1) @ root @ root.T).reshape(x.shape)
    found = agreement.assignment_fixed(x, codes - 3)
    assert found.fixed == 1 and found.excess == 0
    shuffled = codes.roll(1, 0)
    found = agreement.assignment_fixed(x, shuffled)
    costs = cdist(x.flatten(1).numpy(), shuffled.flatten(1).numpy(), "sqeuclidean")
    rows, best = linear_sum_assignment(costs)
    assert found.fixed == (best == rows).mean() == 0
    assert found.excess == pytest.approx(costs.trace() / costs[rows, best].sum() - 1, rel=1e-10)


def test_shuffling_keeps_the_class():
    classes = torch.randint(3, (60,), generator=draws())
    permutation = agreement.shuffled_within(classes, draws(1))
    assert torch.equal(classes[permutation], classes)
    assert torch.equal(permutation.sort().values, torch.arange(60))
    assert (permutation != torch.arange(60)).double().mean() > 0.8


# --- Errors


def test_bad_input_is_named():
    x = images(5)
    with pytest.raises(ValueError, match=r"x has shape \(5, 3, 8, 8\) and y \(4, 3, 8, 8\)"):
        agreement.correlations(x, x[:4])
    broken = x.clone()
    broken[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="y holds 1 values that are NaN"):
        agreement.correlations(x, broken)
    for same in (0.0, 0.1):  # the mean of 0.1 is off by rounding
        with pytest.raises(ValueError, match="an image in x is the mean image"):
            agreement.correlations(torch.full((3, 3), same), x[:3, 0, 0, :3])
    with pytest.raises(ValueError, match=r"similarities has shape \(5, 4\)"):
        agreement.retrieval(torch.zeros(5, 4))
