import copy
import math
import time
from functools import cache

import pytest
import torch
from torch import nn

from diffot.data.images import LabeledImages
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import NetworkDenoiser
from diffot.laws import mixtures
from diffot.learning import networks, recipes, training
from diffot.learning.batches import Draws, Epochs
from diffot.learning.configuration import TrainConfig
from diffot.learning.networks import MLP, UNet
from diffot.learning.objectives import LEVELS, DenoisingLoss, Objective
from diffot.learning.precision import PRECISIONS, faster_precision
from diffot.measures import evaluation
from diffot.processes import schedules

WIDE = mixtures.equal_mixture([[1.0, 1.0], [-1.0, -1.0]], 0.5)
NETWORK = {"class": "MLP", "dim": 2, "widths": [32, 32], "activation": "silu", "frequencies": 3}


def fit(network, schedule, config, draw=WIDE.sample, prediction="eps", seed=0, **more):
    objective = DenoisingLoss(schedule, prediction, more.pop("label_dropout", 0.0))
    draws = torch.Generator().manual_seed(seed)
    more = {"progress": False, **more}
    return training.train(network, Draws(draw), objective, config, draws, **more)


def train(schedule, iterations, seed=0, draw=WIDE.sample, prediction="eps", **more):
    config = TrainConfig(iterations, 256, **{"learning_rate": 3e-3, **more})
    return fit(networks.build(NETWORK, seed), schedule, config, draw, prediction, seed)


@cache
def long():
    """One long training, looked at from several sides."""
    return train(schedules.scaled_linear(1000, 1e-4, 0.02), 2000, decay="cosine")


def test_a_trained_denoiser_approaches_the_exact_one(schedule, generator):
    exact = ExactDenoiser(WIDE, schedule)
    errors = []
    short = (train(schedule, iterations, decay="cosine") for iterations in (20, 200))
    for result in (*short, long()):
        network = result.network.requires_grad_(False)
        found = evaluation.noise_errors(
            NetworkDenoiser(network, schedule), exact, 20_000, generator
        )
        assert found.loss > found.bayes_loss
        assert abs(found.loss - found.bayes_loss - found.rmse**2) < 4 * found.loss_error
        again = evaluation.noise_errors(
            NetworkDenoiser(network, schedule), exact, 20_000, generator
        )
        assert 0 < abs(again.rmse - found.rmse) < 4 * 2**0.5 * found.rmse_error
        assert found.rmse_error < 0.05 * found.rmse
        errors.append(found.rmse)
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.08


def test_a_trained_v_denoiser_approaches_the_exact_one(schedule, generator):
    exact = ExactDenoiser(WIDE, schedule)
    network = train(schedule, 1000, decay="cosine", prediction="v").network.requires_grad_(False)
    denoiser = NetworkDenoiser(network, schedule, "v")
    assert evaluation.noise_errors(denoiser, exact, 20_000, generator).rmse < 0.08
    # what v is for: the mean of the data is found from pure noise, without an amplified error
    x = torch.randn(2000, 2, generator=generator)
    error = (denoiser.denoise(x, schedule.T) - exact.denoise(x, schedule.T)).square().mean()
    assert error.sqrt() < 0.1


def test_v_is_the_same_quantity_in_other_words(schedule, generator):
    """A network that answers with the exact v is the exact denoiser."""
    exact = ExactDenoiser(WIDE, schedule)

    class ExactVelocity(torch.nn.Linear):
        def forward(self, x, share):
            return exact.velocity(x, share * schedule.T)

    denoiser = NetworkDenoiser(ExactVelocity(2, 2).double(), schedule, "v")
    x = torch.randn(50, 2, dtype=torch.float64, generator=generator)
    for t in (1, 400, 1000):
        torch.testing.assert_close(denoiser.noise(x, t), exact.noise(x, t), rtol=0, atol=1e-12)
        torch.testing.assert_close(
            denoiser.denoise(x, t), exact.denoise(x, t), rtol=0, atol=1e-10
        )
        torch.testing.assert_close(
            denoiser.velocity(x, t), denoiser.network(x, torch.tensor(t / 1000))
        )


class Absolute(Objective):
    """Distance of a linear map of uniform points from labels."""

    def __call__(self, network, inputs):
        points, labels = inputs
        return (network(points)[:, 0] - labels["y"]).abs()


