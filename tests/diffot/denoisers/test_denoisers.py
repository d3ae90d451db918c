import pytest
import torch
from diffusers import DDIMScheduler

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import NetworkDenoiser, as_denoiser
from diffot.laws import mixtures
from diffot.laws.points import PointSet
from diffot.learning.networks import MLP, UNet


def points(generator, n=20):
    return torch.randn(n, 2, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("t", [0.3, 1, 17.5, 400, 1000])
def test_four_readings_of_the_exact_denoiser_agree(oblique, schedule, generator, t):
    exact, x = ExactDenoiser(oblique, schedule), points(generator)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    eps, x_0 = exact.noise(x, t), exact.denoise(x, t)
    assert (alpha * x_0 + sigma * eps - x).abs().max() < 1e-12
    x.requires_grad_()
    law = oblique.marginal(float(alpha), float(sigma))
    (score,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    assert (exact.score(x, t) - score).abs().max() < 1e-9
    v = exact.velocity(x, t)
    assert (alpha * x - sigma * v - x_0).abs().max() < 1e-12  # Salimans & Ho 2022, appendix D


def test_a_lifted_function_denoises_like_the_exact_denoiser(oblique, schedule, generator):
    exact, x = ExactDenoiser(oblique, schedule), points(generator)
    lifted = as_denoiser(exact.noise, schedule)
    for t in (5, 300):
        assert (lifted.denoise(x, t) - exact.denoise(x, t)).abs().max() < 1e-11


def test_one_time_per_point(oblique, schedule, generator):
    x, t = points(generator, 3), torch.tensor([3.0, 250.0, 990.0])
    for denoiser in (
        ExactDenoiser(oblique, schedule),
        ExactDenoiser(PointSet(oblique.sample(50, generator)), schedule),
        NetworkDenoiser(MLP(2).requires_grad_(False), schedule),
    ):
        together = denoiser.denoise(x, t)
        apart = torch.cat([denoiser.denoise(x[i : i + 1], float(t[i])) for i in range(3)])
        assert (together - apart).abs().max() < 1e-4 * together.abs().max()


def test_exact_prior_is_the_law_of_the_last_time(oblique, schedule, generator):
    exact, x = ExactDenoiser(oblique, schedule), points(generator)
    x.requires_grad_()
    (score,) = torch.autograd.grad(exact.prior().log_prob(x).sum(), x)
    assert (exact.score(x, schedule.T) - score).abs().max() < 1e-12


def test_empirical_denoiser_is_the_limit_of_narrow_gaussians(schedule, generator):
    data = torch.randn(7, 2, dtype=torch.float64, generator=generator)
    narrow = mixtures.equal_mixture(data.tolist(), 1e-14)
    exact, empirical = ExactDenoiser(narrow, schedule), ExactDenoiser(PointSet(data), schedule)
    x = points(generator)
    for t in (20, 400, 1000):
        assert (empirical.noise(x, t) - exact.noise(x, t)).abs().max() < 1e-8
        assert (empirical.denoise(x, t) - exact.denoise(x, t)).abs().max() < 1e-8


def test_empirical_denoiser_takes_images(schedule, generator):
    data = torch.randn(5, 3, 4, 4, dtype=torch.float64, generator=generator)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=generator)
    flat = ExactDenoiser(PointSet(data.flatten(1)), schedule).noise(x.flatten(1), 300)
    assert (
        ExactDenoiser(PointSet(data), schedule).noise(x, 300).flatten(1) - flat
    ).abs().max() < 1e-12


def test_networks_see_real_times_as_a_share_and_their_own_type(schedule):
    seen = []

    class Spy(MLP):
        def forward(self, x, share):
            seen.append((x.dtype, share.tolist()))
            return super().forward(x, share)

    network = NetworkDenoiser(Spy(2), schedule)
    out = network.noise(torch.zeros(2, 2, dtype=torch.float64), 33.4)
    network.noise(torch.zeros(1, 2, dtype=torch.float64), 0.2)
    assert out.dtype == torch.float64
    assert seen[0] == (torch.float32, pytest.approx([0.0334, 0.0334]))
    assert seen[1] == (torch.float32, pytest.approx([0.001]))


def test_bad_times_and_points_are_refused(oblique, schedule):
    network, x = NetworkDenoiser(MLP(2), schedule), torch.zeros(3, 2)
    for t in (0, -1, 1001):
        with pytest.raises(ValueError, match="T = 1000"):
            network.noise(x, t)
    for denoiser in (network, ExactDenoiser(oblique, schedule)):
        with pytest.raises(ValueError, match="expected"):
            denoiser.noise(torch.zeros(3, 5), 10)
    with pytest.raises(ValueError, match="one for each point"):
        network.denoise(x, torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="NaN"):
        ExactDenoiser(PointSet(torch.full((2, 2), float("nan"))), schedule)


@pytest.mark.parametrize(
    ("dtype", "offset", "tolerance"),
    [(torch.float64, 1e6, 1e-9), (torch.float32, 1e3, 2e-4), (torch.float16, 8.0, 0.01)],
)
def test_a_finite_data_set_may_lie_far_away(schedule, generator, dtype, offset, tolerance):
    """A law that is moved moves its posterior means, up to the input's own rounding."""
    data = torch.randint(-8, 9, (50, 2), generator=generator).double() / 4
    near = ExactDenoiser(PointSet(data), schedule)
    far = ExactDenoiser(PointSet((data + offset).to(dtype)), schedule)
    for t in (20, 100, 300):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        noisy = alpha * data + sigma * torch.randn(
            50, 2, dtype=torch.float64, generator=generator
        )
        x = (noisy + alpha * offset).to(dtype)
        expected = near.denoise(x.double() - alpha * offset, t) + offset
        found = far.denoise(x, t)
        assert found.dtype == dtype and bool(found.isfinite().all())
        assert (found.double() - expected).abs().max() < tolerance


def test_a_finite_data_set_in_half_precision_gives_numbers_at_every_time(schedule, generator):
    data = 30 * torch.randn(20, 3, 8, 8, generator=generator)
    x = 30 * torch.randn(4, 3, 8, 8, generator=generator)
    for dtype in (torch.float16, torch.bfloat16):
        half = ExactDenoiser(PointSet(data.to(dtype)), schedule)
        for t in (1, 500, 1000):
            double = ExactDenoiser(PointSet(data.to(dtype).double()), schedule)
            expected = double.noise(x.to(dtype).double(), t)
            assert torch.allclose(half.noise(x.to(dtype), t).double(), expected, rtol=0.01)


def test_a_model_that_counts_its_levels_from_zero_is_asked_at_its_own(oblique, schedule):
    """diffusers' step 0 holds one step of noise, as t = 1 does here."""
    asked = []

    def model(x, t):
        asked.append(float(t))
        return x

    theirs = DDIMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02,
                           beta_schedule="scaled_linear").alphas_cumprod  # fmt: skip
    for first in (0, 1):
        as_denoiser(model, schedule, first=first).noise(torch.zeros(1, 2), 17.0)
    assert asked == [16.0, 17.0]
    assert float(theirs[16]) == pytest.approx(float(schedule.alpha_bar[17]), rel=1e-5)


def test_without_noise_the_exact_denoised_point_is_x(oblique, schedule, generator):
    x = points(generator)
    assert (ExactDenoiser(oblique, schedule).denoise(x, 0) - x).abs().max() < 1e-13


def test_truth_values_are_labels(schedule):
    network = UNet(widths=(8,), middle=(8,), embedding=8, labels={"smile": 2})
    torch.nn.init.normal_(network.last.weight)
    told, x = NetworkDenoiser(network, schedule), torch.randn(3, 3, 4, 4)
    by_number = told.condition({"smile": torch.tensor([1, 0, 1])}).noise(x, 300)
    by_truth = told.condition({"smile": torch.tensor([True, False, True])}).noise(x, 300)
    assert torch.equal(by_number, by_truth)
    assert torch.equal(
        told.condition({"smile": True}).noise(x, 300), told.condition({"smile": 1}).noise(x, 300)
    )
    assert not torch.equal(by_number, told.noise(x, 300))
