"""Maps of models against the samplers themselves, and what is kept of them."""

import joblib
import numpy as np
import pytest
import torch

from diffot.denoisers.network import as_denoiser
from diffot.learning import datasets, latent_maps, measured, recipes, registry
from diffot.learning.latent_maps import (
    BATCH,
    GaussianMap,
    LatentMap,
    decode,
    encode,
    latents,
    translate,
)
from diffot.samplers.ddim import ddim, invert
from diffot.transport.linear import LinearMap

SHAPE = (1, 28, 28)


@pytest.fixture
def no_model(monkeypatch):
    """A function after whose call no model can be loaded."""

    def forbid():
        def load(name):
            raise AssertionError(f"{name} is loaded")

        monkeypatch.setattr(registry, "load", load)

    return forbid


def stand_in(noise):
    """A denoiser that answers with the same noise everywhere, on the digits' schedule."""
    schedule = recipes.config("Digits28").schedule
    return as_denoiser(lambda x, t: torch.full_like(x, noise), schedule)


def test_linear_map_of_a_model_is_kept(tmp_path, monkeypatch):
    images = datasets.load_images(recipes.config("Digits28").data).images
    fresh = LinearMap.fit(images)
    z = latents(SHAPE, 5, 0)
    first = decode(GaussianMap("Digits28"), 5, 0, tmp_path)
    assert torch.allclose(first, fresh.decode(z), atol=1e-4)
    latent_maps._linear_map.cache_clear()
    monkeypatch.setattr(LinearMap, "fit", None)
    assert torch.equal(decode(GaussianMap("Digits28"), 5, 0, tmp_path), first)


# --- Maps


def test_maps_say_what_decides_on_their_images():
    labels = {"smile": "yes", "hair_color": "red"}
    asked = LatentMap("Faces32Conditional", 20, labels=labels)
    assert asked == LatentMap("Faces32Conditional", 20, labels=(*reversed(labels.items()),))
    assert str(asked) == "Faces32Conditional hair_color=red smile=yes"
    assert hash(asked) != hash(LatentMap("Faces32Conditional", 20))
    assert str(LatentMap("Faces32A", 50, eta=1, noise_seed=4)) == "Faces32A eta=1 noise=4"
    assert str(GaussianMap("Faces32A")) == "linear Faces32A"
    assert type(LatentMap("Digits28", np.int64(5)).steps) is int
    assert asked.shape() == GaussianMap("Animals32").shape() == (3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "Face32A"}, "unknown model 'Face32A'; did you mean Faces32A"),
        ({"model": "Low2DSCurve"}, "model is Low2DSCurve, which draws points"),
        ({"model": "Faces32A", "labels": {"smile": "yes"}}, "Faces32A is not conditional"),
        ({"model": "Faces32A", "label_seed": 1}, "Faces32A is not conditional"),
        ({"labels": {"smlie": "yes"}}, "unknown label of Faces32Conditional 'smlie'; did you"),
        ({"labels": {"hair_color": "green"}}, "unknown class of hair_color 'green'.*red"),
        ({"labels": {"smile": "yes"}, "label_seed": 1}, "labels chooses classes and label_seed"),
        ({"steps": 0}, "steps is 0; .* at least 1"),
        ({"eta": float("nan")}, "eta is nan; expected a number from 0 to 1"),
        ({"noise_seed": -1}, "noise_seed is -1; .* at least 0"),
    ],
)
def test_wrong_maps_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        LatentMap(**{"model": "Faces32Conditional", "steps": 50, **arguments})


# --- What is kept


def test_first_latents_stay_the_same():
    many = latents((3, 4, 4), 2 * BATCH + 5, 7)
    assert torch.equal(latents((3, 4, 4), 3, 7), many[:3])
    assert len(many.flatten(1).unique(dim=0)) == 2 * BATCH + 5
    assert abs(float(many.mean())) < 4 / many.numel() ** 0.5
    assert (latents((3, 4, 4), 3, 8) != many[:3]).all()


def test_images_are_the_samplers_and_are_made_once(tmp_path, no_model):
    digits = LatentMap("Digits28", 4)
    images = decode(digits, 6, 0, tmp_path)
    with torch.no_grad():
        expected = ddim(registry.load("Digits28"), latents(SHAPE, 6, 0), 4)
    assert torch.allclose(images, expected, atol=1e-4)
    no_model()
    assert torch.equal(decode(digits, BATCH, 0, tmp_path)[:6], images)
    others = [(digits, 1), (LatentMap("Digits28", 3), 0), (LatentMap("Digits28", 4, eta=1), 0)]
    for latent_map, seed in others:
        with pytest.raises(AssertionError, match="Digits28 is loaded"):
            decode(latent_map, 6, seed, tmp_path)


