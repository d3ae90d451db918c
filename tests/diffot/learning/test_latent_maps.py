"""Named maps against the samplers themselves, and the linear map against exact transport."""

import joblib
import pytest
import torch

from diffot.denoisers.network import as_denoiser
from diffot.flows.exact import ExactFlow
from diffot.laws import mixtures
from diffot.learning import datasets, latent_maps, measured, recipes, registry
from diffot.learning.latent_maps import (
    BATCH,
    LinearMap,
    decode,
    encode,
    latents,
    parse,
    translate,
)
from diffot.samplers.ddim import ddim, invert
from diffot.transport.gaussian import gaussian_monge_map

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


# --- The linear map


def test_linear_map_is_optimal_transport_and_the_flow_of_a_gaussian(generator):
    mean = torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    root = torch.randn(4, 4, generator=generator).double()
    images = (mean + torch.randn(500, 4, generator=generator).double() @ root).reshape(
        -1, 1, 2, 2
    )
    flat = images.flatten(1)
    law = mixtures.GaussianMixture([1.0], flat.mean(0)[None], flat.T.cov()[None])
    z = torch.randn(20, 1, 2, 2, generator=generator)
    found = LinearMap.fit(images).decode(z).flatten(1).double()
    points = z.flatten(1).double()
    monge = gaussian_monge_map(torch.zeros(4), torch.eye(4), law.means[0], law.covariances[0])
    assert torch.allclose(found, monge.decode(points), atol=1e-5)
    assert torch.allclose(found, ExactFlow(law).decode(points), atol=1e-5)


def test_linear_map_of_fewer_images_than_dimensions(generator):
    images = torch.randn(12, 3, 4, 4, generator=generator) + 2
    found = LinearMap.fit(images)
    assert found.axes.shape == (48, 11)
    # Its matrix is the root of the covariance.
    basis = torch.eye(48).reshape(48, 3, 4, 4)
    matrix = (found.decode(basis) - found.mean).flatten(1)
    covariance = images.flatten(1).T.cov()
    assert torch.allclose(matrix @ matrix, covariance, atol=1e-5)
    assert torch.allclose(matrix, matrix.T, atol=1e-5)
    # The images it was fitted to lie in its range.
    assert torch.allclose(found.decode(found.encode(images)), images, atol=1e-4)


@pytest.mark.parametrize(("kind", "offset"), [(torch.float32, 2.0**14), (torch.float64, 2.0**27)])
@pytest.mark.parametrize("n", [9, 200])
def test_linear_map_far_from_the_origin(kind, offset, n, generator):
    """Of sixty-fourths, which these offsets shift without rounding."""
    mixing = torch.randn(10, 12, generator=generator)
    images = (64 * torch.randn(n, 10, generator=generator) @ mixing).round().to(kind) / 64
    images = images.reshape(-1, 1, 3, 4)
    z = torch.randn(5, 1, 3, 4, generator=generator, dtype=kind)
    near, far = LinearMap.fit(images), LinearMap.fit(images + offset)
    assert near.mean.dtype == near.decode(z).dtype == kind
    rounding = 4 * torch.finfo(kind).eps * offset
    assert far.axes.shape == near.axes.shape
    assert torch.allclose(far.decode(z) - offset, near.decode(z), rtol=0, atol=rounding)
    size = near.encode(images).abs().max()
    codes = far.encode(images + offset)
    assert torch.allclose(codes, near.encode(images), rtol=0, atol=4 * rounding * size)


def test_linear_map_of_a_model_is_kept(tmp_path, monkeypatch):
    images = datasets.load_images(recipes.config("Digits28").data).images
    fresh = LinearMap.fit(images)
    z = latents(SHAPE, 5, 0)
    first = decode("linear Digits28", 5, 3, 0, tmp_path)
    assert torch.allclose(first, fresh.decode(z), atol=1e-4)
    latent_maps._linear_map.cache_clear()
    monkeypatch.setattr(LinearMap, "fit", None)
    assert torch.equal(decode("linear Digits28", 5, 3, 0, tmp_path), first)


# --- Names


def test_names_of_maps():
    found = parse("Faces32Conditional smile=yes hair_color=red steps=20", 50)
    assert found.labels == {"smile": 1, "hair_color": 3} and found.steps == 20
    assert not found.linear and parse("linear Animals32", 50).linear
    found = parse("Faces32A eta=1 noise=4", 50)
    assert (found.eta, found.noise, found.steps) == (1.0, 4, 50)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Face32A", "unknown model 'Face32A'; did you mean Faces32A"),
        ("linear", "names no model"),
        ("Low2DSCurve", "Low2DSCurve draws points"),
        ("Faces32A smile=yes", "unknown option of 'Faces32A smile=yes' 'smile'; .*steps, eta"),
        ("Faces32Conditional hair_color=green", "unknown class of hair_color 'green'.*red"),
        ("Faces32A steps=0", "steps in 'Faces32A steps=0' is 0; .* at least 1"),
        ("Faces32A steps=5 steps=6", "has steps twice"),
        ("Faces32Conditional smile=no smile=yes", "has smile twice"),
        ("Faces32A eta=nan", "eta in .* is nan; expected a number from 0 to 1"),
        ("Faces32A noise=-1", "noise in .* is -1; .* at least 0"),
        ("Faces32Conditional told=0", "told in .* is 0; .* at least 1"),
        ("Faces32A steps=many", "'steps=many' in .* is not a number"),
        ("linear Faces32A steps=5", "unknown option"),
        ("Faces32A told=1", "unknown option of 'Faces32A told=1' 'told'"),
        ("Faces32Conditional told=1 smile=yes", "both chosen labels and those of drawn images"),
    ],
)
def test_wrong_names_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        parse(name, 50)