@pytest.mark.parametrize("decay", ["one-cycle", "constant"])
def test_the_loop_is_that_of_any_textbook(decay, generator):
    """Epochs, AdamW, its schedule and clipping as torch has them; the average by its sum."""
    pixels = torch.randint(256, (10, 1, 1, 2), dtype=torch.uint8, generator=generator)
    data = LabeledImages(pixels, {"y": torch.arange(10) % 3}, {"y": ("a", "b", "c")})
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1))
    config = TrainConfig(6, 4, 0.1, decay, ema=0.5, weight_decay=0.3, clip=0.2, record_every=2)
    draws = torch.Generator().manual_seed(3)
    result = training.train(network, Epochs(data), Absolute(), config, draws, progress=False)

    ours, draws = copy.deepcopy(network), torch.Generator().manual_seed(3)
    optimizer = torch.optim.AdamW(ours.parameters(), lr=0.1, weight_decay=0.3)
    if decay == "one-cycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 6)
    else:
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    losses, iterates = [], [network[1].weight.detach().clone()]
    for _ in range(3):  # two batches of four; two images are left out of each epoch
        order = torch.randperm(10, generator=draws)
        for rows in (order[:4], order[4:8]):
            x, y = pixels[rows] / 127.5 - 1, data.labels["y"][rows]
            loss = (ours(x)[:, 0] - y).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(ours.parameters(), 0.2)
            optimizer.step()
            scheduler.step()
            losses.append(float(loss.detach()))
            iterates.append(ours[1].weight.detach().clone())
    kept = [1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15]  # all below 0.5
    weights = [math.prod(kept)]
    weights += [(1 - kept[i]) * math.prod(kept[i + 1 :]) for i in range(6)]
    average = sum(w * x for w, x in zip(weights, iterates))
    torch.testing.assert_close(result.network[1].weight.detach(), average)
    means = [sum(losses[i : i + 2]) / 2 for i in (0, 2, 4)]
    assert result.column("loss") == pytest.approx(means, rel=1e-6)
    assert result.column("step") == [2, 4, 6]


def test_losses_are_recorded_by_noise_level(schedule, generator):
    """They are those of the exact denoiser, drawn level by level."""
    result = long()
    exact = ExactDenoiser(WIDE, schedule)
    columns = [result.column(f"level_{level + 1}")[-50:] for level in range(LEVELS)]
    recorded = torch.tensor(columns, dtype=torch.float64).mean(1)
    for level in range(LEVELS):
        t = torch.randint(100 * level + 1, 100 * level + 101, (20_000,), generator=generator)
        x_0 = WIDE.sample(len(t), generator)
        eps = torch.randn(x_0.shape, dtype=torch.float64, generator=generator)
        x_t = schedule.alpha(t)[:, None] * x_0 + schedule.sigma(t)[:, None] * eps
        best = float((exact.noise(x_t, t) - eps).square().mean())
        assert float(recorded[level]) == pytest.approx(best, abs=0.03)


def test_warmup_and_clipping_hold_the_weights_back(schedule):
    config = TrainConfig(100, learning_rate=1.0, warmup=10, decay="cosine")
    optimizer = torch.optim.AdamW(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler, rates = config.scheduler(optimizer), []
    for _ in range(100):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.1) and rates.index(max(rates)) in (8, 9, 10)
    assert rates == sorted(rates[:9]) + sorted(rates[9:], reverse=True) and rates[-1] < 1e-3
    start = networks.build(NETWORK, 0).state_dict()

    def moved(**more):
        found = train(schedule, 3, ema=0.0, **more).network.state_dict()
        return max(float((found[k] - start[k]).abs().max()) for k in start)

    assert moved(warmup=300) < 0.05 * moved()
    # Adam divides by the size of the gradients plus 1e-8
    assert moved(clip=1e-12) < 1e-3 * moved()


def test_bfloat16_trains_nearly_as_float32(schedule):
    full, half = (
        train(schedule, 100, decay="cosine", precision=p).column("loss")
        for p in ("float32", "bfloat16")
    )
    assert full != half
    assert sum(half[-50:]) == pytest.approx(sum(full[-50:]), rel=0.02)


