"""Denoising losses on every kind of schedule: least for the exact answer, and learned."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.denoisers.parametrization import PARAMETRIZATIONS
from diffot.laws.mixtures import equal_mixture
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.networks import MLP
from diffot.learning.objectives import DenoisingLoss, FlowMatchingLoss
from diffot.learning.training import train
from diffot.processes import schedules

LAW = equal_mixture([[1.0, 0.5], [-1.0, 0.8], [0.3, -1.2]], [0.2, 0.3, 0.1])
EXPLODING = schedules.VarianceExploding(10.0, 0.05)
# when a network is told this, it is this time
TIMES = {
    schedules.linear(1000, 1e-4, 0.02): lambda told: 1000 * told,
    EXPLODING: lambda told: EXPLODING.least * (EXPLODING.T / EXPLODING.least) ** told,
    schedules.Rectified(): lambda told: told,
}
each = pytest.mark.parametrize("schedule", TIMES, ids=lambda schedule: schedule.name)


class Exact(torch.nn.Module):
    """What a network should answer, plus a number."""

    def __init__(self, schedule, prediction, shift):
        super().__init__()
        exact = ExactDenoiser(LAW, schedule)
        self.schedule, self.shift = schedule, shift
        self.reading = {
            "eps": exact.noise, "x0": exact.denoise, "v": exact.velocity,
            "flow": exact.flow_velocity,
        }[prediction]  # fmt: skip

    def forward(self, x, told):
        t = TIMES[self.schedule](told.double())
        scale = torch.hypot(*self.schedule.levels(t))[:, None]
        return (self.reading(x.double() * scale, t) + self.shift).float()


@each
@pytest.mark.parametrize("prediction", PARAMETRIZATIONS)
def test_the_exact_answer_has_the_least_loss(schedule, prediction, generator):
    """What is left is not correlated with any answer, so that a shift adds its square."""
    loss = DenoisingLoss(schedule, prediction)
    inputs = loss.prepare((LAW.sample(20_000, generator).float(), {}), generator)
    least, shifted = (loss(Exact(schedule, prediction, shift), inputs) for shift in (0.0, 0.3))
    added = shifted - least
    assert abs(float(added.mean()) - 0.09) < 4 * float(added.std()) / 20_000**0.5
    assert float(least.mean()) > 0


@each
def test_a_network_learns_the_law_on_every_schedule(schedule, generator):
    """Against the exact denoiser, whose answers spread by the deviation of the data."""
    torch.manual_seed(0)
    network = MLP(2, widths=(64, 64, 64), activation="silu", frequencies=4)
    config = TrainConfig(800, 512, 3e-3, "cosine", ema=0.99)
    draws = torch.Generator().manual_seed(0)
    result = train(
        network, Draws(LAW.sample), DenoisingLoss(schedule, "v"), config, draws, progress=False
    )
    trained = NetworkDenoiser(result.network.requires_grad_(False), schedule, "v")
    exact = ExactDenoiser(LAW, schedule)
    x_0 = LAW.sample(4000, generator)
    t = schedule.draw_times(4000, generator)
    alpha, sigma = (level[:, None] for level in schedule.levels(t))
    x = alpha * x_0 + sigma * torch.randn(x_0.shape, dtype=x_0.dtype, generator=generator)
    error = (trained.denoise(x, t) - exact.denoise(x, t)).square().mean().sqrt()
    assert float(error) < 0.2 * float(exact.denoise(x, t).std())


def test_optimal_coupling_deals_the_same_noise_out_at_least_cost():
    """Against scipy's solver for assignments, and the noise of the independent coupling."""
    x_0 = torch.randn(60, 3, 2, 2, generator=torch.Generator().manual_seed(1)) + 2
    drawn = {}
    for coupling in ("independent", "optimal"):
        loss = DenoisingLoss(schedules.Rectified(), "flow", coupling=coupling)
        inputs = loss.prepare((x_0, {}), torch.Generator().manual_seed(0))
        drawn[coupling] = (inputs["target"] + x_0).flatten(1)  # of noise minus data
    order = torch.cdist(drawn["independent"], drawn["optimal"]).argmin(1)
    assert sorted(order.tolist()) == list(range(60)) and order.tolist() != list(range(60))
    costs = torch.cdist(x_0.flatten(1), drawn["independent"]).square()
    rows, columns = linear_sum_assignment(costs.numpy())
    dealt = (x_0.flatten(1) - drawn["optimal"]).square().sum()
    assert float(dealt) == pytest.approx(float(costs[rows, columns].sum()), rel=1e-5)