# --- What is kept


def test_first_latents_stay_the_same():
    many = latents((3, 4, 4), 2 * BATCH + 5, 7)
    assert torch.equal(latents((3, 4, 4), 3, 7), many[:3])
    assert len(many.flatten(1).unique(dim=0)) == 2 * BATCH + 5
    assert abs(float(many.mean())) < 4 / many.numel() ** 0.5
    assert (latents((3, 4, 4), 3, 8) != many[:3]).all()


def test_images_are_the_samplers_and_are_made_once(tmp_path, no_model):
    found = decode("Digits28", 6, 4, 0, tmp_path)
    with torch.no_grad():
        expected = ddim(registry.load("Digits28"), latents(SHAPE, 6, 0), 4)
    assert torch.allclose(found, expected, atol=1e-4)
    no_model()
    assert torch.equal(decode("Digits28", BATCH, 4, 0, tmp_path)[:6], found)
    assert torch.equal(decode("Digits28 steps=4", 2, 50, 0, tmp_path), found[:2])
    for name, seed in [("Digits28", 1), ("Digits28 steps=3", 0), ("Digits28 eta=1", 0)]:
        with pytest.raises(AssertionError, match="Digits28 is loaded"):
            decode(name, 6, 4, seed, tmp_path)


def test_other_weights_make_other_images(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "load", lambda name: stand_in(0.0))
    first = decode("Digits28", 2, 4, 0, tmp_path)
    monkeypatch.setattr(registry, "load", lambda name: stand_in(1.0))
    assert torch.equal(decode("Digits28", 2, 4, 0, tmp_path), first)
    monkeypatch.setattr(registry, "card", lambda name: {"sha256": "of other weights"})
    assert not torch.allclose(decode("Digits28", 2, 4, 0, tmp_path), first)


def test_two_models_can_share_fresh_noise(tmp_path, monkeypatch):
    """Two denoisers that differ by a constant then differ by a constant at the end."""

    def images(constant, name):
        monkeypatch.setattr(registry, "load", lambda name: stand_in(constant))
        return decode(name, 3, 4, 0, tmp_path / str(constant))

    shared = images(1.0, "Digits28 eta=1") - images(0.0, "Digits28 eta=1")
    own = images(1.0, "Digits28 eta=1 noise=1") - images(0.0, "Digits28 eta=1 noise=2")
    assert shared.std() < 1e-3 * shared.abs().mean()
    assert own.std() > 0.1 * shared.abs().mean()


def test_codes_and_translations_are_the_samplers(tmp_path, no_model):
    x = measured.held_out("Digits28", 5).images
    model = registry.load("Digits28")
    codes = encode("Digits28", "Digits28", 5, 4, tmp_path)
    again = translate("Digits28", "Digits28 steps=6", 5, 4, tmp_path)
    linear = translate("linear Digits28", "Digits28", 5, 4, tmp_path)
    with torch.no_grad():
        expected = invert(model, x, 4)
        assert torch.allclose(codes, expected, atol=1e-4)
        assert torch.allclose(again, ddim(model, expected, 6), atol=1e-3)
        expected = encode("linear Digits28", "Digits28", 5, 4, tmp_path)
        assert torch.allclose(linear, ddim(model, expected, 4), atol=1e-3)
    no_model()
    assert torch.equal(translate("Digits28", "Digits28 steps=6", 5, 4, tmp_path), again)
    with pytest.raises(ValueError, match="is stochastic"):
        encode("Digits28 eta=0.5", "Digits28", 5, 4, tmp_path)


def test_a_model_is_told_of_drawn_images(tmp_path, monkeypatch):
    """Each latent is told of one image; the same number tells the same, another another."""

    class Teller:
        """Pictures, pixel by pixel, what it is told of the background."""

        schedule = recipes.config("Faces32A").schedule

        def condition(self, labels):
            assert set(labels) == set(recipes.config("Faces32Conditional").network["labels"])
            shade = labels["background"][:, None, None, None] / 3
            return as_denoiser(
                lambda x, t: (x - self.schedule.alpha(t) * shade) / self.schedule.sigma(t),
                self.schedule,
            )

    monkeypatch.setattr(registry, "load", lambda name: Teller())
    n = 200

    def told(number):
        with joblib.parallel_config("threading"):  # for other processes have the real model
            found = decode(f"Faces32Conditional told={number}", n, 3, 0, tmp_path)
        return (3 * found.mean((1, 2, 3))).round().long()

    first, second = told(1), told(2)
    assert torch.equal(told(1), first)
    share = float((first == second).double().mean())  # four backgrounds, equally frequent
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5
    assert first.bincount(minlength=4).min() > n / 4 - 4 * (n * 0.25 * 0.75) ** 0.5
    with pytest.raises(ValueError, match="leave out told"):
        latent_maps.encode("Faces32Conditional told=1", "Faces32A", 2, 3, tmp_path)
