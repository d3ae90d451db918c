"""VAE, GAN and normalizing flow against closed forms."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from diffot.learning.batches import Draws
from diffot.learning.gan import (
    GANConfig,
    GeneratorMap,
    discriminator_loss,
    generator_loss,
    train_gan,
)
from diffot.learning.networks import seeded
from diffot.learning.normalizing_flow import LikelihoodLoss, NormalizingFlow, spline_flow
from diffot.learning.vae import VAE, BoundLoss, VAEMap, importance_bound


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def linear():
    """A VAE with linear maps whose weights are those of probabilistic PCA, and its data."""
    scales = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    x = torch.randn(2000, 3, dtype=torch.float64, generator=_generator()) * scales
    x = x - x.mean(0)
    values, axes = torch.linalg.eigh(x.mT @ x / (len(x) - 1))
    noise = values[:2].mean()
    w = axes[:, 2:] * (values[2] - noise).sqrt()  # Tipping & Bishop 1999, eq. 7
    inner = float(w.mT @ w + noise)
    network = VAE(3, 1, ()).double()
    with torch.no_grad():
        network.decoder[0].weight.copy_(w)
        network.decoder[0].bias.zero_()
        network.log_sigma.copy_(noise.log() / 2)
        network.encoder[0].weight.copy_(torch.cat([w.mT / inner, torch.zeros(1, 3)]))
        network.encoder[0].bias.copy_(
            torch.tensor([0.0, math.log(float(noise) / inner)], dtype=x.dtype)
        )
    return network, x


def test_a_linear_vae_with_the_exact_posterior_has_the_likelihood_of_probabilistic_pca(linear):
    network, x = linear
    expected = PCA(1).fit(x.numpy()).score_samples(x.numpy())
    for draws in (1, 7):  # the bound is tight for every draw
        found = importance_bound(network, x, draws, _generator())
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_the_bound_of_a_wrong_posterior_rises_with_its_draws_to_the_likelihood(linear):
    network, x = linear
    exact = importance_bound(network, x, 1, _generator()).mean()
    with torch.no_grad():
        network.encoder[0].bias[1] += 1.0
    bounds = [importance_bound(network, x, k, _generator()).mean() for k in (1, 10, 1000)]
    assert bounds[0] < bounds[1] < bounds[2] < exact + 0.002
    assert exact - bounds[0] > 0.1  # KL of a variance e times too large: (e - 2) / 2
    assert float(exact - bounds[0]) == pytest.approx((math.e - 2) / 2, abs=0.05)


def test_the_map_of_a_vae_draws_from_its_model(linear):
    network, x = linear
    z = torch.randn(50_000, 4, dtype=torch.float64, generator=_generator(1))
    drawn = VAEMap(network).decode(z)
    covariance = PCA(1).fit(x.numpy()).get_covariance()
    np.testing.assert_allclose(torch.cov(drawn.mT).detach().numpy(), covariance, atol=0.08)


def test_the_density_of_a_flow_integrates_to_one_and_its_map_has_an_inverse():
    flow = NormalizingFlow(spline_flow(2, 2, (16,), seed=3))
    line = torch.linspace(-7, 7, 561, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        total = flow.log_likelihood(grid).exp().sum() * (line[1] - line[0]) ** 2
        z = torch.randn(200, 2, dtype=torch.float64, generator=_generator())
        back = flow.encode(flow.decode(z))
    assert float(total) == pytest.approx(1, abs=1e-3)
    assert float((back - z).abs().max()) < 1e-3


def test_the_density_of_a_flow_is_that_of_its_map():
    flow = NormalizingFlow(spline_flow(2, 2, (16,), seed=3))
    z = torch.randn(50, 2, dtype=torch.float64, generator=_generator())
    volumes = torch.linalg.slogdet(flow.jacobian(z))[1]
    prior = -z.square().sum(1) / 2 - math.log(2 * math.pi)
    with torch.no_grad():
        found = flow.log_likelihood(flow.decode(z))
    assert float((found - prior + volumes).abs().max()) < 1e-3


def test_the_loss_of_the_best_discriminator_is_the_jensen_shannon_divergence():
    # two laws on two values: p = (0.9, 0.1), q = (0.4, 0.6)
    p, q = torch.tensor([0.9, 0.1]), torch.tensor([0.4, 0.6])
    logits = (p / q).log()
    real, made = (
        logits.repeat_interleave(torch.tensor([9, 1])),
        logits.repeat_interleave(torch.tensor([4, 6])),
    )
    middle = (p + q) / 2
    divergence = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    found = discriminator_loss(real, made)
    assert float(found) == pytest.approx(2 * math.log(2) - 2 * float(divergence), abs=1e-6)
    assert float(generator_loss(torch.zeros(3))) == pytest.approx(math.log(2))


def test_the_generator_is_told_to_be_taken_for_data():
    """-log sigmoid of the logits, which falls as they rise."""
    logits = torch.tensor([-2.0, 0.0, 3.0])
    expected = -torch.distributions.Bernoulli(logits=logits).log_prob(torch.ones(3)).mean()
    assert float(generator_loss(logits)) == pytest.approx(float(expected))
    assert generator_loss(logits + 1) < generator_loss(logits)


def test_the_loss_of_a_vae_is_minus_its_likelihood_where_the_encoder_is_exact(linear):
    """In the mean over draws, for the posterior of probabilistic PCA."""
    network, x = linear
    once = x[:1]
    loss = BoundLoss(1)
    inputs = loss.prepare((once.repeat(100_000, 1), {}), _generator(5))
    losses = loss(network, (inputs[0], inputs[1].double())).detach()
    expected = -importance_bound(network, once, 1000, _generator(6)).detach()
    error = float(losses.std()) / len(losses) ** 0.5
    assert float(losses.mean()) == pytest.approx(float(expected), abs=5 * error + 1e-6)


def test_the_loss_of_a_normalizing_flow_is_minus_its_log_density():
    """By the determinant of autograd's Jacobian."""
    flow = spline_flow(2, 2, (16, 16), 0)
    x = torch.randn(3, 2, generator=_generator(2))

    def encoded(point):
        return flow().transform(point[None])[0]

    z = torch.stack([encoded(point) for point in x])
    slopes = torch.stack([torch.autograd.functional.jacobian(encoded, p) for p in x])
    log_density = -z.square().sum(1) / 2 - math.log(2 * math.pi) + slopes.det().abs().log()
    torch.testing.assert_close(
        LikelihoodLoss()(flow, (x, {})), -log_density, rtol=1e-4, atol=1e-4
    )


