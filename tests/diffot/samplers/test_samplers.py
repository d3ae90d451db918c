import diffusers
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import as_denoiser
from diffot.laws import mixtures
from diffot.processes import schedules
from diffot.samplers.ddim import ddim, ddim_path, invert
from diffot.samplers.ddpm import ddpm
from diffot.samplers.higher_order import dpmpp_2m, heun, unipc
from diffot.samplers.inpainting import inpaint


def normal(n, seed=0, dtype=torch.float64):
    return torch.randn(n, 2, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def diffusers_scheduler(monkeypatch, kind, **more):
    with monkeypatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)  # they ask for it by name
        return kind(
            num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02,
            beta_schedule="scaled_linear", clip_sample=False, **more,
        )  # fmt: skip


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("t", [1000, 500, 50])
def test_one_ddim_step_agrees_with_diffusers(oblique, schedule, monkeypatch, eta, t):
    exact, x = ExactDenoiser(oblique, schedule), normal(50)
    theirs = diffusers_scheduler(monkeypatch, diffusers.DDIMScheduler, set_alpha_to_one=True)
    theirs.set_timesteps(20)  # steps of 50
    stepped = theirs.step(
        exact.noise(x, t), t - 1, x, eta=eta, generator=torch.Generator().manual_seed(3)
    ).prev_sample
    ours = ddim(exact, x, [t, t - 50], eta=eta, generator=torch.Generator().manual_seed(3))
    assert (ours - stepped).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("variance", "theirs"), [("beta", "fixed_large"), ("posterior", "fixed_small")]
)
def test_a_whole_ddpm_run_agrees_with_diffusers(oblique, schedule, monkeypatch, variance, theirs):
    exact, x = ExactDenoiser(oblique, schedule), normal(20)
    ours = ddpm(exact, x, torch.Generator().manual_seed(7), variance)
    scheduler = diffusers_scheduler(monkeypatch, diffusers.DDPMScheduler, variance_type=theirs)
    generator = torch.Generator().manual_seed(7)
    for t in scheduler.timesteps.tolist():
        x = scheduler.step(exact.noise(x, t + 1), t, x, generator=generator).prev_sample
    assert (ours - x).abs().max() < 1e-10  # 1000 steps; single ones below


@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_one_ddpm_step_agrees_with_diffusers(oblique, monkeypatch, variance):
    """A schedule with two steps has one step with noise and one without."""
    schedule, x = schedules.linear(2, 0.1, 0.4), normal(50)
    exact = ExactDenoiser(oblique, schedule)
    kind = {"beta": "fixed_large", "posterior": "fixed_small"}[variance]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)
        scheduler = diffusers.DDPMScheduler(
            2, 0.1, 0.4, "linear", clip_sample=False, variance_type=kind
        )
    ours = ddpm(exact, x, torch.Generator().manual_seed(1), variance)
    generator = torch.Generator().manual_seed(1)
    for t in (1, 0):
        x = scheduler.step(exact.noise(x, t + 1), t, x, generator=generator).prev_sample
    assert (ours - x).abs().max() < 1e-12


def test_ddim_converges_to_the_probability_flow_at_first_order(schedule):
    """The flow of a Gaussian is linear: x_0 - m = s / sd_T (x_T - alpha_T m)."""
    law = mixtures.GaussianMixture([1.0], [[2.0, -1.0]], [[[0.5, 0.0], [0.0, 2.0]]])
    x_T, alpha = normal(500), schedule.alpha(schedule.T)
    end = law.marginal(float(alpha), float(schedule.sigma(schedule.T)))
    gain = (law.covariances[0].diagonal() / end.covariances[0].diagonal()).sqrt()
    flow = law.means + gain * (x_T - alpha * law.means)
    steps = [50, 100, 200, 500, 1000]
    exact = ExactDenoiser(law, schedule)
    errors = [float((ddim(exact, x_T, s) - flow).norm()) for s in steps]
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 0.9 < order < 1.1