class Uneven(nn.Linear):
    """A network that takes its time in one precision."""

    def __init__(self, slow):
        super().__init__(3, 2)
        self.slow = slow

    def forward(self, x, share):
        half = torch.is_autocast_enabled("cpu")
        time.sleep(0.1 if self.slow == ("bfloat16" if half else "float32") else 0.02)
        return super().forward(torch.cat([x, share[:, None]], 1))


@pytest.mark.parametrize("slow", PRECISIONS)
def test_the_faster_precision_is_chosen_and_said_once(schedule, capsys, slow):
    fast = next(p for p in PRECISIONS if p != slow)
    objective, draws = DenoisingLoss(schedule), torch.Generator().manual_seed(0)
    inputs = objective.prepare(Draws(WIDE.sample).take(16, draws), draws)
    chosen, ratio = faster_precision(Uneven(slow), objective, inputs, 16)
    assert chosen == fast
    assert ratio > 2 if slow == "bfloat16" else ratio < 0.5
    config = TrainConfig(5, 16, precision="auto")
    result = fit(Uneven(slow), schedule, config, progress=True)
    assert result.precision == fast
    said = capsys.readouterr().err
    assert said.count(f"training in {fast}") == 1
    assert ("bfloat16 is slow on this processor" in said) == (slow == "bfloat16")
    forced = TrainConfig(2, 16, precision=slow)
    assert fit(Uneven(slow), schedule, forced).precision == slow
    assert capsys.readouterr().err == ""


def test_choosing_a_precision_changes_nothing_else(schedule):
    """The result is, byte for byte, that of asking for the same precision."""
    network = Uneven("bfloat16")
    results = [
        fit(network, schedule, TrainConfig(3, 16, precision=p)) for p in ("auto", "float32")
    ]
    first, second = (result.network.state_dict() for result in results)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_how_long_it_takes_is_estimated_from_its_own_steps(schedule, capsys):
    config = TrainConfig(50, 16)
    start = time.perf_counter()
    fit(Uneven("bfloat16"), schedule, config, progress=True)
    said = capsys.readouterr().err
    assert said.count("46 steps of 16 in float32") == 1
    estimate = float(said.split("each: about ")[1].split(" s")[0])
    taken = time.perf_counter() - start
    assert taken / 5 < estimate + 0.5 and estimate - 0.5 < 5 * taken


class Normalized(nn.Module):
    """BatchNorm, whose running statistics are buffers, and a mask that holds infinity."""

    def __init__(self):
        super().__init__()
        layers = [nn.Linear(3, 64), nn.BatchNorm1d(64), nn.SiLU(), nn.Linear(64, 64)]
        self.layers = nn.Sequential(*layers, nn.BatchNorm1d(64), nn.SiLU(), nn.Linear(64, 2))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def forward(self, x, share):
        kept = self.mask.exp()[0]
        return kept * self.layers(torch.cat([x, share[:, None]], 1))


def test_running_statistics_follow_the_averaged_weights(schedule, generator):
    """They do better than the last ones of training, which belong to the last weights."""
    torch.manual_seed(0)
    config = TrainConfig(500, 256, learning_rate=3e-3, ema=0.99)
    network = fit(Normalized(), schedule, config).network
    assert not network.training and int(network.layers[1].num_batches_tracked) == 500
    assert network.mask.tolist() == [0.0, -torch.inf]
    exact = ExactDenoiser(WIDE, schedule)
    denoiser = NetworkDenoiser(network.requires_grad_(False), schedule)
    assert evaluation.noise_errors(denoiser, exact, 20_000, generator).rmse < 0.12


def test_labels_of_two_kinds_are_the_same_and_hidden_ones_are_not_said(schedule):
    """Truth values and numbers; a hidden one is -1 and no class."""
    seen = []

    class Told(nn.Linear):
        def forward(self, x, share, labels):
            seen.append(labels["bright"])
            return super().forward(x)

    def draw(n, generator, kind):
        x, bright = WIDE.sample(n, generator), torch.arange(n) % 2
        return x, {"bright": bright.to(kind)}

    network, config = Told(2, 2), TrainConfig(3, 400)
    for kind in (torch.bool, torch.int64, torch.uint8):
        data = lambda n, generator, kind=kind: draw(n, generator, kind)  # noqa: E731
        fit(network, schedule, config, data, label_dropout=0.3)
    assert all(torch.equal(a, b) for a, b in zip(seen[:3], seen[3:6]))
    assert all(torch.equal(a, b) for a, b in zip(seen[:3], seen[6:]))
    hidden = seen[0] == -1
    assert 0.4 < float(hidden.float().mean()) < 0.62  # 1 - 0.7² = 0.51
    assert torch.equal(seen[0][~hidden], (torch.arange(400) % 2)[~hidden])