class Still(nn.Module):
    """A generator whose one weight does nothing: it answers with its latents."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(()))

    def forward(self, z):
        return z + 0 * self.idle


def test_a_discriminator_against_a_fixed_generator_learns_the_logarithm_of_the_ratio():
    # N(1, 1) against N(0, 1): log p / q = x - 1/2
    batches = Draws(lambda n, draws: 1 + torch.randn(n, 1, generator=draws))
    judge = seeded(lambda: nn.Linear(1, 1), 0)
    result = train_gan(Still(), judge, batches, GANConfig(800, 1024, 0.01), 1, _generator())
    assert result.discriminator.weight.item() == pytest.approx(1, abs=0.15)
    assert result.discriminator.bias.item() == pytest.approx(-0.5, abs=0.15)
    z = torch.randn(5, 1, dtype=torch.float64, generator=_generator())
    assert (GeneratorMap(result.generator).decode(z) - z).abs().max() < 1e-6


def test_gan_training_repeats_itself_and_leaves_its_networks_alone():
    batches = Draws(lambda n, draws: 1 + torch.randn(n, 1, generator=draws))
    pair = [seeded(lambda: nn.Linear(1, 1), k) for k in (0, 1)]
    before = [network.weight.item() for network in pair]
    found = [
        train_gan(*pair, batches, GANConfig(20, 32), 1, _generator()).generator.weight.item()
        for _ in range(2)
    ]
    assert found[0] == found[1] != before[0]
    assert [network.weight.item() for network in pair] == before


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: GANConfig(0), ValueError, "iterations"),
        (lambda: GANConfig(10, learning_rate=-1.0), ValueError, "learning_rate"),
        (lambda: VAE(2, 0), ValueError, "latents"),
        (lambda: spline_flow(2, 2, (), 0), ValueError, "widths"),
        (lambda: NormalizingFlow(nn.Linear(2, 2)), TypeError, "network"),
        (lambda: VAEMap(VAE(2, 2)).decode(torch.zeros(5, 2)), ValueError, "z has shape"),
        (
            lambda: importance_bound(VAE(2, 2), torch.zeros(5, 3), 1, _generator()),
            ValueError,
            "x has shape",
        ),
    ],
)
def test_bad_calls_are_answered_with_what_to_do(call, error, words):
    with pytest.raises(error, match=words):
        call()
