import math

import pytest
import torch

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.guidance import (
    GradientGuidedDenoiser,
    GuidedDenoiser,
    IntervalDenoiser,
    at_clean_point,
    class_log_probability,
    classifier_free,
    conditional_law,
    cosine_similarity,
    exact_classifier,
)
from diffot.denoisers.network import NetworkDenoiser
from diffot.flows.exact import ExactFlow
from diffot.flows.probability import ProbabilityFlow
from diffot.laws import mixtures
from diffot.learning.networks import UNet
from diffot.processes import schedules
from diffot.samplers.ddim import ddim
from diffot.samplers.ddpm import ddpm
from diffot.samplers.higher_order import dpmpp_2m, heun, unipc

LAW = mixtures.GaussianMixture(
    [0.5, 0.3, 0.2],
    [[1.0, 0.5], [-1.2, 0.3], [0.2, -1.5]],
    [[[0.4, 0.1], [0.1, 0.3]], [[0.2, 0.0], [0.0, 0.5]], [[0.3, -0.1], [-0.1, 0.2]]],
)
PART = conditional_law(LAW, [0, 2])
SCHEDULES = [
    schedules.linear(T=100),
    schedules.VarianceExploding(20.0, 0.01),
    schedules.Rectified(),
]


def points(n=30, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, 2, dtype=torch.float64, generator=draws)


def exact(schedule):
    return ExactDenoiser(LAW, schedule), ExactDenoiser(PART, schedule)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
@pytest.mark.parametrize("weight", [-1.0, 0.4, 3.0])
def test_both_forms_of_guidance_agree(schedule, weight):
    """A combination of two denoisers, and a gradient by automatic differentiation."""
    free, told = exact(schedule)
    combined = GuidedDenoiser(free, told, weight)
    pushed = GradientGuidedDenoiser(free, exact_classifier(LAW, schedule, [0, 2]), weight)
    x = points()
    for share in (0.02, 0.3, 0.7, 0.95):
        t = share * schedule.T
        for reading in ("denoise", "noise", "score", "velocity", "flow_velocity"):
            one, other = (getattr(d, reading)(x, t) for d in (combined, pushed))
            assert (one - other).abs().max() < 1e-10 * (1 + one.abs().max()), reading


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_weights_0_and_1_are_the_law_and_the_class(schedule):
    free, told = exact(schedule)
    x, t = points(), 0.4 * schedule.T
    for weight, end in ((0, free), (1, told)):
        assert torch.equal(GuidedDenoiser(free, told, weight).denoise(x, t), end.denoise(x, t))


def test_guided_flows_with_weights_0_and_1_are_the_exact_flows():
    free, told = exact(schedules.Rectified())
    z = points() / 2
    for weight, law in ((0, LAW), (1, PART)):
        flow = ProbabilityFlow(GuidedDenoiser(free, told, weight), 1e-9)
        assert (flow.decode(z) - ExactFlow(law).decode(z)).abs().max() < 1e-6


def test_conditional_law_is_what_bayes_says():
    """Its density is p(y | x) p(x) / p(y), and the classifier at no noise is p(y | x)."""
    x, schedule = points(), schedules.linear(T=100)
    log_class = exact_classifier(LAW, schedule, [0, 2])(x, 0)
    responsibilities = LAW.responsibilities(x)[:, [0, 2]].sum(1)
    assert torch.allclose(log_class.exp(), responsibilities, atol=1e-12)
    bayes = log_class + LAW.log_prob(x) - math.log(0.7)
    assert torch.allclose(PART.log_prob(x), bayes, atol=1e-10)


def test_classes_sum_to_one_at_every_noise_level():
    x, schedule = points(), schedules.linear(T=100)
    t = torch.linspace(1, 100, len(x), dtype=torch.float64)
    total = sum(exact_classifier(LAW, schedule, part)(x, t).exp() for part in ([0, 2], [1]))
    assert (total - 1).abs().max() < 1e-12


def test_one_time_for_each_point():
    schedule = schedules.linear(T=100)
    free, told = exact(schedule)
    guided = GuidedDenoiser(free, told, 2.0)
    pushed = GradientGuidedDenoiser(free, exact_classifier(LAW, schedule, [0, 2]), 2.0)
    limited = IntervalDenoiser(guided, told, 0.3, 1.0)
    x, t = points(3), torch.tensor([4.0, 50.0, 90.0])
    for denoiser in (guided, pushed, limited):
        apart = torch.cat([denoiser.denoise(x[i : i + 1], float(t[i])) for i in range(3)])
        assert (denoiser.denoise(x, t) - apart).abs().max() < 1e-12


@pytest.mark.parametrize("sampler", [ddim, heun, dpmpp_2m, unipc])
def test_every_sampler_takes_every_kind(sampler):
    schedule = schedules.linear(T=100)
    free, told = exact(schedule)
    classifier = exact_classifier(LAW, schedule, [0, 2])
    z = points(5) / 2
    guided = sampler(GuidedDenoiser(free, told, 1.5), z, 20)
    pushed = sampler(GradientGuidedDenoiser(free, classifier, 1.5), z, 20)
    assert (guided - pushed).abs().max() < 1e-9
    limited = sampler(IntervalDenoiser(GuidedDenoiser(free, told, 1.5), told, 0, math.inf), z, 20)
    # of all levels but the last, where there is no noise
    assert (guided - limited).abs().max() < 1e-9


