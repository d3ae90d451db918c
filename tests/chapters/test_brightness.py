"""Predictions of brightness, where the data are Gaussian and where they are not."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from chapters.latent_manipulation import brightness
from chapters.latent_manipulation.regions import region_means
from diffot.learning import datasets, recipes
from diffot.transport.linear import LinearMap

Z = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_predictions_agree_where_the_data_are_gaussian(generator):
    """Brightness N(0.1, 0.2²), and other differences between the pixels of an image that do not
    change their mean: a shift by s moves the mean by 0.2 s."""
    other = torch.randn(20_000, 3, 4, 4, generator=generator)
    other = 0.3 * (other - other.mean((1, 2, 3), keepdim=True))
    images = other + 0.1 + 0.2 * torch.randn(20_000, 1, 1, 1, generator=generator)
    whole = torch.ones(1, 4, 4)
    values = region_means(images, whole)
    linear = LinearMap.fit(images)
    coordinates = torch.tensor([-1.0, 0.0, 1.0])
    for s in (-2.0, 0.5, 2.0):
        assert brightness.linear_prediction(linear, whole, s) == pytest.approx(0.2 * s, rel=0.02)
        quantile = brightness.quantile_prediction(values, coordinates, s)
        assert quantile == pytest.approx(0.1 + 0.2 * s, abs=0.02)
    # out of the range of the data
    assert brightness.quantile_prediction(values, coordinates, 9.0) == pytest.approx(values.max())
    assert brightness.quantile_prediction(values, coordinates, -9.0) == pytest.approx(
        values.min()
    )


def test_the_quantile_map_is_not_linear(generator):
    values = -torch.log1p(-torch.rand(50_000, generator=generator, dtype=torch.float64))
    for c, s in [(0.0, 1.0), (-0.5, 2.0), (1.0, -2.0)]:
        predicted = brightness.quantile_prediction(values, torch.tensor([c]), s)
        assert predicted == pytest.approx(-scipy.stats.norm.logsf(c + s), rel=0.04)


def test_the_linear_prediction_for_a_soft_region_of_correlated_pixels(generator):
    """Against a matrix root of the covariance."""
    mixing = torch.randn(16, 16, generator=generator)
    images = (torch.randn(400, 16, generator=generator) @ mixing).reshape(-1, 1, 4, 4)
    mask = torch.rand(1, 4, 4, generator=generator)
    root = scipy.linalg.sqrtm(np.cov(images.flatten(1).numpy().astype(float).T)).real
    m = mask.flatten().double().numpy()
    expected = 1.7 * m @ root @ m / (np.linalg.norm(m) * m.sum())
    predicted = brightness.linear_prediction(LinearMap.fit(images), mask, 1.7)
    assert predicted == pytest.approx(expected, rel=1e-4)


def test_brightness_of_independent_values_follows_each_latent():
    """Each image is d z, so that its mean is that of its latent, and grows with it."""
    d, whole = 0.2, torch.ones(1, 32, 32)
    training = datasets.load_images({**recipes.config("Faces32A").data, "n": 400}).images
    linear = LinearMap.fit(training)
    row = brightness.single_images(training, linear, Z, (d * Z, d * Z + 0.01), whole)
    assert row["correlation"] == pytest.approx(1, abs=1e-4) and row["brighter"] == 1
    assert row["deviation"] == pytest.approx(float((d * Z).mean((1, 2, 3)).std()), rel=1e-3)
    means = training.mean((1, 2, 3)).numpy()
    coordinates = Z.double().sum((1, 2, 3)).numpy() / 3072**0.5
    expected = scipy.stats.mstats.mquantiles(means, scipy.stats.norm.cdf(coordinates), 1, 1)
    gap = np.mean((coordinates * d / 3072**0.5 - expected) ** 2) ** 0.5
    assert row["quantile_gap"] == pytest.approx(gap, rel=1e-3)
    gap = (linear.decode(Z) - d * Z).double().mean((1, 2, 3)).square().mean() ** 0.5
    assert row["linear_gap"] == pytest.approx(float(gap), rel=1e-3)


def test_both_predictions_of_a_region_of_gaussian_images(generator):
    """Of z / 2 + 0.1 in each value, which a shift by s over m values raises by s / 2 sqrt(m)."""
    training = 0.1 + torch.randn(20_000, 1, 4, 4, generator=generator) / 2
    z = torch.randn(500, 1, 4, 4, generator=generator)
    mask = torch.zeros(1, 4, 4)
    mask[:, :2] = 1
    linear = LinearMap.fit(training)
    row = brightness.predictions(training, linear, z, mask, 1.5)
    unshifted = 0.1 + float(z[:, :, :2].mean()) / 2
    for name in ("quantile", "linear"):
        assert row[name] == pytest.approx(unshifted + 1.5 / (2 * 8**0.5), abs=0.01), name