def test_optimal_coupling_in_large_batches_teaches_the_monotone_map(generator):
    """For N(0, 4) it takes eps to 2 eps, so that the target at x is -x / (2 - t), without
    spread; independent coupling leaves the variance of noise minus data given x."""
    x_0 = 2 * torch.randn(4000, 1, generator=generator)
    left = {}
    for coupling in ("independent", "optimal"):
        loss = DenoisingLoss(schedules.Rectified(), "flow", coupling=coupling)
        inputs = loss.prepare((x_0, {}), generator)
        t = inputs["time"][:, None]
        x = inputs["x"] * torch.hypot(1 - t, t)
        left[coupling] = float((inputs["target"] + x / (2 - t)).square().mean())
    assert left["optimal"] < 0.02 and left["independent"] > 1


def test_flow_matching_of_independent_pairs_is_the_denoising_loss(generator):
    """With noise of N(0, I), and the exact velocity leaves the same loss in both."""
    schedule = next(s for s in TIMES if isinstance(s, schedules.Rectified))
    x, noise = LAW.sample(20_000, generator), torch.randn(20_000, 2, generator=generator)
    pairs = torch.stack([x.float(), noise], 1)
    losses = []
    for loss, examples in (
        (FlowMatchingLoss(), (pairs, {})),
        (DenoisingLoss(schedule, "flow"), (x.float(), {})),
    ):
        inputs = loss.prepare(examples, generator)
        losses.append(loss(Exact(schedule, "flow", 0.0), inputs).double())
    one, other = losses
    error = ((one.var() + other.var()) / len(one)).sqrt()
    assert abs(one.mean() - other.mean()) < 4 * error


def test_lines_between_pairs_are_followed(generator):
    """At each time the input lies on the line, and the target is its direction."""
    pairs = torch.randn(50, 2, 3, generator=generator)
    inputs = FlowMatchingLoss().prepare((pairs, {}), generator)
    t = inputs["time"][:, None]
    scale = torch.hypot(t, 1 - t)
    line = torch.lerp(pairs[:, 0], pairs[:, 1], t)
    assert torch.allclose(inputs["x"] * scale, line, atol=1e-5)
    assert torch.allclose(inputs["target"].float(), pairs[:, 1] - pairs[:, 0], atol=1e-5)


def test_latents_are_dealt_out_within_groups(generator):
    pairs = torch.randn(12, 2, 2, generator=generator)
    inputs = FlowMatchingLoss(4).prepare((pairs, {}), generator)
    dealt = inputs["target"].float() + pairs[:, 0]
    for x, noise, given in zip(*(part.split(4) for part in (pairs[:, 0], pairs[:, 1], dealt))):
        _, columns = linear_sum_assignment(torch.cdist(x, noise).square().numpy())
        assert torch.allclose(given, noise[columns], atol=1e-5)


def test_one_group_is_the_optimal_coupling_of_the_denoising_loss(generator):
    x, schedule = LAW.sample(32, generator).float(), schedules.Rectified()
    state = generator.get_state()
    dealt = DenoisingLoss(schedule, "flow", coupling="optimal").prepare((x, {}), generator)
    generator.set_state(state)
    schedule.draw_times(32, generator)
    noise = torch.randn(x.shape, generator=generator)
    generator.set_state(state)
    pairs = (torch.stack([x, noise], 1), {})
    grouped = FlowMatchingLoss(32).prepare(pairs, generator)
    assert torch.equal(dealt["target"], grouped["target"])
    assert torch.equal(dealt["x"], grouped["x"])


@pytest.mark.parametrize(
    ("group", "shape", "says"),
    [(5, (12, 2, 2), "divides it"), (16, (12, 2, 2), "divides it"), (1, (12, 3, 2), "pairs")],
)
def test_groups_that_do_not_fit(group, shape, says, generator):
    with pytest.raises(ValueError, match=says):
        FlowMatchingLoss(group).prepare((torch.zeros(shape), {}), generator)