def test_other_weights_make_other_images(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "load", lambda name: stand_in(0.0))
    digits = LatentMap("Digits28", 4)
    first = decode(digits, 2, 0, tmp_path)
    monkeypatch.setattr(registry, "load", lambda name: stand_in(1.0))
    assert torch.equal(decode(digits, 2, 0, tmp_path), first)
    monkeypatch.setattr(registry, "card", lambda name: {"sha256": "of other weights"})
    assert not torch.allclose(decode(digits, 2, 0, tmp_path), first)


def test_two_models_can_share_fresh_noise(tmp_path, monkeypatch):
    """Two denoisers that differ by a constant then differ by a constant at the end."""

    def images(constant, noise_seed):
        monkeypatch.setattr(registry, "load", lambda name: stand_in(constant))
        noisy = LatentMap("Digits28", 4, eta=1, noise_seed=noise_seed)
        return decode(noisy, 3, 0, tmp_path / str(constant))

    shared = images(1.0, 0) - images(0.0, 0)
    own = images(1.0, 1) - images(0.0, 2)
    assert shared.std() < 1e-3 * shared.abs().mean()
    assert own.std() > 0.1 * shared.abs().mean()


def test_codes_and_translations_are_the_samplers(tmp_path, no_model):
    x = measured.held_out("Digits28", 5).images
    model = registry.load("Digits28")
    digits, finer, linear = (
        LatentMap("Digits28", 4), LatentMap("Digits28", 6), GaussianMap("Digits28")
    )  # fmt: skip
    codes = encode(digits, "Digits28", 5, tmp_path)
    again = translate(digits, finer, 5, tmp_path)
    from_linear = translate(linear, digits, 5, tmp_path)
    with torch.no_grad():
        expected = invert(model, x, 4)
        assert torch.allclose(codes, expected, atol=1e-4)
        assert torch.allclose(again, ddim(model, expected, 6), atol=1e-3)
        expected = encode(linear, "Digits28", 5, tmp_path)
        assert torch.allclose(from_linear, ddim(model, expected, 4), atol=1e-3)
    no_model()
    assert torch.equal(translate(digits, finer, 5, tmp_path), again)
    with pytest.raises(ValueError, match="is stochastic"):
        encode(LatentMap("Digits28", 4, eta=0.5), "Digits28", 5, tmp_path)


def test_a_model_is_given_the_labels_of_drawn_images(tmp_path, monkeypatch):
    """Each latent those of one image; the same seed the same, another seed others."""

    class Painter:
        """Pictures, pixel by pixel, which background it is asked for."""

        schedule = recipes.config("Faces32A").schedule

        def condition(self, labels):
            assert set(labels) == set(recipes.config("Faces32Conditional").network["labels"])
            shade = labels["background"][:, None, None, None] / 3
            return as_denoiser(
                lambda x, t: (x - self.schedule.alpha(t) * shade) / self.schedule.sigma(t),
                self.schedule,
            )

    monkeypatch.setattr(registry, "load", lambda name: Painter())
    n = 200

    def backgrounds(label_seed):
        with joblib.parallel_config("threading"):  # for other processes have the real model
            latent_map = LatentMap("Faces32Conditional", 3, label_seed=label_seed)
            images = decode(latent_map, n, 0, tmp_path)
        return (3 * images.mean((1, 2, 3))).round().long()

    first, second = backgrounds(1), backgrounds(2)
    assert torch.equal(backgrounds(1), first)
    equal = float((first == second).double().mean())  # four backgrounds, equally frequent
    assert abs(equal - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5
    assert first.bincount(minlength=4).min() > n / 4 - 4 * (n * 0.25 * 0.75) ** 0.5
    with pytest.raises(ValueError, match="leave out label_seed"):
        encode(LatentMap("Faces32Conditional", 3, label_seed=1), "Faces32A", 2, tmp_path)


def test_maps_are_about_the_weights_that_are_named():
    maps = (GaussianMap("Faces32A"), LatentMap("Faces32B", 5), LatentMap("Faces32A", 20))
    first, second = latent_maps.hashes(*maps).split("+")
    assert registry.card("Faces32A")["sha256"].startswith(first)
    assert registry.card("Faces32B")["sha256"].startswith(second)
    latent_maps.require_hashes(f"{first}+{second}", one=maps[0], other=maps[1])
    with pytest.raises(ValueError, match=r"Faces32A, Faces32B have the hash .* anew"):
        latent_maps.require_hashes(f"{second}+{first}", one=maps[0], other=maps[1])
