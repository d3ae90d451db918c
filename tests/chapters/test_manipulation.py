"""Rows of measures, for flows that are known and for images whose labels are known."""

import inspect
import math
from functools import partial

import joblib
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from chapters.latent_manipulation import manipulation, regions
from diffot.data import faces
from diffot.denoisers.network import as_denoiser
from diffot.learning import checkpoints, datasets, latent_maps, measured, recipes, registry
from diffot.learning.latent_maps import LinearMap
from diffot.samplers.ddim import ddim

MIDDLE = "box=0.25,0.25,0.75,0.75"  # 256 of 32 x 32 pixels
FACES = checkpoints.hashes("Faces32A")
Z = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))


TRAIN = 400  # training images in the place of all


@pytest.fixture
def in_this_process():
    """For other processes know nothing of what is put in the place of other things."""
    with joblib.parallel_config("threading"):
        yield


@pytest.fixture
def few_faces():
    """The first training images."""
    return datasets.load_images({**recipes.config("Faces32A").data, "n": TRAIN})


@pytest.fixture
def independent_values(monkeypatch):
    """Puts in place of the model the best denoiser for values of N(0, deviation²), and returns
    the images of Z and the factor that makes them of Z."""

    def put(deviation):
        schedule = recipes.config("Faces32A").schedule

        def noise(x, t):
            signal = schedule.alpha(t) ** 2
            return x * (1 - signal) ** 0.5 / (signal * deviation**2 + 1 - signal)

        def start(model, images, n, steps, seed):
            return Z[:n], ddim(denoiser, Z[:n], steps)

        denoiser = as_denoiser(noise, schedule)
        monkeypatch.setattr(measured, "load", lambda model, weights: denoiser)
        monkeypatch.setattr(manipulation, "start", start)
        images = start("", "", len(Z), 100, 0)[1]
        slope = float((images / Z).mean())
        assert torch.allclose(images, slope * Z, atol=1e-5)
        return images, slope

    return put


def measure(method="shift", region=MIDDLE, sigmas=40.0, target="", n=40, steps=100):
    return manipulation.measure_shift(
        "Faces32A", FACES, "drawn", region, sigmas, method, target, n, steps, TRAIN, 0
    )


# --- Shifts -----------------------------------------------------------------------------------


def test_inpainting_forgets_the_region_and_leaves_the_rest(few_faces, independent_values):
    """The new values are as large as the old ones, and independent of them."""
    _, d = independent_values(0.2)
    row = measure("inpaint", sigmas=0.0)
    assert row["inside"] == pytest.approx(2**0.5 * d, rel=0.01)
    assert row["outside"] < 1e-6


@pytest.mark.parametrize("method", ["shift", "hold", "replace"])
def test_a_shift_of_independent_values_moves_the_region_alone(
    few_faces, independent_values, method
):
    """The flow multiplies each of m = 768 values by d, and thus moves it by s d / sqrt(m): a step
    at the edge of white noise, whose neighbors differ by 2 d² in the mean square."""
    images, d = independent_values(0.2)
    row, step = measure(method), 40 * d / 768**0.5
    assert row["inside"] == pytest.approx(step, rel=1e-3)
    assert row["outside"] < 1e-6
    before = float(images[:, :, 8:24, 8:24].mean())
    assert row["region_brightness"] - before == pytest.approx(step, rel=1e-3)
    assert row["brightness"] - float(images.mean()) == pytest.approx(step / 4, rel=1e-3)
    assert row["seam"] == pytest.approx((1 + step**2 / (2 * d**2)) ** 0.5, abs=0.02)
    # the mean of 3072 values of 0.2 varies by d / sqrt(3072); its error by sqrt(1 / 2n)
    assert row["brightness_deviation"] == pytest.approx(d / 3072**0.5, rel=0.4)
    assert row["brightness_error"] == pytest.approx(row["brightness_deviation"] / 40**0.5)


