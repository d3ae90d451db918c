"""The conditional autoencoder: its bound, what labels do, and the committed one."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as reference

from diffot import __main__ as command
from diffot.data import digits, faces
from diffot.learning import autoencoder, checkpoints, recipes, registry
from diffot.learning.autoencoder import ConditionalVAE
from diffot.learning.epoch_kinds import AutoencoderRecipe
from diffot.paths import CHECKPOINTS

RECIPE = AutoencoderRecipe(
    data={"set": "digits", "n": 600},
    test={"set": "digits", "n": 100},
    labels={"digit": 10},
    network={"widths": (16, 32), "latents": 8, "embedding": 16},
    epochs=3,
)


AUTOENCODERS = [n for n, r in recipes.RECIPES.items() if isinstance(r, AutoencoderRecipe)]


@pytest.fixture(scope="module")
def trained():
    return RECIPE.fit(digits.load(600), progress=False)


def small(labels=None):
    return ConditionalVAE(labels or {"smile": 2, "hair": 3}, 1, 8, (8,), latents=5, embedding=4)


def told(*values, name="smile"):
    labels = {"smile": torch.zeros(len(values), dtype=torch.long)}
    labels["hair"] = labels["smile"].clone()
    labels[name] = torch.tensor(values)
    return labels


def test_the_bound_is_that_of_the_distributions(generator):
    """Against torch.distributions, with the latent drawn from the same generator."""
    network = small().requires_grad_(False)
    network.log_sigma.fill_(-0.7)
    x = torch.rand(6, 1, 8, 8, generator=generator) * 2 - 1
    labels = told(0, 1, 0, 1, 1, 1)
    state = generator.get_state()
    bound = autoencoder.evidence_bound(network, x, labels, generator)
    mean, log_variance = network.encode(x, labels)
    posterior = Independent(Normal(mean, log_variance.exp().sqrt()), 1)
    prior = Independent(Normal(torch.zeros(6, 5), torch.ones(6, 5)), 1)
    assert torch.allclose(bound.divergence, reference(posterior, prior), rtol=1e-4)
    noise = torch.randn(6, 5, generator=generator.set_state(state))
    z = posterior.base_dist.loc + posterior.base_dist.scale * noise
    sigma = torch.tensor(-0.7).exp()
    said = Independent(Normal(network.decode(z, labels), sigma), 3).log_prob(x)
    assert torch.allclose(bound.log_likelihood, said, rtol=1e-4)
    assert torch.allclose(bound.elbo, said - reference(posterior, prior), rtol=1e-4)


def test_divergence_of_distant_and_narrow_posteriors(generator):
    mean = 10 * torch.randn(50, 7, generator=generator)
    log_variance = 3 * torch.randn(50, 7, generator=generator)
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros(50, 7), torch.ones(50, 7)), 1)
    found = autoencoder.kl_divergence(mean, log_variance)
    assert torch.allclose(found, reference(posterior, prior), rtol=1e-4)
    assert torch.equal(autoencoder.kl_divergence(0 * mean, 0 * mean), torch.zeros(50))


def test_an_autoencoder_may_be_told_nothing(generator):
    """It has no parameters for labels, and both directions take an empty dict."""
    network = ConditionalVAE({}, 1, 8, (8,), latents=5, embedding=4).requires_grad_(False)
    assert not [name for name, _ in network.named_parameters() if name.startswith("label")]
    x = torch.rand(6, 1, 8, 8, generator=generator) * 2 - 1
    mean, _ = network.encode(x, {})
    assert mean.std(0).min() > 0
    assert network.decode(mean, {}).shape == x.shape
    with pytest.raises(ValueError, match="unknown label"):
        network.decode(mean, {"smile": torch.zeros(6, dtype=torch.long)})


def test_training_depends_on_the_seed_and_on_nothing_else():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again, other = (
        replace(RECIPE, seed=seed, epochs=1).fit(digits.load(150), progress=False)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    weights, same = first.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(weights[key], same[key]) for key in weights)
    assert first.column("loss") == again.column("loss") != other.column("loss")
    assert not torch.equal(weights["down.0.weight"], other.network.down[0].weight)


def test_the_bound_rises_in_training(trained):
    assert trained.column("loss") == sorted(trained.column("loss"), reverse=True)


def test_images_are_coded_one_by_one(trained):
    data = digits.load(40)
    labels = {"digit": data.labels["digit"]}
    mean, _ = trained.network.encode(data.images, labels)
    alone, _ = trained.network.encode(data.images[7:8], {"digit": labels["digit"][7:8]})
    assert torch.allclose(mean[7:8], alone, atol=1e-5)


def test_evaluation_agrees_with_a_plain_computation(trained):
    """More images than pass through at a time."""
    data = digits.load(600).at(slice(0, 300))
    x, labels = data.images, {"digit": data.labels["digit"]}
    found = autoencoder.evaluate(trained.network, data)
    mean, log_variance = trained.network.encode(x, labels)
    rmse = (trained.network.decode(mean, labels) - x).square().mean().sqrt()
    assert found["rmse"] == pytest.approx(float(rmse), rel=1e-4)
    plain = trained.network.decode(torch.zeros(300, 8), labels)
    assert found["rmse_labels_only"] == pytest.approx(float((plain - x).square().mean() ** 0.5))
    divergence = autoencoder.kl_divergence(mean, log_variance).mean()
    assert found["divergence"] == pytest.approx(float(divergence), rel=1e-4)


def test_bad_labels_and_shapes_are_named():
    network = small()
    z, x = torch.zeros(2, 5), torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="unknown label 'smlie'; did you mean smile"):
        network.decode(z, told(0, 1, name="smlie"))
    with pytest.raises(ValueError, match="label 'hair' is missing; all are needed: smile, hair"):
        network.encode(x, {"smile": torch.tensor([0, 1])})
    for bad in (2, -1):
        with pytest.raises(ValueError, match="label 'smile' has values outside of 0 to 1"):
            network.decode(z, told(0, bad))
    with pytest.raises(ValueError, match="label 'smile' has 3 values for 2"):
        network.decode(z, {**told(0, 1), "smile": torch.tensor([0, 1, 1])})
    with pytest.raises(ValueError, match=r"z has shape \(2, 4\); expected \(B, 5\)"):
        network.decode(z[:, :4], told(0, 1))
    with pytest.raises(ValueError, match=r"shape \(2, 3, 8, 8\); expected \(B, 1, 8, 8\)"):
        network.encode(x.expand(2, 3, 8, 8), told(0, 1))
    with pytest.raises(ValueError, match="cannot be halved 2 times"):
        ConditionalVAE({"smile": 2}, 1, 6, (8, 8))
    with pytest.raises(ValueError, match="did you mean digit"):
        replace(RECIPE, labels={"digits": 10}).fit(digits.load(100), progress=False)
    with pytest.raises(ValueError, match="one of 9 classes of digit"):
        replace(RECIPE, labels={"digit": 9}).fit(digits.load(100), progress=False)
    with pytest.raises(ValueError, match=r"10 images.*at least 64"):
        RECIPE.fit(digits.load(10), progress=False)
    with pytest.raises(ValueError, match="did you mean FacesVAE32"):
        registry.load("FaceVAE32")


def test_training_that_diverges_stops():
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        replace(RECIPE, learning_rate=1e9).fit(digits.load(100), progress=False)


# --- The committed one --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed():
    return registry.load("FacesVAE32")


@pytest.fixture(scope="module")
def fresh():
    return faces.load(200, 32, seed=7)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_committed_ones_are_of_the_present_recipe(name):
    card = registry.card(name)
    assert card["cpu_seconds"] < 900 and card["losses"][-1] < card["losses"][0]
    assert (CHECKPOINTS / f"{name}.safetensors").stat().st_size < 4e6


def test_it_is_told_what_the_diffusion_model_is_told():
    recipe, diffusion = recipes.config("FacesVAE32"), recipes.config("Faces32Conditional")
    assert recipe.labels == diffusion.network["labels"] and recipe.data == diffusion.data


def test_faces_are_described_by_their_codes(committed, fresh):
    """As well as the card says, and better than by their labels or by codes of other faces."""
    card = registry.card("FacesVAE32")["evaluation"]
    found = autoencoder.evaluate(committed, fresh)
    assert found["rmse"] == pytest.approx(card["rmse"], rel=0.1)
    assert found["negative_elbo"] == pytest.approx(card["negative_elbo"], rel=0.1)
    assert 2 * found["rmse"] < min(found["rmse_labels_only"], found["rmse_other_latent"])


def test_a_latent_under_other_labels_shows_them(committed, generator):
    """Samples from the prior, read by the probe: the labels told, not those drawn with."""
    probe = registry.load("FacesProbe32")
    z = torch.randn(100, committed.latents, generator=generator)
    base = {
        name: torch.randint(classes, (100,), generator=generator)
        for name, classes in committed.labels.items()
    }
    for name in ("background", "hair_color", "sunglasses"):
        other = {**base, name: (base[name] + 1) % committed.labels[name]}
        for labels in (base, other):
            read = probe.classify(committed.decode(z, labels).clamp(-1, 1))[name]
            assert (read == labels[name]).float().mean() > 0.9, name


def test_command_line_trains_an_autoencoder(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(recipes.RECIPES, "SmallVAE", replace(RECIPE, epochs=1))
    monkeypatch.setattr(registry, "save", partial(registry.save, folder=tmp_path))
    assert command.main(["train", "SmallVAE"]) == 0
    assert "SmallVAE" in capsys.readouterr().out
    loaded, again = registry.load("SmallVAE", tmp_path), registry.train("SmallVAE", False).network
    weights = again.state_dict()
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, weights[key].half().float())
    card = checkpoints.card("SmallVAE", tmp_path)
    measured = autoencoder.evaluate(loaded, digits.load(100))
    assert card["evaluation"]["rmse"] == pytest.approx(measured["rmse"], abs=1e-5)
    assert command.main(["train", "FacesVAE32"]) == 2
    assert "exists already" in capsys.readouterr().err
