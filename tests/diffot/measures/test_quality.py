"""Measures of samples: closed forms, repetitions, and planted defects."""

import numpy as np
import ot
import pytest
import torch
from scipy.spatial.distance import cdist

from diffot import estimates
from diffot.data import digits
from diffot.learning import registry
from diffot.learning.attributes import AttributeProbe
from diffot.measures import quality


@pytest.fixture(scope="module")
def data():
    """Training images and held-out ones."""
    images = digits.load().images
    return images[:2000], images[2000:]


@pytest.fixture(scope="module")
def probe():
    return registry.load("DigitsProbe28")


def test_sliced_wasserstein_of_a_translation(data, generator):
    """W_2 along a direction is the part of the shift along it."""
    x = data[0][:100]
    shift = torch.rand(1, 28, 28, generator=generator)
    directions = quality.random_directions(784, 400, generator)
    found = quality.sliced_wasserstein(x, (x + shift)[torch.randperm(100)], directions)
    along = shift.flatten().double() @ directions
    assert found.value == pytest.approx(float((along**2).mean().sqrt()), rel=1e-6)
    # over all directions it is |v|^2 / d, with relative variance 2/K over those drawn
    expected = float((shift**2).mean())
    assert found.value**2 == pytest.approx(expected, rel=4 * (2 / 400) ** 0.5)


def points_with(mean, root, n, generator):
    """n points whose mean and covariance root root' are exact."""
    x = torch.randn(n, len(mean), dtype=torch.float64, generator=generator)
    q, _ = torch.linalg.qr(x - x.mean(0))
    return (q * (n - 1) ** 0.5 @ root.T + mean).numpy()


def test_frechet_distance_of_two_gaussians(generator):
    mean = torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    a, b = torch.tensor([[4.0, 1.0, 0.25, 9.0], [1.0, 1.0, 4.0, 0.0]]).double()
    x = points_with(mean, a.sqrt().diag(), 40, generator)
    y = points_with(0 * mean, b.sqrt().diag(), 60, generator)
    # covariances that commute: the sum of squares of the differences of their roots
    expected = float((mean**2).sum() + ((a.sqrt() - b.sqrt()) ** 2).sum())
    assert quality.frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)

    roots = torch.randn(2, 4, 4, dtype=torch.float64, generator=generator)
    x = points_with(mean, roots[0], 50, generator)
    y = points_with(-mean, roots[1], 50, generator)
    covariances = (roots @ roots.mT).numpy()
    expected = ot.gaussian.bures_wasserstein_distance(mean.numpy(), -mean.numpy(), *covariances)
    assert quality.frechet_distance(x, y) == pytest.approx(expected**2, rel=1e-9)
    assert abs(quality.frechet_distance(x, x)) < 1e-12 * float((roots**2).sum())


def test_jackknife_of_a_mean_is_the_usual_standard_error(generator):
    x = torch.randn(2000, generator=generator).numpy()
    y = 2 * torch.randn(1000, generator=generator).numpy()

    def difference(a, b):
        return a.mean() - b.mean()

    def shuffled(values):
        return values[torch.randperm(len(values), generator=generator)]

    found = [estimates.jackknife(difference, shuffled(x), shuffled(y)) for _ in range(200)]
    assert found[0].value == pytest.approx(difference(x, y), abs=1e-6)
    variance = np.mean([estimate.error**2 for estimate in found])
    # ten groups give each a relative error of sqrt(2/9)
    expected = x.var(ddof=1) / 2000 + y.var(ddof=1) / 1000
    assert variance == pytest.approx(expected, rel=4 * (2 / 9 / 200) ** 0.5)


def test_standard_errors_cover_the_spread_of_the_distances(generator):
    """Over independent sets of points, none much too small and none twice too large."""
    directions = quality.random_directions(12, 50, generator)
    scale = torch.linspace(0.2, 2, 12).reshape(3, 2, 2)

    def repeated(distance, factor):
        draws = torch.randn(60, 2, 100, 3, 2, 2, generator=generator) * scale
        draws[:, 1] *= factor
        found = [distance(x, y) for x, y in draws]
        errors = np.mean([estimate.error**2 for estimate in found]) ** 0.5
        return errors / np.std([estimate.value for estimate in found])

    def sliced(x, y):
        return quality.sliced_wasserstein(x, y, directions)

    def frechet(x, y):
        flat = (images.flatten(1).numpy() for images in (x, y))
        return estimates.jackknife(quality.frechet_distance, *flat)

    for distance in (sliced, frechet):
        for factor in (1.0, 1.5):
            assert 0.75 < repeated(distance, factor) < 2