def test_recorded_losses_come_down_to_the_bayes_loss(schedule, generator):
    result = long()
    best = evaluation.noise_errors(
        ExactDenoiser(WIDE, schedule), ExactDenoiser(WIDE, schedule), 50_000, generator
    )
    assert best.rmse == 0 and best.loss == pytest.approx(best.bayes_loss, rel=1e-12)
    assert len(result.column("loss")) == 200
    assert sum(result.column("loss")[-20:]) / 20 == pytest.approx(best.loss, abs=0.02)
    assert result.column("loss")[0] > 1.5 * best.loss


def test_same_seed_same_bytes(schedule):
    first, again, other = (train(schedule, 30, seed).network.state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_training_leaves_the_network_and_the_global_seed_alone(schedule):
    network = networks.build(NETWORK, 0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    fit(network, schedule, TrainConfig(5))
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_average_follows_the_weights(schedule):
    """Without averaging the result is the last iterate; with much of it, it is not."""
    last = train(schedule, 100, ema=0.0).network.state_dict()
    near, far = (train(schedule, 100, ema=e).network.state_dict() for e in (0.5, 0.999))

    def distance(a, b):
        return sum(float((a[k] - b[k]).norm() ** 2) for k in a) ** 0.5

    assert 0 < distance(last, near) < distance(last, far)


def test_bad_data_and_divergence_stop_the_training(schedule):
    def poisoned(n, generator):
        return torch.full((n, 2), float("nan"))

    with pytest.raises(ValueError, match="training data holds"):
        train(schedule, 5, draw=poisoned)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        config = TrainConfig(400, batch_size=16, learning_rate=1e20)
        fit(MLP(2), schedule, config)


@pytest.mark.parametrize(
    "arguments",
    [
        {"iterations": 0},
        {"learning_rate": -1.0},
        {"decay": "linear"},
        {"ema": 1.0},
        {"batch_size": 0},
        {"clip": 0.0},
        {"warmup": -1},
        {"precision": "float8"},
        {"weight_decay": -0.1},
        {"record_every": 0},
        {"decay": "one-cycle", "warmup": 1},
    ],
)
def test_bad_configurations_are_refused(arguments):
    with pytest.raises(ValueError):
        TrainConfig(**{"iterations": 1, **arguments})


def test_bad_objectives_are_refused(schedule):
    with pytest.raises(ValueError, match="unknown prediction"):
        DenoisingLoss(schedule, "epsilon")
    with pytest.raises(ValueError, match="label_dropout"):
        DenoisingLoss(schedule, label_dropout=1.0)


def test_mlp_puts_the_thesis_activation_on_its_output():
    x, share = (
        torch.randn(50, 2, generator=torch.Generator().manual_seed(0)),
        torch.full((50,), 0.5),
    )
    plain = networks.build({"class": "MLP", "dim": 2, "activate_output": False}, 0)
    thesis = networks.build({"class": "MLP", "dim": 2, "activate_output": True}, 0)
    expected = torch.nn.functional.leaky_relu(plain(x, share), 0.01)
    assert torch.equal(thesis(x, share), expected)
    assert sum(p.numel() for p in thesis.parameters()) == 16_962  # 3-64-128-64-2


def test_mlp_depends_on_time_and_refuses_other_shapes():
    for network in (MLP(2), MLP(2, frequencies=2)):
        x = torch.ones(1, 2)
        early, late = network(x, torch.tensor([0.1])), network(x, torch.tensor([0.9]))
        assert (early - late).abs().max() > 1e-4
        with pytest.raises(ValueError, match=r"expected \(B, 2\)"):
            network(torch.ones(1, 3), torch.tensor([0.1]))
    with pytest.raises(ValueError, match="did you mean silu"):
        MLP(2, activation="slu")


def shaded(n, generator):
    """Images of one shade: dark, about -0.5, or bright, about 0.5, as the label says."""
    bright = torch.randint(2, (n,), generator=generator)
    shade = bright - 0.5 + 0.1 * torch.randn(n, generator=generator)
    return shade[:, None, None, None].expand(n, 1, 4, 4), {"bright": bright}


def test_a_conditional_unet_learns_what_it_is_told_and_to_do_without(schedule):
    torch.manual_seed(0)
    network = UNet(
        1, (16, 16), blocks=1, middle=(), embedding=16, labels={"bright": 2}, activation="gelu"
    )
    config = TrainConfig(300, 32, 3e-3, "cosine", ema=0.99, clip=1.0)
    trained = fit(network, schedule, config, shaded, "v", label_dropout=0.4).network
    free = NetworkDenoiser(trained.requires_grad_(False), schedule, "v")
    x = torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    # from pure noise the best guess is the mean of the images that there can be
    for denoiser, expected in (
        (free, 0.0),
        (free.condition({"bright": 0}), -0.5),
        (free.condition({"bright": torch.ones(64, dtype=torch.int64)}), 0.5),
    ):
        assert float(denoiser.denoise(x, 1000).mean()) == pytest.approx(expected, abs=0.08)
    assert torch.equal(
        free.condition({}).noise(x, 500), free.condition({"bright": -1}).noise(x, 500)
    )
    with pytest.raises(ValueError, match="did you mean bright"):
        free.condition({"brigt": 1})
    with pytest.raises(ValueError, match="from 0 to 1"):
        free.condition({"bright": 2})
    with pytest.raises(ValueError, match="not trained with any"):
        NetworkDenoiser(MLP(2), schedule).condition({"bright": 1})


def test_unet_sees_the_whole_image_and_the_time():
    torch.manual_seed(0)
    network = UNet(3, (8, 16, 16), blocks=1, middle=(16,), embedding=16)
    torch.nn.init.normal_(network.last.weight)
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    share = torch.tensor([0.3], requires_grad=True)
    network(x, share)[0, :, 0, 0].sum().backward()
    assert (x.grad[0].abs().sum(0) > 0).all() and share.grad.abs() > 0
    with pytest.raises(ValueError, match=r"multiples of 4"):
        network(torch.ones(1, 3, 18, 16), torch.tensor([0.3]))
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W\)"):
        network(torch.ones(1, 1, 16, 16), torch.tensor([0.3]))
    with pytest.raises(ValueError, match="multiples of 8"):
        UNet(3, (12,))
    with pytest.raises(ValueError, match="unknown label"):
        network(x, share, {"smile": torch.tensor([1])})


def test_errors_of_maps_count_what_they_say():
    exact = ExactDenoiser(
        mixtures.thesis_mixture("Low2DSymMix"), recipes.config("Low2DSymMix").schedule
    )
    here = torch.tensor([[5.0, 5.0], [5.0, 5.0], [-5.0, 5.0], [-5.0, -5.0]]).double()
    there = here.clone()
    there[0, 0] = -5.0  # moved by 10 into another mode
    there[3, 0] += 0.5
    found = evaluation.map_errors(exact, here, there)
    assert (found.same_mode, found.largest_count) == (0.75, 1)
    assert found.same_mode_error == 0.25  # a count of one among four
    assert found.largest_count_error == 1  # one latent left the first mode, none came
    assert found.median == 0.25 and found.upper == pytest.approx(7.15)
    assert found.median_error > 0


def test_errors_of_map_errors_are_their_deviations(generator):
    """Over samples of latents, for a map that is off by random amounts."""
    law = mixtures.thesis_mixture("Low2DSymMix")
    exact = ExactDenoiser(law, recipes.config("Low2DSymMix").schedule)
    found = []
    for _ in range(300):
        here = law.sample(500, generator)
        away = 3 * torch.randn(500, 2, dtype=torch.float64, generator=generator)
        found.append(evaluation.map_errors(exact, here, here + away))
    for name in ("median", "same_mode"):
        values, errors = (
            torch.tensor([getattr(each, field) for each in found])
            for field in (name, f"{name}_error")
        )
        assert float(values.std()) == pytest.approx(float(errors.mean()), rel=0.2)