def test_a_shift_of_one_channel(few_faces, independent_values):
    images, d = independent_values(0.2)
    row, step = measure(region="all green", sigmas=10.0), 10 * d / 1024**0.5
    for k, channel in enumerate(("red", "green", "blue")):
        moved = row[channel] - float(images[:, k].mean())
        assert moved == pytest.approx(step * (channel == "green"), abs=1e-3 * step)
    assert row["region_brightness"] == pytest.approx(row["green"], abs=1e-7)
    assert math.isnan(row["seam"])
    assert math.isnan(measure(region="all")["outside"])


def test_what_is_cut_off(few_faces, independent_values):
    """E(|x| - 1)+ for N(0, d²) is 2 (d phi(1/d) - Phi(-1/d))."""
    _, d = independent_values(0.5)
    row, normal = measure(sigmas=0.0), scipy.stats.norm
    expected = 2 * (d * normal.pdf(1 / d) - normal.cdf(-1 / d))
    assert row["clamped"] == pytest.approx(expected, rel=0.05)
    assert row["inside"] == row["outside"] == 0 and row["seam"] == 1


def test_nothing_shifted_is_nothing_changed(monkeypatch, tmp_path, in_this_process):
    """In batches as when the images were made, and with noise that does not depend on n."""
    for module in (latent_maps, manipulation):
        monkeypatch.setattr(module, "BATCH", 8)
    for name in ("decode", "encode"):
        function = partial(getattr(latent_maps, name), folder=tmp_path)
        monkeypatch.setattr(manipulation, name, function)
    denoiser, mask = registry.load("Digits28"), regions.mask(MIDDLE, 28)

    def edit(z, x, sigmas, method, seed=0):
        return manipulation.edit(denoiser, z, x, mask, sigmas, method, 2, seed)

    z, x = manipulation.start("Digits28", "drawn", 16, 2, 0)
    assert torch.equal(edit(z, x, 0.0, "shift"), x)
    assert not torch.equal(edit(z, x, 1.0, "shift"), x)
    replaced = edit(z, x, 3.0, "replace")
    assert torch.equal(edit(z[:9], x[:9], 3.0, "replace")[:8], replaced[:8])
    assert torch.equal(replaced * (1 - mask), x * (1 - mask))
    assert not torch.equal(edit(z, x, 3.0, "replace", seed=1), replaced)
    held = edit(z, x, 3.0, "hold")
    assert torch.equal(edit(z, x, 3.0, "hold", seed=1), held)
    assert torch.equal(held * (1 - mask), x * (1 - mask)) and not torch.equal(held, x)

    z, x = manipulation.start("Digits28", "held out", 16, 2, 0)
    assert torch.equal(x, measured.held_out("Digits28", 16).images)
    there_and_back = latent_maps.translate("Digits28", "Digits28", 16, 2, tmp_path)
    assert torch.equal(edit(z, x, 0.0, "shift"), there_and_back)


# --- What the probe reads ---------------------------------------------------------------------


