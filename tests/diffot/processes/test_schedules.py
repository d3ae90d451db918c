import math

import diffusers
import pytest
import torch

from diffot.processes import schedules


def diffusers_alpha_bar(monkeypatch, **arguments) -> torch.Tensor:
    """diffusers' table in double precision (it asks for torch.float32 by name)."""
    monkeypatch.setattr(torch, "float32", torch.float64)
    return diffusers.DDPMScheduler(**arguments).alphas_cumprod


def test_linear_has_its_closed_form():
    T, first, last = 50, 1e-3, 0.3
    expected, alpha_bar = 1.0, schedules.linear(T, first, last).alpha_bar
    for t in range(1, T + 1):
        expected *= 1 - (first + (last - first) * (t - 1) / (T - 1))
        assert abs(alpha_bar[t] - expected) < 1e-15


def test_scaled_linear_interpolates_standard_deviations():
    alpha_bar = schedules.scaled_linear(3, 0.01, 0.09).alpha_bar
    expected = [1, 0.99, 0.99 * 0.96, 0.99 * 0.96 * 0.91]
    assert torch.allclose(alpha_bar, torch.tensor(expected, dtype=torch.float64), atol=1e-15)


def test_cosine_has_its_closed_form_up_to_the_cap():
    T, s = 100, 0.008
    alpha_bar = schedules.cosine(T).alpha_bar
    start = math.cos(s / (1 + s) * math.pi / 2) ** 2
    for t in range(T):  # the last beta is capped
        f = math.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
        assert abs(alpha_bar[t] - f / start) < 1e-14
    assert abs(alpha_bar[T] - 0.001 * alpha_bar[T - 1]) < 1e-18


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (schedules.linear(1000, 1e-4, 0.02), "linear"),
        (schedules.scaled_linear(1000, 1e-4, 0.02), "scaled_linear"),
        (schedules.cosine(1000), "squaredcos_cap_v2"),
    ],
)
def test_schedules_agree_with_diffusers(ours, name, monkeypatch):
    theirs = diffusers_alpha_bar(
        monkeypatch, num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule=name
    )
    assert (ours.alpha_bar[1:] - theirs).abs().max() < 1e-12


def test_thesis_schedules_leave_the_known_amount_of_data():
    assert schedules.linear(1000, 1e-4, 0.02).prior_signal == pytest.approx(0.00635, abs=1e-5)
    one_dimensional = schedules.scaled_linear(1000, 2.5e-5, 0.005)
    assert one_dimensional.alpha_bar[-1] == pytest.approx(0.166, abs=5e-4)


def test_real_times_interpolate_log_snr(schedule):
    a = schedule.alpha_bar
    for t in (1, 2, 500, 999):
        start, end = (math.log(a[i] / (1 - a[i])) for i in (t, t + 1))
        middle = schedule.alpha(t + 0.25) ** 2
        assert math.log(middle / (1 - middle)) == pytest.approx(0.75 * start + 0.25 * end)


def test_whole_times_are_the_table_itself(schedule):
    times = torch.arange(schedule.T + 1)
    assert torch.equal(schedule.alpha(times), schedule.alpha_bar.sqrt())
    assert torch.allclose(
        schedule.alpha(times) ** 2 + schedule.sigma(times) ** 2, torch.ones(()).double()
    )


def test_a_time_that_is_looked_up_leaves_the_table_alone(schedule):
    before = schedule.alpha_bar.clone()
    schedule.alpha(500.0).zero_()
    assert torch.equal(schedule.alpha_bar, before)


def test_variance_grows_evenly_before_the_first_step(schedule):
    variance = schedule.sigma([0.0, 0.5, 1.0]) ** 2
    assert variance[0] == 0
    assert variance[1] == pytest.approx(float(variance[2]) / 2)


@pytest.mark.parametrize("steps", [1, 7, 30, 999, 1000])
def test_a_count_of_steps_runs_from_T_to_0_evenly(schedule, steps):
    times = schedule.timesteps(steps)
    assert times[0] == schedule.T and times[-1] == 0 and len(times) == steps + 1
    jumps = times[:-1] - times[1:]
    assert jumps.min() >= schedule.T // steps and jumps.max() <= -(-schedule.T // steps)
    assert torch.equal(times, times.round())


def test_steps_may_be_given_as_times(schedule):
    assert schedule.timesteps([900, 10.5, 3]).tolist() == [900, 10.5, 3]


@pytest.mark.parametrize(
    "steps", [0, -3, 1001, [0, 1], [5], [1001, 0], [10, -1], [10, 10], [3, float("nan")]]
)
def test_bad_steps_are_refused(schedule, steps):
    with pytest.raises(ValueError, match="expected"):
        schedule.timesteps(steps)


@pytest.mark.parametrize("t", [-0.1, 1000.5, float("nan"), torch.tensor([5.0, 2000.0])])
def test_times_outside_the_schedule_are_refused(schedule, t):
    with pytest.raises(ValueError, match="between 0 and T = 1000"):
        schedule.levels(t)


@pytest.mark.parametrize(
    "alpha_bar", [[0.9, 0.5], [1, 0.5, 0.6], [1, 0.5, 0.0], [1.0], [1, float("nan")]]
)
def test_a_table_that_is_no_schedule_is_refused(alpha_bar):
    with pytest.raises(ValueError, match="alpha_bar"):
        schedules.VariancePreserving("mine", {}, torch.tensor(alpha_bar, dtype=torch.float64))


@pytest.mark.parametrize(
    "arguments", [(0, 1e-4, 0.02), (10, 0.0, 0.02), (10, 0.1, 1.0), (2.5, 0.1, 0.2)]
)
def test_bad_variances_are_refused(arguments):
    with pytest.raises((TypeError, ValueError)):
        schedules.linear(*arguments)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.linear(1000, 1e-4, 0.02),
        schedules.cosine(100),
        schedules.linear(1, 0.3, 0.3),
        schedules.VarianceExploding(80.0),
        schedules.Rectified(),
    ],
    ids=lambda schedule: schedule.name,
)
def test_times_are_found_by_their_levels(schedule):
    shares = torch.cat([torch.tensor([0.0, 1e-9, 1e-4]), torch.linspace(0, 1, 203)]).double()
    times = schedule.T * shares
    alpha, sigma = schedule.levels(times)
    for unit in (1.0, 1e-3, 1e3):
        assert torch.allclose(schedule.time_of(unit * alpha, unit * sigma), times, rtol=1e-9)
    assert float(schedule.time_of(1, 0)) == 0


def test_levels_beyond_a_schedule_have_no_time():
    schedule = schedules.linear(1000, 1e-4, 0.02)
    with pytest.raises(ValueError, match="noise is 1000 times the data, more than the 157"):
        schedule.time_of(1.0, 1000.0)
    with pytest.raises(ValueError, match="expected amplitudes of 0 or more"):
        schedule.time_of(0.0, 0.0)
    with pytest.raises(ValueError, match="alpha has shape"):
        schedule.time_of(torch.ones(2), 1.0)