def test_stochastic_sampling_with_the_weight_1_draws_the_class():
    schedule = schedules.linear(T=1000)
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 2, dtype=torch.float64, generator=draws)
    classifier = exact_classifier(LAW, schedule, [0, 2])
    guided = GradientGuidedDenoiser(ExactDenoiser(LAW, schedule), classifier, 1.0)
    with torch.no_grad():
        x = ddpm(guided, x, draws, steps=200)
    error = PART.covariance.diagonal().sqrt() / 2000**0.5
    assert ((x.mean(0) - PART.mean).abs() < 5 * error).all()


def test_guided_denoisers_are_differentiable():
    """Reverse mode through the gradient: against differences."""
    schedule = schedules.linear(T=100)
    free, _ = exact(schedule)
    pushed = GradientGuidedDenoiser(free, exact_classifier(LAW, schedule, [0]), 2.0)
    x = points(1).requires_grad_(True)
    jacobian = torch.autograd.functional.jacobian(lambda x: pushed.denoise(x, 40)[0], x)[:, 0]
    step = 1e-5 * torch.eye(2, dtype=torch.float64)
    with torch.no_grad():
        sides = [pushed.denoise(x + s * step, 40) for s in (1, -1)]
    assert torch.allclose(jacobian.T, (sides[0] - sides[1]) / 2e-5, atol=1e-7)


def test_an_interval_chooses_by_noise_level():
    schedule = schedules.VarianceExploding(20.0, 0.01)
    free, told = exact(schedule)
    limited, x = IntervalDenoiser(free, told, 0.5, 2.0), points()
    for t, end in ((0.4, told), (0.5, told), (0.51, free), (2.0, free), (2.1, told)):
        assert torch.equal(limited.denoise(x, t), end.denoise(x, t))
        assert torch.equal(limited.noise(x, t), end.noise(x, t))


def test_an_interval_up_to_infinity_holds_pure_noise():
    free, told = exact(schedules.Rectified())
    x = points()
    limited = IntervalDenoiser(free, told, 1.0, math.inf)
    assert torch.equal(limited.denoise(x, 1.0), free.denoise(x, 1.0))
    finite = IntervalDenoiser(free, told, 1.0, 1e9)
    assert torch.equal(finite.denoise(x, 1.0), told.denoise(x, 1.0))


def test_a_linear_classifier_of_clean_points_tilts_by_a_known_shift():
    """For a Gaussian law and s = a.x, the tilted law is shifted by C a, and the posterior mean
    given noise by w Cov(x_0 | x) a: the gradient through the denoiser, exactly."""
    schedule = schedules.linear(T=100)
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.4]], dtype=torch.float64)
    mean, a = torch.tensor([[0.3, -0.2]]).double(), torch.tensor([0.7, -1.1]).double()
    law = mixtures.GaussianMixture([1.0], mean, covariance[None])
    tilted = mixtures.GaussianMixture([1.0], mean + 2.5 * a @ covariance, covariance[None])
    free = ExactDenoiser(law, schedule)
    guided = GradientGuidedDenoiser(free, at_clean_point(free, lambda x: x @ a), 2.5)
    x = points()
    for t in (3, 50, 100):
        expected = ExactDenoiser(tilted, schedule).denoise(x, t)
        assert (guided.denoise(x, t) - expected).abs().max() < 1e-10


def test_a_trained_classifier_is_one_of_logits():
    schedule = schedules.linear(T=100)
    parts = [exact_classifier(LAW, schedule, [k]) for k in range(3)]
    trained = class_log_probability(lambda x, t: 5 + torch.stack([p(x, t) for p in parts], 1), 1)
    x = points()
    assert torch.allclose(trained(x, 30), parts[1](x, 30), atol=1e-12)


def test_similarity_grows_along_the_guided_flow():
    schedule = schedules.linear(T=100)
    free, _ = exact(schedule)
    reference = torch.tensor([[-1.0, 0.2]], dtype=torch.float64)
    similar = cosine_similarity(lambda x: x, reference)
    z = points(200) / 2
    assert similar(3 * reference).item() == pytest.approx(1)
    means = []
    for weight in (0.0, 1.0, 4.0):
        guided = GradientGuidedDenoiser(free, at_clean_point(free, similar), weight)
        means.append(float(similar(ddim(guided, z, 20)).mean()))
    assert means[0] + 0.1 < means[1] < means[2] - 0.05


def test_classifier_free_guidance_of_a_network():
    torch.manual_seed(0)
    network = UNet(widths=(8,), middle=(8,), embedding=8, labels={"smile": 2, "hair": 3})
    network.requires_grad_(False)
    for weights in network.parameters():  # some are 0 at the start, so that labels do nothing
        weights.normal_(0, 0.2)
    denoiser = NetworkDenoiser(network, schedules.linear(T=100), "v")
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = {"smile": 1, "hair": torch.tensor([0, 1, 2])}
    guided = classifier_free(denoiser, labels, 3.0)
    assert isinstance(guided, Denoiser)
    told, free = denoiser.condition(labels).noise(x, 40), denoiser.noise(x, 40)
    assert torch.allclose(guided.noise(x, 40), 3 * told - 2 * free, atol=1e-4)
    assert not torch.allclose(told, free)