def test_a_planted_smile_is_gained_and_nothing_else(few_faces, monkeypatch):
    """Before, faces; afterwards the same ones, of which all with sunglasses smile."""
    n = 300
    before = faces.load(n, seed=200)
    after = faces.load(n, seed=200, bias=faces.Bias("sunglasses", "smile", "yes", 1.0))
    monkeypatch.setattr(
        manipulation, "start", lambda *_: (Z[:1].expand(n, -1, -1, -1), before.images)
    )
    monkeypatch.setattr(manipulation, "edit", lambda *_: after.images)
    row = measure(target="smile=yes", n=n)
    smiled, smiles, cool = (
        images.labels[label].bool()
        for images, label in [(before, "smile"), (after, "smile"), (before, "sunglasses")]
    )
    shares = {
        "before": smiled, "after": smiles, "share_smile": smiles, "lost": torch.zeros(1),
        "gained": smiles[~smiled], "share_hair_color_red": before.labels["hair_color"] == 3,
        "among_gained_beard_before": before.labels["beard"][smiles & ~smiled],
        "among_gained_beard_after": before.labels["beard"][smiles & ~smiled],
    }  # fmt: skip
    for name, truth in shares.items():
        assert row[name] == pytest.approx(float(truth.double().mean()), abs=0.03), name
    assert row["among_gained_n"] == pytest.approx(int((smiles & ~smiled).sum()), abs=6)
    assert row["gained_n"] + row["lost_n"] == n
    assert row["among_gained_sunglasses_before"] > 0.9  # only they were made to smile
    assert abs(row["among_gained_sunglasses_change"]) < 0.05
    assert cool.float().mean() < 0.4
    arguments = inspect.signature(manipulation.measure_shift).parameters
    assert row.keys().isdisjoint(arguments)  # both are columns of a table
    assert "kept_smile" not in row and row["kept_skin"] > 0.98
    untold = measure(n=n)
    changed = float((smiled != smiles).double().mean())
    assert untold["kept_smile"] == pytest.approx(1 - changed, abs=0.03)
    assert not any("gained" in column for column in untold)
    # Wilson's interval around a share p holds the p' with (p - p')² = 1.96² p' (1 - p') / n
    for side in ("low", "high"):
        end = row[f"after_{side}"]
        away = abs(row["after"] - end) / (end * (1 - end) / n) ** 0.5
        assert away == pytest.approx(1.96, abs=0.001)