def test_gaussian_samples_have_the_mean_and_covariance_of_the_images(generator):
    images = torch.rand(30, 1, 2, 3, generator=generator).double() ** 3
    samples = quality.gaussian_samples(images, 20_000, generator)
    assert samples.shape == (20_000, 1, 2, 3)
    flat, data = samples.flatten(1), images.flatten(1)
    covariance = data.T.cov()
    spread = covariance.diag()
    assert ((flat.mean(0) - data.mean(0)).abs() < 4.5 * (spread / 20_000).sqrt()).all()
    variance = (covariance**2 + spread[:, None] * spread) / 20_000
    assert ((flat.T.cov() - covariance).abs() < 4.5 * variance.sqrt()).all()
    # and they are Gaussian, which the images are not: the fourth moment
    standard = (flat - data.mean(0)) / spread.sqrt()
    assert ((standard**4).mean(0) - 3).abs().max() < 4.5 * (96 / 20_000) ** 0.5


def test_color_statistics_see_channels_and_spread(generator):
    images = torch.zeros(500, 3, 8, 8)
    images[:, 0] = torch.linspace(-1, 1, 500)[:, None, None]  # red varies between images
    images[:, 2, ::2] = 1.0  # blue within them
    table = quality.color_statistics(images)
    assert list(table.index) == ["red", "green", "blue"]
    assert table.loc["red", "brightness_spread"] == pytest.approx(1 / 3**0.5, rel=0.01)
    assert table.loc["red", "contrast"] == pytest.approx(0, abs=1e-12)
    assert table.loc["blue", "brightness"] == 0.5
    assert table.loc["blue", "contrast"] == pytest.approx(0.5 * (64 / 63) ** 0.5)
    assert table.loc["blue", "brightness_spread"] == 0 and (table.loc["green"] == 0).all()
    assert list(quality.color_statistics(images[:, :1]).index) == ["gray"]


@pytest.mark.parametrize(("kind", "offset"), [(torch.float32, 2.0**14), (torch.float64, 2.0**27)])
def test_distances_do_not_depend_on_the_origin(kind, offset, generator):
    """Sixty-fourths are shifted by these offsets without rounding."""
    draws = 64 * torch.randn(3, 40, 1, 3, 4, generator=generator)
    x, y, train = draws.round().to(kind) / 64
    copies = torch.cat([train[5:9], train[:4] + 1 / 64])
    directions = quality.random_directions(12, 30, generator)

    def found(offset):
        u, v, w, c = (images + offset for images in (x, y, train, copies))
        yield quality.nearest_distances(torch.cat([u, c]), w)
        yield [quality.frechet_distance(*(a.flatten(1).numpy() for a in (u, v)))]
        yield vars(quality.sliced_wasserstein(u, v, directions)).values()
        seeded = torch.Generator().manual_seed(0)
        yield (quality.gaussian_samples(u, 5, seeded).double() - offset).flatten().tolist()

    rounding = 8 * torch.finfo(kind).eps * offset
    for near, far, allowed in zip(found(0.0), found(offset), (1e-12, 1e-5, 1e-5, rounding)):
        assert list(far) == pytest.approx(list(near), rel=0, abs=allowed)
    expected = cdist((*x.flatten(1), *copies.flatten(1)), train.flatten(1)).min(1) / 12**0.5
    assert next(found(offset)) == pytest.approx(expected, rel=1e-12)


class ReadsFirstPixel(AttributeProbe):
    """A probe whose one label is written in the first pixel."""

    def __init__(self, *classes):
        super().__init__({"kind": classes}, channels=1, size=2, widths=(8,))

    def classify(self, images):
        return {"kind": images[:, 0, 0, 0].long()}


def test_a_planted_change_of_frequencies_is_found_within_its_error(generator):
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.3, 0.35, 0.35])

    def drawn(frequencies, n):
        kinds = torch.multinomial(frequencies, n, replacement=True, generator=generator)
        return kinds[:, None, None, None].float()

    probe = ReadsFirstPixel("a", "b", "c")
    found = [
        quality.attribute_distances(probe, drawn(p, 600), drawn(q, 900)).loc["kind"]
        for _ in range(400)
    ]
    values = np.array([row["total_variation"] for row in found])
    errors = np.array([row["error"] for row in found])
    assert abs(values.mean() - 0.2) < 4 * values.std() / 20
    assert errors.mean() == pytest.approx(values.std(), rel=4 / (2 * 400) ** 0.5)


def test_frequencies_that_tie_have_an_error():
    """Two classes, as many images of each in both sets."""
    x = (torch.arange(400) % 2).float()[:, None, None, None]
    row = quality.attribute_distances(ReadsFirstPixel("no", "yes"), x, x).loc["kind"]
    assert row["total_variation"] == 0
    assert row["error"] == pytest.approx((2 * 0.25 / 400) ** 0.5)


