"""Images of shifted latents, for flows that are known."""

import math

import joblib
import pytest
import scipy.stats
import torch

from chapters.latent_manipulation import shifts
from chapters.latent_manipulation.edits import change, edit, start
from chapters.latent_manipulation.regions import Region
from chapters.latent_manipulation.shifts import ShiftTask, shifted
from diffot.denoisers.network import as_denoiser
from diffot.learning import checkpoints, latent_maps, measured, recipes, registry
from diffot.learning.latent_maps import LatentMap
from diffot.samplers.ddim import ddim

MIDDLE = Region((0.25, 0.25, 0.75, 0.75))  # 256 of 32 x 32 pixels
Z = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def independent_values(deviation):
    """The best denoiser for values of N(0, deviation²), its images of Z, and the factor that
    makes them of Z."""
    schedule = recipes.config("Faces32A").schedule

    def noise(x, t):
        signal = schedule.alpha(t) ** 2
        return x * (1 - signal) ** 0.5 / (signal * deviation**2 + 1 - signal)

    denoiser = as_denoiser(noise, schedule)
    images = ddim(denoiser, Z, 100)
    slope = float((images / Z).mean())
    assert torch.allclose(images, slope * Z, atol=1e-5)
    return denoiser, images, slope


def row_of(denoiser, images, region=MIDDLE, sigmas=40.0, method="shift"):
    mask = region.mask(32)
    edited = edit(denoiser, Z, images, mask, sigmas, 100, method=method)
    return shifted(images, edited, mask)


def test_inpainting_forgets_the_region_and_leaves_the_rest():
    """The new values are as large as the old ones, and independent of them."""
    denoiser, images, d = independent_values(0.2)
    row = row_of(denoiser, images, sigmas=0.0, method="inpaint")
    assert row["inside"] == pytest.approx(2**0.5 * d, rel=0.01)
    assert row["outside"] < 1e-6


@pytest.mark.parametrize("method", ["shift", "hold", "replace"])
def test_a_shift_of_independent_values_moves_the_region_alone(method):
    """The flow multiplies each of m = 768 values by d, and thus moves it by s d / sqrt(m): a step
    at the edge of white noise, whose neighbors differ by 2 d² in the mean square."""
    denoiser, images, d = independent_values(0.2)
    row, step = row_of(denoiser, images, method=method), 40 * d / 768**0.5
    assert row["inside"] == pytest.approx(step, rel=1e-3)
    assert row["outside"] < 1e-6
    before = float(images[:, :, 8:24, 8:24].mean())
    assert row["region_brightness"] - before == pytest.approx(step, rel=1e-3)
    assert row["brightness"] - float(images.mean()) == pytest.approx(step / 4, rel=1e-3)
    assert row["seam"] == pytest.approx((1 + step**2 / (2 * d**2)) ** 0.5, abs=0.02)
    # the mean of 3072 values of 0.2 varies by d / sqrt(3072); its error by sqrt(1 / 2n)
    assert row["brightness_deviation"] == pytest.approx(d / 3072**0.5, rel=0.4)
    assert row["brightness_error"] == pytest.approx(row["brightness_deviation"] / 40**0.5)


def test_a_shift_of_one_channel():
    denoiser, images, d = independent_values(0.2)
    row = row_of(denoiser, images, Region("all", channel="green"), 10.0)
    for k, channel in enumerate(("red", "green", "blue")):
        moved, step = row[channel] - float(images[:, k].mean()), 10 * d / 1024**0.5
        assert moved == pytest.approx(step * (channel == "green"), abs=1e-3 * step)
    assert row["region_brightness"] == pytest.approx(row["green"], abs=1e-7)
    assert math.isnan(row["seam"])
    assert math.isnan(row_of(denoiser, images, Region("all"))["outside"])


def test_what_is_cut_off():
    """E(|x| - 1)+ for N(0, d²) is 2 (d phi(1/d) - Phi(-1/d))."""
    denoiser, images, d = independent_values(0.5)
    row, normal = row_of(denoiser, images, sigmas=0.0), scipy.stats.norm
    expected = 2 * (d * normal.pdf(1 / d) - normal.cdf(-1 / d))
    assert row["clamped"] == pytest.approx(expected, rel=0.05)
    assert row["inside"] == row["outside"] == 0 and row["seam"] == 1


def test_few_images_have_no_standard_errors():
    with pytest.raises(ValueError, match="x has 9 rows; expected at least 10"):
        change(Z[:9], Z[:9], MIDDLE.mask(32))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A model, and where it keeps its images; batches go to threads, for they are few."""
    with joblib.parallel_config("threading"):
        yield LatentMap("Digits28", 2), tmp_path_factory.mktemp("cache")


def test_nothing_shifted_is_nothing_changed(digits):
    """In batches as when the images were made, and with noise that does not depend on n."""
    latent_map, folder = digits
    denoiser, mask = registry.load("Digits28"), MIDDLE.mask(28)

    def edited(z, x, sigmas, method, seed=0):
        return edit(denoiser, z, x, mask, sigmas, 2, method=method, seed=seed)

    z, x = start(latent_map, "drawn", 33, 0, folder)
    assert torch.equal(edited(z, x, 0.0, "shift")[:32], x[:32])
    assert not torch.equal(edited(z, x, 1.0, "shift"), x)
    replaced = edited(z, x, 3.0, "replace")
    assert torch.equal(edited(z[:32], x[:32], 3.0, "replace"), replaced[:32])
    assert torch.equal(replaced * (1 - mask), x * (1 - mask))
    assert not torch.equal(edited(z, x, 3.0, "replace", seed=1), replaced)
    held = edited(z, x, 3.0, "hold")
    assert torch.equal(edited(z, x, 3.0, "hold", seed=1), held)
    assert torch.equal(held * (1 - mask), x * (1 - mask)) and not torch.equal(held, x)


def test_held_out_images_are_shifted_by_their_codes(digits):
    latent_map, folder = digits
    denoiser, mask = registry.load("Digits28"), MIDDLE.mask(28)
    z, x = start(latent_map, "held out", 16, 0, folder)
    assert torch.equal(x, measured.held_out("Digits28", 16).images)
    there_and_back = latent_maps.translate(latent_map, latent_map, 16, folder)
    assert torch.equal(edit(denoiser, z, x, mask, 0.0, 2), there_and_back)
    with pytest.raises(ValueError, match="unknown images 'found'"):
        start(latent_map, "found", 10, 0, folder)


def test_a_measurement_is_that_of_its_parts():
    """The columns of a task, against those of the images that it stands for."""
    task = ShiftTask(
        "Digits28", checkpoints.hashes("Digits28"), MIDDLE, 5.0, None, 12, steps=2, train=60
    )
    row = shifts.measure_shift(task)
    z = latent_maps.latents((1, 28, 28), 12, 0)
    with torch.no_grad():
        denoiser, mask = registry.load("Digits28"), MIDDLE.mask(28)
        x = ddim(denoiser, z, 2)
        moved = z + 5 * mask / mask.norm()
        y = ddim(denoiser, moved, 2)
    expected = shifted(x, y, mask)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, abs=1e-4, nan_ok=True), name
    assert {"quantile", "linear", "nearest", "kept_digit", "share_digit_8"} <= row.keys()
    # both are columns of a table
    assert row.keys().isdisjoint(vars(task))