def test_training_images_are_near_and_held_out_ones_as_far_as_they_should(few_faces, monkeypatch):
    others = measured.held_out("Faces32A", 40).images
    monkeypatch.setattr(manipulation, "start", lambda *_: (Z, others))
    monkeypatch.setattr(manipulation, "edit", lambda *_: others)
    assert measure()["nearest"] == 1
    monkeypatch.setattr(manipulation, "edit", lambda *_: few_faces.images[:40])
    assert measure()["nearest"] < 1e-3
    monkeypatch.setattr(manipulation, "edit", lambda *_: Z.clamp(-1, 1))
    assert measure()["nearest"] > 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 9}, "n is 9; expected a whole number of at least 10"),
        ({"method": "holt"}, "unknown method 'holt'; did you mean hold"),
        ({"target": "smiles=yes"}, "unknown label 'smiles'; did you mean smile"),
        ({"target": "hair_color=blond,grey"}, "unknown class of hair_color 'grey'; did you mean"),
        ({"target": "smile=no,yes"}, "'smile=no,yes' names all classes"),
        ({"region": "nose"}, "unknown region 'nose'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_drawn(monkeypatch, arguments, message):
    monkeypatch.setattr(manipulation, "start", None)
    with pytest.raises(ValueError, match=message):
        measure(**arguments)


def test_other_weights_and_models_without_a_probe_are_refused():
    arguments = ("drawn", "all", 1.0, "shift", "", 10, 5, TRAIN, 0)
    with pytest.raises(ValueError, match="weights is 'abc', and those of Faces32A"):
        manipulation.measure_shift("Faces32A", "abc", *arguments)
    with pytest.raises(ValueError, match="unknown images 'found'"):
        manipulation.start("Faces32A", "found", 10, 5, 0)


# --- Predictions of brightness ----------------------------------------------------------------


def test_predictions_agree_where_the_data_are_gaussian(generator):
    """Brightness N(0.1, 0.2²), and other differences between the pixels of an image that do not
    change their mean: a shift by s moves the mean by 0.2 s."""
    other = torch.randn(20_000, 3, 4, 4, generator=generator)
    other = 0.3 * (other - other.mean((1, 2, 3), keepdim=True))
    images = other + 0.1 + 0.2 * torch.randn(20_000, 1, 1, 1, generator=generator)
    whole = torch.ones(1, 4, 4)
    values = manipulation.region_means(images, whole)
    linear = LinearMap.fit(images)
    coordinates = torch.tensor([-1.0, 0.0, 1.0])
    for s in (-2.0, 0.5, 2.0):
        assert manipulation.linear_prediction(linear, whole, s) == pytest.approx(
            0.2 * s, rel=0.02
        )
        quantile = manipulation.quantile_prediction(values, coordinates, s)
        assert quantile == pytest.approx(0.1 + 0.2 * s, abs=0.02)
    # out of the range of the data
    assert manipulation.quantile_prediction(values, coordinates, 9.0) == pytest.approx(
        values.max()
    )
    assert manipulation.quantile_prediction(values, coordinates, -9.0) == pytest.approx(
        values.min()
    )


def test_the_quantile_map_is_not_linear(generator):
    values = -torch.log1p(-torch.rand(50_000, generator=generator, dtype=torch.float64))
    for c, s in [(0.0, 1.0), (-0.5, 2.0), (1.0, -2.0)]:
        predicted = manipulation.quantile_prediction(values, torch.tensor([c]), s)
        assert predicted == pytest.approx(-scipy.stats.norm.logsf(c + s), rel=0.04)


def test_the_linear_prediction_for_a_soft_region_of_correlated_pixels(generator):
    """Against a matrix root of the covariance."""
    mixing = torch.randn(16, 16, generator=generator)
    images = (torch.randn(400, 16, generator=generator) @ mixing).reshape(-1, 1, 4, 4)
    mask = torch.rand(1, 4, 4, generator=generator)
    root = scipy.linalg.sqrtm(np.cov(images.flatten(1).numpy().astype(float).T)).real
    m = mask.flatten().double().numpy()
    expected = 1.7 * m @ root @ m / (np.linalg.norm(m) * m.sum())
    found = manipulation.linear_prediction(LinearMap.fit(images), mask, 1.7)
    assert found == pytest.approx(expected, rel=1e-4)


# --- Transfers --------------------------------------------------------------------------------


@pytest.fixture
def transplants(monkeypatch):
    """Images in the place of their latents, which sampling leaves as they are: a function that
    transfers, and measures what it gives."""

    def images(n):
        return faces.load(n, seed=200).images

    monkeypatch.setattr(manipulation, "decode", lambda model, n, steps, seed: images(n))
    monkeypatch.setattr(manipulation, "draw_latents", lambda shape, n, seed: images(n))
    monkeypatch.setattr(manipulation, "ddim", lambda denoiser, z, steps: z)

    def transferred(target, region, donors="with", n=60):
        arguments = ("Faces32A", FACES, target, region, donors, n, 5, 0)
        found = manipulation.transfer(*arguments)
        with monkeypatch.context() as patched:
            patched.setattr(manipulation, "transfer", lambda *_: found)
            return found, manipulation.measure_transfer(*arguments)

    return transferred


def test_everything_is_transferred_with_the_whole_image(transplants):
    for target in ("sunglasses=yes", "hair_color=blond,gray"):
        found, row = transplants(target, "all")
        assert torch.equal(found.results, found.donors)
        assert row["success"] == 1 and math.isnan(row["color_auc"])
        control, row = transplants(target, "all", "without")
        assert row["success"] == 0
        assert torch.equal(control.recipients, found.recipients)
        assert torch.equal(control.results, control.donors)
    # recipients and donors of hair are independent in all else: skins agree by chance
    chance = 0.4**2 + 0.3**2 + 0.3**2
    assert row["kept_skin"] == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 60) ** 0.5)
    assert row["distance"] > 0.1