def test_first_order_holds_for_a_mixture_too(schedule):
    exact = ExactDenoiser(mixtures.thesis_mixture("Low2DASymMix"), schedule)
    x_T, T = normal(500), schedule.T
    # the reference: 8000 steps in real time
    reference = ddim(exact, x_T, torch.linspace(T, 0, 8001).double().tolist())
    steps = [50, 100, 200, 500]
    errors = [
        float((ddim(exact, x_T, s) - reference).norm(dim=1).median()) for s in steps
    ]  # the median, since single latents next to a border change their mode
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 0.9 < order < 1.1


@pytest.mark.parametrize("sampler", ["ddpm beta", "ddpm posterior", "ddim eta=1", "ddim eta=0.5"])
def test_stochastic_samplers_reach_the_data_law(oblique, schedule, sampler, generator):
    exact, n = ExactDenoiser(oblique, schedule), 10_000
    x_T = exact.prior().sample(n, generator)
    if sampler.startswith("ddpm"):
        x = ddpm(exact, x_T, generator, sampler.split()[1])
    else:
        x = ddim(exact, x_T, 1000, float(sampler.split("=")[1]), generator)
    products = torch.stack([x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1]], 1)
    second = oblique.covariance + torch.outer(oblique.mean, oblique.mean)
    expected = torch.stack([*oblique.mean, second[0, 0], second[1, 1], second[0, 1]])
    error = products.std(0) / n**0.5
    assert ((products.mean(0) - expected).abs() < 4 * error + 0.004).all()  # 0.004: 1000 steps


def test_full_noise_ddim_is_ddpm_with_posterior_variance(oblique, schedule):
    exact, x = ExactDenoiser(oblique, schedule), normal(30)
    ancestral = ddpm(exact, x, torch.Generator().manual_seed(5), "posterior")
    implicit = ddim(exact, x, 1000, 1.0, torch.Generator().manual_seed(5))
    assert (ancestral - implicit).abs().max() < 1e-9


def test_path_begins_at_the_latent_and_ends_at_the_sample(oblique, schedule):
    exact, x = ExactDenoiser(oblique, schedule), normal(8)
    path = ddim_path(exact, x, 12)
    assert path.shape == (13, 8, 2)
    assert torch.equal(path[0], x) and torch.equal(path[-1], ddim(exact, x, 12))
    halfway = schedule.timesteps(12)[:7].tolist()
    assert (path[6] - ddim(exact, x, halfway)).abs().max() < 1e-12


def test_samplers_are_differentiable(oblique, schedule):
    exact, z = ExactDenoiser(oblique, schedule), normal(1)
    jacobian = torch.autograd.functional.jacobian(lambda x: ddim(exact, x, 20)[0], z)
    h = 1e-6
    for j in range(2):
        step = torch.zeros(1, 2, dtype=torch.float64)
        step[0, j] = h
        slope = (ddim(exact, z + step, 20) - ddim(exact, z - step, 20)) / (2 * h)
        assert (jacobian[:, 0, j] - slope[0]).abs().max() < 1e-6


