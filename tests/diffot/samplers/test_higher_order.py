"""Inversion and the higher-order samplers: orders of convergence, and diffusers as an oracle."""

from functools import partial

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMInverseScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
from scipy.integrate import solve_ivp

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import as_denoiser
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture
from diffot.processes.schedules import VarianceExploding, linear, scaled_linear
from diffot.samplers.ddim import ddim, invert
from diffot.samplers.higher_order import deis, dpmpp_2m, heun, invert_2m, unipc

SCHEDULE = scaled_linear(1000, 1e-4, 0.02)
COUNTS = [20, 40, 80, 160]
FEW = COUNTS[:3]
MIXTURES = {
    "one Gaussian": thesis_mixture("Low2DUnimodal"),
    "overlapping": GaussianMixture(  # no cluster parts from the other: the flow is smooth
        torch.tensor([0.4, 0.6], dtype=torch.float64),
        torch.tensor([[-0.8, 0.3], [0.7, -0.4]]),
        torch.tensor([[[0.5, 0.2], [0.2, 0.4]], [[0.3, -0.1], [-0.1, 0.6]]]),
    ),
}


def normal(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exact_flow(mixture, x, start: float, end: float, schedule=SCHEDULE) -> torch.Tensor:
    """The probability flow between two times by an adaptive solver, in x / alpha and
    u = sigma / alpha: dx/du = eps. Time 0 is replaced by u = 1e-4, which is off by about u^2."""

    def level(t: float) -> float:
        a = float(schedule.alpha(t)) ** 2
        return max((1 / a - 1) ** 0.5, 1e-4)

    def right_side(u: float, flat: np.ndarray) -> np.ndarray:
        alpha = 1 / (1 + u * u) ** 0.5
        points = torch.from_numpy(flat.reshape(-1, 2)) * alpha
        return -u * alpha * mixture.score(points, alpha, u * alpha).numpy().ravel()

    first, last = level(start), level(end)
    scaled = (x * (1 + first**2) ** 0.5).numpy().ravel()
    solution = solve_ivp(
        right_side, (first, last), scaled, method="DOP853", rtol=1e-9, atol=1e-10
    )
    return torch.from_numpy(solution.y[:, -1].reshape(-1, 2)) / (1 + last**2) ** 0.5


def equal_steps(n: int) -> torch.Tensor:
    """Equal steps that end at a positive time."""
    return torch.linspace(SCHEDULE.T, 20, n + 1, dtype=torch.float64)


def crowded_steps(n: int) -> torch.Tensor:
    """Steps down to 0 that shrink towards it."""
    return SCHEDULE.T * torch.linspace(1, 0, n + 1, dtype=torch.float64) ** 2


def order(sampler, denoiser, start, exact, grid, counts=COUNTS) -> float:
    """Order of convergence: minus the slope of the log median error on the log step count."""
    errors = [
        float((sampler(denoiser, start, grid(n)) - exact).norm(dim=1).median()) for n in counts
    ]
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("grid", [equal_steps, crowded_steps])
def test_orders_of_the_samplers(name, grid):
    mixture, z = MIXTURES[name], normal(100)
    denoiser = ExactDenoiser(mixture, SCHEDULE)
    exact = exact_flow(mixture, z, SCHEDULE.T, float(grid(1)[-1]))
    orders = {s: order(s, denoiser, z, exact, grid) for s in (ddim, heun, dpmpp_2m, unipc)}
    assert orders[ddim] == pytest.approx(1, abs=0.1)
    assert orders[heun] == pytest.approx(2, abs=0.15)
    assert orders[dpmpp_2m] == pytest.approx(2, abs=0.15)
    assert orders[unipc] > 2.5
    third = partial(unipc, order=3)
    for other in (third, deis):
        assert order(other, denoiser, z, exact, grid) > 2.5
    assert order(partial(deis, order=2), denoiser, z, exact, grid) == pytest.approx(2, abs=0.3)
    least = [(s(denoiser, z, grid(160)) - exact).norm(dim=1).median() for s in (third, unipc)]
    assert least[0] < least[1]


@pytest.mark.parametrize("sampler", [heun, dpmpp_2m, unipc, deis])
def test_equal_steps_down_to_zero_lose_order_to_their_last_step(sampler):
    """As the docstring says: the last DDIM step leaves an error of first order."""
    mixture, z = MIXTURES["overlapping"], normal(100)
    denoiser = ExactDenoiser(mixture, SCHEDULE)
    exact = exact_flow(mixture, z, SCHEDULE.T, 0)

    def equal(n: int) -> torch.Tensor:
        return torch.linspace(SCHEDULE.T, 0, n + 1, dtype=torch.float64)

    assert 0.8 < order(sampler, denoiser, z, exact, equal, [200, 400]) < 1.6
    assert order(sampler, denoiser, z, exact, crowded_steps, [200, 400]) > 1.85


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize(
    "inversion, grid, expected, within",
    [
        (invert, int, 1, 0.12),
        (invert, crowded_steps, 1, 0.12),
        (invert_2m, crowded_steps, 2, 0.3),
    ],
)
def test_orders_of_the_inversions(name, inversion, grid, expected, within):
    mixture = MIXTURES[name]
    x_0 = mixture.sample(100, torch.Generator().manual_seed(1))
    exact = exact_flow(mixture, x_0, 0, SCHEDULE.T)
    denoiser = ExactDenoiser(mixture, SCHEDULE)
    assert order(inversion, denoiser, x_0, exact, grid) == pytest.approx(expected, abs=within)


def test_flow_of_one_gaussian_is_its_monge_map():
    """N(m, C) has the flow x_T = a m + (a^2 C + s^2 I)^(1/2) C^(-1/2) (x_0 - m)."""
    mean, spread = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.3, 2.0]).double()
    law = GaussianMixture(torch.ones(1), mean[None], torch.diag(spread**2)[None])
    denoiser = ExactDenoiser(law, SCHEDULE)
    a2 = float(SCHEDULE.alpha_bar[-1])
    z = normal(50)
    scale = spread / (a2 * spread**2 + 1 - a2).sqrt()
    x_0 = mean + scale * (z - a2**0.5 * mean)
    assert (heun(denoiser, z, crowded_steps(400)) - x_0).abs().max() < 3e-4
    assert (dpmpp_2m(denoiser, z, crowded_steps(400)) - x_0).abs().max() < 3e-4
    assert (unipc(denoiser, z, crowded_steps(400)) - x_0).abs().max() < 3e-4
    assert (invert(denoiser, x_0, crowded_steps(1000)) - z).abs().max() < 1e-2