def test_attributes_of_images_are_compared(data, probe):
    """Every other digit 8 left out of one set."""
    held_out = data[1][:1000]
    read = probe.classify(held_out)["digit"]
    eights = (read == 8).nonzero()[:, 0]
    keep = torch.ones(len(held_out), dtype=torch.bool)
    keep[eights[::2]] = False
    row = quality.attribute_distances(probe, held_out[keep], held_out).loc["digit"]
    share = len(eights) / len(held_out)
    after = (~keep).sum() / len(held_out)
    expected = share - (share - float(after)) / (1 - float(after))
    assert row["total_variation"] == pytest.approx(expected, rel=1e-6)


def test_copies_are_found_and_new_images_are_not(data, generator):
    train, held_out = data
    reference = quality.nearest_distances(held_out[:1000], train)
    copies = train[:400] + 0.02 * torch.randn(400, 1, 28, 28, generator=generator)
    distances = quality.nearest_distances(copies, train)
    assert distances == pytest.approx(0.02, rel=0.15)  # root mean square of the noise
    found = quality.nearness(distances, reference)
    assert found.share.value == 1 and found.ratio.value < 0.1

    new = held_out[1000:2000]
    found = quality.nearness(quality.nearest_distances(new, train), reference)
    assert abs(found.share.value - 0.01) < 4 * found.share.error
    assert abs(found.ratio.value - 1) < 4 * found.ratio.error < 0.15

    mixed = quality.nearest_distances(torch.cat([copies[:200], new[:200]]), train)
    share = quality.nearness(mixed, reference).share
    assert share.value == pytest.approx(0.505, abs=4 * (0.5 * 0.01 / 400 + 1e-5) ** 0.5)

    contaminated = quality.nearest_distances(torch.cat([train[:20], new]), train)
    with pytest.raises(ValueError, match="20 of 1020 held-out images are also training images"):
        quality.nearness(distances, contaminated)


def test_the_table_tells_real_images_from_a_gaussian(data, probe, generator, monkeypatch):
    """Real images in the place of samples are as good as the other real ones."""
    monkeypatch.setattr(quality, "DIRECTIONS", 100)
    train, held_out = data
    samples, held_out = held_out[:1000], held_out[1000:]
    table = quality.quality_table(samples, train, held_out, probe, generator)
    assert (table["n"] == 1000).all()
    ours, real, gaussian = (table.loc[k] for k in ("samples", "real images", "Gaussian fit"))
    for column in ("sliced_wasserstein", "feature_distance"):
        errors = np.hypot(real[f"{column}_error"], gaussian[f"{column}_error"])
        assert gaussian[column] - real[column] > 3 * errors
        assert abs(ours[column] - real[column]) < 4 * real[f"{column}_error"]
    assert gaussian["attribute_digit"] > 4 * gaussian["attribute_digit_error"]
    assert gaussian["nearest_ratio"] > 1.2
    # the Gaussian has the right colors on average; half as bright images do not
    assert gaussian["color_brightness"] < 0.02
    dark = quality.quality_table(
        samples[:300] * 0.5 - 0.5, train[:500], held_out[:600], probe, generator
    )
    brightness = float(samples.mean() + 1)
    assert dark.loc["samples", "color_brightness"] == pytest.approx(brightness / 2, rel=0.1)
    variances = [
        images[:300].flatten(1).mean(1).var() / 300 for images in (samples / 2, held_out)
    ]
    assert dark.loc["samples", "color_brightness_error"] == pytest.approx(
        float(sum(variances)) ** 0.5, rel=0.6
    )
    for column in ("sliced_wasserstein", "feature_distance"):
        real_and_error = dark.loc["real images", [column, f"{column}_error"]]
        assert dark.loc["samples", column] > real_and_error @ [1, 4]


def test_bad_input_is_refused_before_anything_is_computed(data, probe, generator):
    train, held_out = data
    with pytest.raises(ValueError, match=r"600 samples and 1000 held-out .* at least 1200"):
        quality.quality_table(train[:600], train, held_out[:1000], probe, generator)
    broken = held_out[:50].clone()
    broken[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="samples holds 1 values that are NaN"):
        quality.quality_table(broken, train, held_out, probe, generator)
    with pytest.raises(ValueError, match=r"x has shape \(50, .* and y \(60, "):
        quality.feature_distance(probe, train[:50], held_out[:60])
    with pytest.raises(ValueError, match="x has 5 rows; expected at least 10"):
        quality.feature_distance(probe, train[:5], held_out[:5])
    with pytest.raises(ValueError, match="expected the same but for their number"):
        quality.nearest_distances(train[..., :14], train)