def test_same_seed_same_bytes_and_type_is_kept(oblique, schedule):
    exact = ExactDenoiser(oblique, schedule)
    runs = [
        ddpm(exact, normal(5, dtype=torch.float32), torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    ]
    assert runs[0].dtype == torch.float32
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_nothing_is_clipped(schedule):
    far = mixtures.GaussianMixture([1.0], [[300.0, 0.0]], torch.eye(2)[None])
    x = ddim(ExactDenoiser(far, schedule), normal(4), 50)
    assert (x[:, 0] > 250).all()


def test_ddim_works_without_dividing_by_a_tiny_alpha():
    """With alpha_T near 1e-8 an eps would lose the data's center; the denoised point keeps it."""
    schedule = schedules.linear(200, 0.01, 0.36)
    assert schedule.alpha(200) < 1e-8
    law = mixtures.GaussianMixture([1.0], [[4.0, 4.0]], 0.01 * torch.eye(2)[None])
    x = ddim(ExactDenoiser(law, schedule), normal(100, dtype=torch.float32), 200)
    assert (x.mean(0) - 4).abs().max() < 0.05


# --- Holding a part to a known image ----------------------------------------------------------

COVARIANCE = torch.tensor([[1.2, 0.7], [0.7, 0.6]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
CORRELATED = mixtures.GaussianMixture([1.0], MEAN[None], COVARIANCE[None])
FIRST = torch.tensor([1.0, 0.0], dtype=torch.float64)  # the first coordinate is free
BOTH_WAYS = pytest.mark.parametrize("fresh", [False, True], ids=["own path", "fresh noise"])


def noise(fresh, seed=4):
    return torch.Generator().manual_seed(seed) if fresh else None


@BOTH_WAYS
def test_holding_nothing_is_ddim_and_holding_all_the_known_image(oblique, schedule, fresh):
    exact, x_T, x_0 = ExactDenoiser(oblique, schedule), normal(20), normal(20, seed=1)
    none, everything = torch.ones(2), torch.zeros(2)
    free = inpaint(exact, x_T, x_0, none, 25, noise(fresh))
    assert torch.equal(free, ddim(exact, x_T, 25))
    assert torch.equal(inpaint(exact, x_T, x_0, everything, 25, noise(fresh)), x_0)
    half = inpaint(exact, x_T, x_0, FIRST, 25, noise(fresh))
    assert torch.equal(half[:, 1], x_0[:, 1])
    # stopped early, all that is held is on its path
    early = inpaint(exact, x_T, x_0, everything, [1000, 600, 300], noise(fresh))
    alpha, sigma = float(schedule.alpha(300)), float(schedule.sigma(300))
    epsilon = (early - alpha * x_0) / sigma
    if fresh:
        assert (epsilon - x_T).abs().mean() > 0.3
    else:  # the noise that was mixed with the image at T
        back = schedule.alpha(1000) * x_0 + schedule.sigma(1000) * epsilon
        assert (back - x_T).abs().max() < 1e-12


@BOTH_WAYS
def test_holding_does_not_touch_what_is_independent(schedule, fresh):
    """A product of two mixtures on the line: each coordinate goes its own way."""
    corners = [[x, y] for x in (-2.0, 1.0) for y in (-1.0, 3.0)]
    weights = [0.3 * 0.4, 0.3 * 0.6, 0.7 * 0.4, 0.7 * 0.6]
    covariances = torch.diag(torch.tensor([0.2, 0.5])).expand(4, 2, 2)
    product = mixtures.GaussianMixture(weights, corners, covariances)
    exact, x_T, x_0 = ExactDenoiser(product, schedule), normal(200), normal(200, seed=1)
    found = inpaint(exact, x_T, x_0, FIRST, 40, noise(fresh))
    assert (found - ddim(exact, x_T, 40))[:, 0].abs().max() < 1e-9


def limit_of_holding(schedule, x_T, x_0, epsilon):
    r"""Where the free coordinate goes in continuous time, by scipy.

    With y = x / alpha and s = sigma / alpha, y has the law N(m, C + s^2 I) and the flow is
    dy/ds = s (C + s^2 I)^-1 (y - m); the second coordinate of y is x_0 + s epsilon.
    """
    alpha, sigma = float(schedule.alpha(1000)), float(schedule.sigma(1000))

    def slope(s, free):
        precision = np.linalg.inv(COVARIANCE.numpy() + s**2 * np.eye(2))
        known = (x_0[:, 1] + s * epsilon - MEAN[1]).numpy()
        return s * (precision[0, 0] * (free - MEAN[0].item()) + precision[0, 1] * known)

    start = (x_T[:, 0] / alpha).numpy()
    flow = solve_ivp(slope, (sigma / alpha, 0), start, "DOP853", rtol=1e-9, atol=1e-9)
    return torch.from_numpy(flow.y[:, -1])


def test_holding_to_the_own_path_converges_at_first_order(schedule):
    exact, x_T = ExactDenoiser(CORRELATED, schedule), normal(100)
    x_0 = CORRELATED.sample(100, torch.Generator().manual_seed(2))
    epsilon = (x_T - schedule.alpha(1000) * x_0)[:, 1] / schedule.sigma(1000)
    limit = limit_of_holding(schedule, x_T, x_0, epsilon)
    steps = [50, 100, 200, 500, 1000]
    errors = [float((inpaint(exact, x_T, x_0, FIRST, s)[:, 0] - limit).norm()) for s in steps]
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 0.9 < order < 1.1
    assert errors[-1] < 0.01 * limit.norm()


def test_an_image_held_to_its_own_path_returns_in_one_step_only(schedule):
    """DDIM's path to the image is bent, the known one straight: finer steps do not bring them
    together. The distance that is left is that of the two flows in continuous time."""
    exact, x_T = ExactDenoiser(CORRELATED, schedule), normal(2000)
    image = ddim(exact, x_T, 1)
    again = inpaint(exact, x_T, image, FIRST, 1)
    assert (again - image).abs().max() < 1e-12
    image = ddim(exact, x_T, 1000)
    again = inpaint(exact, x_T, image, FIRST, 1000)
    epsilon = (x_T - schedule.alpha(1000) * image)[:, 1] / schedule.sigma(1000)
    left = limit_of_holding(schedule, x_T, image, epsilon) - image[:, 0]
    found = (again - image)[:, 0]
    assert found.std() / image[:, 0].std() > 0.08
    assert (found - left).abs().max() < 0.03 * left.abs().max()


@BOTH_WAYS
def test_what_is_filled_in_has_not_the_conditional_law(schedule, fresh):
    """Given 0.5 in the known coordinate it is N(2.25, 0.62^2). Both ways follow the known value
    too little, and vary too much. In many steps fresh noise averages out."""
    n, exact = 4000, ExactDenoiser(CORRELATED, schedule)
    x_T = normal(n, seed=8)
    x_0 = torch.tensor([0.0, 0.5], dtype=torch.float64).expand(n, 2)
    found = inpaint(exact, x_T, x_0, FIRST, 500, noise(fresh))[:, 0]
    own = (x_T - schedule.alpha(1000) * x_0)[:, 1] / schedule.sigma(1000)
    limit = limit_of_holding(schedule, x_T, x_0, torch.zeros(n) if fresh else own)
    # for the same x_T; in 500 steps fresh noise leaves less than .02 in each
    assert abs(float((found - limit).mean())) < 4 * 0.02 / n**0.5 + 0.0005
    assert float((found - limit).std()) < 0.02
    gain = COVARIANCE[0, 1] / COVARIANCE[1, 1]
    mean = float(MEAN[0] + gain * (0.5 - MEAN[1]))
    deviation = float(COVARIANCE[0, 0] - gain * COVARIANCE[0, 1]) ** 0.5
    assert float(found.mean()) < mean - 1
    assert float(found.std()) > 1.35 * deviation


def test_inpainting_forgets_the_latent_where_it_holds(schedule):
    exact, x_T = ExactDenoiser(CORRELATED, schedule), normal(20)
    x_0, other = normal(20, seed=1), x_T + torch.tensor([0.0, 3.0], dtype=torch.float64)
    first, second = (inpaint(exact, x, x_0, FIRST, 10, noise(fresh=True)) for x in (x_T, other))
    assert torch.equal(first, second)


def test_soft_masks_blend_a_step(oblique, schedule):
    """In a single step from T to 0: the mean of DDIM's image and the known one."""
    exact, x_T, x_0 = ExactDenoiser(oblique, schedule), normal(20), normal(20, seed=1)
    mask = torch.tensor([0.25, 0.5], dtype=torch.float64)
    expected = mask * ddim(exact, x_T, 1) + (1 - mask) * x_0
    assert (inpaint(exact, x_T, x_0, mask, 1) - expected).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, x: ddim(p, x, 0), "expected a whole number from 1 to 1000"),
        (lambda p, x: ddim(p, x, 1001), "expected a whole number from 1 to 1000"),
        (lambda p, x: ddim(p, x, 10, eta=1.5), "eta is 1.5"),
        (lambda p, x: ddim(p, x, 10, eta=-0.1), "eta is -0.1"),
        (lambda p, x: ddim(p, x, 10, eta=0.5), "generator is None"),
        (lambda p, x: ddpm(p, x, None), "generator is None"),
        (lambda p, x: ddpm(p, x, torch.Generator(), "big"), "known: beta, posterior"),
        (lambda p, x: ddim(p, x[0], 10), r"x_T\[None\]"),
        (lambda p, x: ddim(p, x * float("nan"), 10), "NaN"),
        (lambda p, x: ddim(p, torch.zeros(3, 5), 10), r"expected \(B, 2\)"),
        (lambda p, x: inpaint(p, x, x[:2], FIRST), r"x_0 is torch.float64 of shape \(2, 2"),
        (lambda p, x: inpaint(p, x, x.float(), FIRST), "x_0 is torch.float32"),
        (lambda p, x: inpaint(p, x, x * float("inf"), FIRST), "x_0 holds 6 values"),
        (lambda p, x: inpaint(p, x, x, 2 * FIRST), "mask has values from 0 to 2"),
        (lambda p, x: inpaint(p, x, x, torch.ones(3)), r"mask has shape \(3,\)"),
        (lambda p, x: inpaint(p, x, x, FIRST, 0), "expected a whole number from 1 to 1000"),
    ],
)
def test_bad_input_is_refused(oblique, schedule, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(ExactDenoiser(oblique, schedule), normal(3))


def test_a_refused_call_asks_the_denoiser_nothing(schedule):
    def never(x, t):
        raise AssertionError("the denoiser was called")

    with pytest.raises(TypeError):
        ddim(as_denoiser(never, schedule), normal(3), 10, eta=0.5)


@pytest.mark.parametrize(
    "name", ["ddim", "heun", "dpm_solver", "unipc", "invert", "ddpm", "hold"]
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_many_steps_in_half_precision_end_where_those_in_full_do(oblique, schedule, name, dtype):
    """A step of a thousand is less than half precision resolves; the end is rounded once."""
    exact = ExactDenoiser(oblique, schedule)
    z = normal(200).to(dtype)
    calls = {
        "ddim": lambda z: ddim(exact, z, 500),
        "heun": lambda z: heun(exact, z, 500),
        "dpm_solver": lambda z: dpmpp_2m(exact, z, 500),
        "unipc": lambda z: unipc(exact, z, 500),
        "invert": lambda z: invert(exact, z, 500),
        "ddpm": lambda z: ddpm(exact, z, torch.Generator().manual_seed(0)),
        "hold": lambda z: inpaint(exact, z, z.flip(0), torch.tensor([1.0, 0.5]), 500),
    }
    call = calls[name]
    half, full = call(z), call(z.float() if name == "ddpm" else z.double())
    assert half.dtype == dtype
    error = (half - full).abs() / full.abs()
    assert float(error.median()) < torch.finfo(dtype).eps / 2


@pytest.mark.parametrize("name", ["Low2DBimodal", "Low2DASymMix"])
def test_the_multistep_method_overshoots_where_steps_grow(schedule, name):
    exact, z = ExactDenoiser(mixtures.thesis_mixture(name), schedule), normal(200)
    truth = heun(exact, z, 300)
    times = torch.linspace(1000, 1, 20_000).double()
    log_ratio = torch.log(schedule.alpha(times) / schedule.sigma(times))

    def errors(growth):
        ends = np.append(0, np.cumsum(growth ** np.arange(8.0)))
        wanted = log_ratio[0] + (log_ratio[-1] - log_ratio[0]) * torch.from_numpy(ends / ends[-1])
        path = [*np.interp(wanted, log_ratio, times).tolist(), 0.0]
        images = [s(exact, z, path) for s in (dpmpp_2m, ddim, heun)]
        return [float((x - truth).norm(dim=1).median()) for x in images]

    multistep, euler, trapezoid = errors(1.0)
    assert trapezoid < multistep < euler
    multistep, euler, trapezoid = errors(1.6)
    assert trapezoid < euler and 2 * euler < multistep