class Counted(Denoiser):
    """Remembers the times at which it is evaluated."""

    def __init__(self, denoiser):
        self.inner, self.schedule, self.times = denoiser, denoiser.schedule, []

    def denoise(self, x, t):
        self.times.append(float(t))
        return self.inner.denoise(x, t)


@pytest.mark.parametrize(
    "sampler, evaluations",
    [
        (ddim, 10),
        (invert, 10),
        (invert_2m, 10),
        (heun, 19),
        (dpmpp_2m, 10),
        (unipc, 10),
        (deis, 10),
    ],
)
def test_number_of_evaluations(sampler, evaluations):
    counted = Counted(ExactDenoiser(MIXTURES["overlapping"], SCHEDULE))
    sampler(counted, normal(5), 10)
    assert len(counted.times) == evaluations
    assert min(counted.times) == 100  # never at 0, where there is no noise to predict


@pytest.mark.parametrize(
    "sampler", [heun, dpmpp_2m, unipc, deis, partial(deis, variable="ratio")]
)
def test_a_single_step_to_zero_is_ddim(sampler):
    denoiser, z = ExactDenoiser(MIXTURES["overlapping"], SCHEDULE), normal(20)
    assert torch.equal(sampler(denoiser, z, 1), ddim(denoiser, z, 1))