def test_sunglasses_come_with_the_eyes_and_not_with_other_places(transplants):
    found, row = transplants("sunglasses=yes", "eyes")
    assert row["success"] > 0.9 and row["kept_smile"] > 0.9
    assert row["outside"] == 0 and row["inside"] > 0.3
    assert torch.equal(found.success, found.probability > 0.5)
    assert row.keys().isdisjoint(inspect.signature(manipulation.measure_transfer).parameters)
    assert row["success"] == float(found.success.double().mean())
    for region, donors in [("eyes elsewhere", "with"), ("eyes", "without")]:
        assert transplants("sunglasses=yes", region, donors)[1]["success"] < 0.1
    # the pairs are those that the labels say, but for what the probe misreads
    wearing = faces.load(600, seed=200).labels["sunglasses"].bool()
    pool = faces.load(600, seed=200).images
    same = [(found.recipients == pool[~wearing][:60]), (found.donors == pool[wearing][:60])]
    assert all(pairs.all((1, 2, 3))[:5].all() for pairs in same)


def test_a_target_too_rare(monkeypatch):
    known = faces.load(400, seed=200)
    without = known.at(known.labels["sunglasses"] == 0).images
    monkeypatch.setattr(manipulation, "LARGEST_POOL", 4)
    monkeypatch.setattr(manipulation, "decode", lambda model, n, steps, seed: without[:n])
    with pytest.raises(ValueError, match=r"of the first 200 images of Faces32A, \d+ show"):
        manipulation.transfer("Faces32A", FACES, "sunglasses=yes", "eyes", "with", 50, 5, 0)
    with pytest.raises(ValueError, match="unknown donors 'whith'; did you mean with"):
        manipulation.transfer("Faces32A", FACES, "sunglasses=yes", "eyes", "whith", 50, 5, 0)


def test_whether_near_colors_explain_success():
    """Of the 10 ways to choose 2 of 5, one is as extreme on either side."""
    distances = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    success = torch.tensor([True, True, False, False, False])
    assert manipulation.color_effect(distances, success) == pytest.approx((1.0, 0.2))
    assert manipulation.color_effect(distances, ~success) == pytest.approx((0.0, 0.2))
    assert manipulation.color_effect(distances, success[[0, 2, 3, 4, 1]])[0] == 0.5


def test_color_distances():
    x = torch.zeros(2, 3, 4, 4)
    y = x + torch.tensor([0.3, 0.0, 0.4])[:, None, None]
    y[1, :, :2] += 1  # other pixels, the same means
    y[1, :, 2:] -= 1
    expected = (0.25 / 3) ** 0.5
    assert manipulation.color_distances(x, y).tolist() == pytest.approx([expected] * 2)


def test_brightness_of_independent_values_follows_each_latent(few_faces, independent_values):
    """Each image is d z, so that its mean is that of its latent, and grows with it."""
    _, d = independent_values(0.2)
    row = manipulation.measure_brightness("Faces32A", FACES, "all", 1.0, 40, 100, TRAIN, 0)
    assert row["correlation"] == pytest.approx(1, abs=1e-4) and row["brighter"] == 1
    assert row["deviation"] == pytest.approx(float((d * Z).mean((1, 2, 3)).std()), rel=1e-3)
    means = few_faces.images.mean((1, 2, 3)).numpy()
    coordinates = Z.double().sum((1, 2, 3)).numpy() / 3072**0.5
    expected = scipy.stats.mstats.mquantiles(means, scipy.stats.norm.cdf(coordinates), 1, 1)
    gap = np.mean((coordinates * d / 3072**0.5 - expected) ** 2) ** 0.5
    assert row["quantile_gap"] == pytest.approx(gap, rel=1e-3)


def test_color_error_is_the_deviation_over_random_orders(generator):
    distances = torch.rand(60, generator=generator)
    success = torch.arange(60) < 45
    found = [
        manipulation.color_effect(distances[torch.randperm(60, generator=generator)], success)[0]
        for _ in range(400)
    ]
    # over 400 orders a deviation is off by 1 / sqrt(800) of itself
    assert np.std(found) == pytest.approx(manipulation.color_error(45 / 60, 60), rel=0.14)
