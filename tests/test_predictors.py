import pytest
import torch

from diffot import mixtures, predictors
from diffot.networks import MLP
from diffot.predictors import EmpiricalPredictor, ExactPredictor, NetworkPredictor, as_predictor


def points(generator, n=20):
    return torch.randn(n, 2, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("t", [0.3, 1, 17.5, 400, 1000])
def test_four_readings_of_the_exact_predictor_agree(oblique, schedule, generator, t):
    exact, x = ExactPredictor(oblique, schedule), points(generator)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    eps, x_0 = exact(x, t), exact.denoised(x, t)
    assert (alpha * x_0 + sigma * eps - x).abs().max() < 1e-12
    x.requires_grad_()
    law = oblique.diffused(schedule.alpha_bar_at(t))
    (score,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    assert (predictors.score(exact, x, t) - score).abs().max() < 1e-9
    v = predictors.velocity(exact, x, t)
    assert (alpha * x - sigma * v - x_0).abs().max() < 1e-12  # Salimans & Ho 2022, appendix D


def test_a_lifted_function_denoises_like_the_exact_predictor(oblique, schedule, generator):
    exact, x = ExactPredictor(oblique, schedule), points(generator)
    lifted = as_predictor(exact, schedule)
    for t in (5, 300):
        assert (lifted.denoised(x, t) - exact.denoised(x, t)).abs().max() < 1e-11


def test_one_time_per_point(oblique, schedule, generator):
    x, t = points(generator, 3), torch.tensor([3.0, 250.0, 990.0])
    for predictor in (
        ExactPredictor(oblique, schedule),
        EmpiricalPredictor(oblique.sample(50, generator), schedule),
        NetworkPredictor(MLP(2).requires_grad_(False), schedule),
    ):
        together = predictor.denoised(x, t)
        apart = torch.cat([predictor.denoised(x[i : i + 1], float(t[i])) for i in range(3)])
        assert (together - apart).abs().max() < 1e-4 * together.abs().max()


def test_exact_prior_is_the_law_of_the_last_time(oblique, schedule, generator):
    exact, x = ExactPredictor(oblique, schedule), points(generator)
    x.requires_grad_()
    (score,) = torch.autograd.grad(exact.prior().log_prob(x).sum(), x)
    assert (predictors.score(exact, x, schedule.T) - score).abs().max() < 1e-12


def test_empirical_predictor_is_the_limit_of_narrow_gaussians(schedule, generator):
    data = torch.randn(7, 2, dtype=torch.float64, generator=generator)
    narrow = mixtures.equal_mixture(data.tolist(), 1e-14)
    exact, empirical = ExactPredictor(narrow, schedule), EmpiricalPredictor(data, schedule)
    x = points(generator)
    for t in (20, 400, 1000):
        assert (empirical(x, t) - exact(x, t)).abs().max() < 1e-8
        assert (empirical.denoised(x, t) - exact.denoised(x, t)).abs().max() < 1e-8


def test_empirical_predictor_takes_images(schedule, generator):
    data = torch.randn(5, 3, 4, 4, dtype=torch.float64, generator=generator)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=generator)
    flat = EmpiricalPredictor(data.flatten(1), schedule)(x.flatten(1), 300)
    assert (EmpiricalPredictor(data, schedule)(x, 300).flatten(1) - flat).abs().max() < 1e-12


def test_networks_see_whole_times_as_a_share_and_their_own_type(schedule):
    seen = []

    class Spy(MLP):
        def forward(self, x, share):
            seen.append((x.dtype, share.tolist()))
            return super().forward(x, share)

    network = NetworkPredictor(Spy(2), schedule)
    out = network(torch.zeros(2, 2, dtype=torch.float64), 33.4)
    network(torch.zeros(1, 2, dtype=torch.float64), 0.2)
    assert out.dtype == torch.float64
    assert seen[0] == (torch.float32, pytest.approx([0.033, 0.033]))
    assert seen[1] == (torch.float32, pytest.approx([0.001]))


def test_bad_times_and_points_are_refused(oblique, schedule):
    network, x = NetworkPredictor(MLP(2), schedule), torch.zeros(3, 2)
    for t in (0, -1, 1001):
        with pytest.raises(ValueError, match="T = 1000"):
            network(x, t)
    for predictor in (network, ExactPredictor(oblique, schedule)):
        with pytest.raises(ValueError, match="expected"):
            predictor(torch.zeros(3, 5), 10)
    with pytest.raises(ValueError, match="one for each point"):
        network.denoised(x, torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="NaN"):
        EmpiricalPredictor(torch.full((2, 2), float("nan")), schedule)