@pytest.mark.parametrize(
    "sampler, scheduler, arguments",
    [
        (dpmpp_2m, DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
        (unipc, UniPCMultistepScheduler, {"solver_type": "bh2"}),
        (partial(unipc, order=3), UniPCMultistepScheduler, {"solver_order": 3}),
    ],
)
@pytest.mark.parametrize("steps", [5, 10, 20, 50])
def test_multistep_samplers_are_those_of_diffusers(sampler, scheduler, arguments, steps):
    denoiser, x = ExactDenoiser(MIXTURES["overlapping"], SCHEDULE), normal(50)
    theirs = scheduler(
        trained_betas=_betas(),
        final_sigmas_type="zero",
        timestep_spacing="trailing",
        **{"solver_order": 2, **arguments},
    )
    theirs.set_timesteps(steps)
    ours = sampler(denoiser, x, steps)
    for t in theirs.timesteps:
        x = theirs.step(denoiser.noise(x, float(t) + 1), t, x).prev_sample
    assert (ours - x).abs().max() < 1e-4  # diffusers keeps its schedule in float32
    assert (ddim(denoiser, normal(50), steps) - x).abs().max() > 1e-2


def _betas() -> np.ndarray:
    return (1 - SCHEDULE.alpha_bar[1:] / SCHEDULE.alpha_bar[:-1]).numpy()


def _inverted_by_diffusers(denoiser, x, steps):
    theirs = DDIMInverseScheduler(
        trained_betas=_betas(), clip_sample=False, timestep_spacing="trailing"
    )
    theirs.set_timesteps(steps)
    for t in theirs.timesteps:
        x = theirs.step(denoiser.noise(x, float(t) + 1), int(t), x).prev_sample
    return x


@pytest.mark.parametrize("name", ["Low2DUnimodal", "Low2DBimodal", "Low2DSymMix", "Low2DASymMix"])
@pytest.mark.parametrize("steps", [20, 50])
def test_inversion_is_better_than_that_of_diffusers(name, steps):
    """At equal evaluations, the median over points (a point that ends up in another mode says
    nothing about the scheme): there and back again, and against the exact flow."""
    mixture = thesis_mixture(name)
    denoiser = ExactDenoiser(mixture, SCHEDULE)
    x_0 = mixture.sample(200, torch.Generator().manual_seed(2))
    exact = exact_flow(mixture, x_0, 0, SCHEDULE.T)
    ours, theirs = invert(denoiser, x_0, steps), _inverted_by_diffusers(denoiser, x_0, steps)

    def miss(x, y):
        return float((x - y).norm(dim=1).median())

    back, their_back = (ddim(denoiser, z, steps) for z in (ours, theirs))
    assert miss(back, x_0) < 0.6 * miss(their_back, x_0)
    assert miss(ours, exact) < 0.2 * miss(theirs, exact)


def test_inversion_of_diffusers_is_better_on_the_standard_normal_law():
    """As the docstring says: where the law does not change, their scheme has nothing to lose."""
    denoiser, x_0 = ExactDenoiser(equal_mixture([[0.0, 0.0]], 1.0), SCHEDULE), normal(50)
    ours, theirs = invert(denoiser, x_0, 20), _inverted_by_diffusers(denoiser, x_0, 20)
    back, their_back = (ddim(denoiser, z, 20) for z in (ours, theirs))
    assert (their_back - x_0).abs().max() < 0.2 * (back - x_0).abs().max()


@pytest.mark.parametrize(
    "name", [*MIXTURES, "Low2DBimodal", "Low2DSymMix", "Low2DASymMix", "N(0, I)"]
)
@pytest.mark.parametrize("steps", [10, 50])
def test_second_order_there_and_back_is_better_than_diffusers(name, steps):
    """At equal evaluations, on equal times and on crowding ones, also where the law does not
    change at all: at most half of the error of diffusers' inversion and DDIM."""
    laws = {"N(0, I)": equal_mixture([[0.0, 0.0]], 1.0), **MIXTURES}
    mixture = laws.get(name) or thesis_mixture(name)
    denoiser = ExactDenoiser(mixture, SCHEDULE)
    x_0 = mixture.sample(200, torch.Generator().manual_seed(2))

    def miss(x):
        return float((x - x_0).norm(dim=1).median())

    theirs = miss(ddim(denoiser, _inverted_by_diffusers(denoiser, x_0, steps), steps))
    for grid in (steps, crowded_steps(steps)):
        assert miss(dpmpp_2m(denoiser, invert_2m(denoiser, x_0, grid), grid)) < 0.5 * theirs


@pytest.mark.parametrize("sampler, most", [(unipc, 3), (deis, 4)])
def test_orders_start_at_two(sampler, most):
    denoiser = ExactDenoiser(MIXTURES["overlapping"], SCHEDULE)
    for order in (1, most + 1):
        said = f"order is {order}; expected a whole number from 2 to {most}"
        with pytest.raises(ValueError, match=said):
            sampler(denoiser, normal(3), 10, order=order)


def test_deis_has_polynomials_in_two_variables():
    denoiser = ExactDenoiser(MIXTURES["overlapping"], SCHEDULE)
    with pytest.raises(ValueError, match="unknown variable 'rho'"):
        deis(denoiser, normal(3), 10, variable="rho")


@pytest.mark.parametrize(
    "order, weights",
    [(2, [3, -1]), (3, [23, -16, 5]), (4, [55, -59, 37, -9])],  # over their sum
)
def test_deis_in_the_ratio_is_adams_bashforth(order, weights):
    """With equal steps in rho and noise that depends on the time only, from textbook weights."""
    noise = torch.randn(11, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    denoiser = as_denoiser(  # rho is the time
        lambda x, t: noise[round(10 - 2 * float(t))].expand_as(x), VarianceExploding(5.0)
    )
    times, x = torch.linspace(5, 0, 11).tolist(), normal(5)
    for last in (order, 10):  # up to the first full step, and down to time 0
        ends = deis(denoiser, x, times[: last + 1], order, "ratio", falling=False)
        before = deis(denoiser, x, times[:last], order, "ratio", falling=False)
        newest_first = noise[last - order : last].flip(0)
        slope = torch.tensor(weights, dtype=torch.float64) @ newest_first / sum(weights)
        assert (ends - before + 0.5 * slope).abs().max() < 1e-9


@pytest.mark.parametrize("variable", ["log", "ratio"])
def test_deis_of_fourth_order(variable):
    """In so few steps that the error of the first ones, of lower order, does not show."""
    mixture, z = MIXTURES["overlapping"], normal(100)
    denoiser = ExactDenoiser(mixture, SCHEDULE)
    exact = exact_flow(mixture, z, SCHEDULE.T, float(equal_steps(1)[-1]))
    second, third, fourth = (
        order(partial(deis, order=n, variable=variable), denoiser, z, exact, equal_steps, FEW)
        for n in (2, 3, 4)
    )
    assert second + 0.5 < third < fourth - 0.5
    assert fourth > 3.2


@pytest.mark.parametrize("order", [2, 3])
def test_deis_is_that_of_diffusers(order):
    """Theirs ends at the first level of its table, to which the order does not fall."""
    denoiser, x = ExactDenoiser(MIXTURES["overlapping"], SCHEDULE), normal(50)
    theirs = DEISMultistepScheduler(
        trained_betas=_betas(), solver_order=order, timestep_spacing="trailing",
        lower_order_final=False,
    )  # fmt: skip
    theirs.set_timesteps(10)
    times = [*(float(t) + 1 for t in theirs.timesteps), 1.0]
    ours = deis(denoiser, x, times, order)
    for t in theirs.timesteps:
        x = theirs.step(denoiser.noise(x, float(t) + 1), t, x).prev_sample
    assert (ours - x).abs().max() < 1e-4
    assert (ddim(denoiser, normal(50), times) - x).abs().max() > 1e-2


def test_deis_is_exact_where_the_predicted_noise_is_a_polynomial():
    """With noise that is quadratic in lambda, the flow is an integral that three points know."""

    def quadratic(place):
        return (1 + 0.3 * place + 0.1 * place**2) * torch.tensor([0.7, -1.3]).double()

    def noise(x, t):
        alpha, sigma = SCHEDULE.levels(t)
        return quadratic(torch.log(alpha / sigma)).expand_as(x)

    denoiser, x = as_denoiser(noise, SCHEDULE), normal(5)
    times = [800.0, 600.0, 500.0, 300.0, 100.0]
    before = deis(denoiser, x, times[:3])  # two steps, of orders 1 and 2
    (alpha, sigma), (last, least) = (SCHEDULE.levels(t) for t in (500.0, 100.0))
    rho = torch.linspace(float(sigma / alpha), float(least / last), 20001, dtype=torch.float64)
    integral = torch.trapezoid(quadratic(-rho.log()[:, None]), rho, dim=0)
    exact = last * (before / alpha + integral)
    assert (deis(denoiser, x, times) - exact).abs().max() < 1e-7
    assert (ddim(denoiser, before, times[2:]) - exact).abs().max() > 1e-3


def test_inversion_undoes_ddim_where_the_predicted_noise_is_constant():
    """Then every step is exact, the first one included."""
    noise, x_0 = torch.tensor([0.7, -1.3], dtype=torch.float64), normal(20)
    denoiser = as_denoiser(lambda x, t: noise.expand_as(x), SCHEDULE)
    x_T = invert(denoiser, x_0, 30)
    assert (x_T - SCHEDULE.alpha(1000) * x_0 - SCHEDULE.sigma(1000) * noise).abs().max() < 1e-12
    assert (ddim(denoiser, x_T, 30) - x_0).abs().max() < 1e-11


@pytest.mark.parametrize(
    "sampler", [invert, invert_2m, heun, dpmpp_2m, unipc, deis, partial(deis, variable="ratio")]
)
def test_gradients_and_single_precision(sampler):
    denoiser = ExactDenoiser(MIXTURES["overlapping"], linear(100, 1e-3, 0.2))
    x = normal(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: sampler(denoiser, v, 5), x)
    exact = sampler(denoiser, x.detach(), 10)
    single = sampler(denoiser, x.detach().float(), 10)
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() < 1e-4


@pytest.mark.parametrize(
    "sampler, start",
    [
        (invert, "x_0"),
        (invert_2m, "x_0"),
        (heun, "x_T"),
        (dpmpp_2m, "x_T"),
        (unipc, "x_T"),
        (deis, "x_T"),
    ],
)
def test_bad_input(sampler, start):
    denoiser = ExactDenoiser(MIXTURES["overlapping"], SCHEDULE)
    with pytest.raises(ValueError, match=rf"{start} has shape .*{start}\[None\]"):
        sampler(denoiser, torch.zeros(2))
    with pytest.raises(ValueError, match=f"{start} holds 1 values that are NaN"):
        sampler(denoiser, torch.tensor([[0.0, float("nan")]]))
    with pytest.raises(ValueError, match="steps is 0; expected a whole number from 1 to 1000"):
        sampler(denoiser, torch.zeros(1, 2), 0)
