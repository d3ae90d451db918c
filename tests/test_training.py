import pytest
import torch

from diffot import evaluation, mixtures, training, zoo
from diffot.networks import MLP, UNet
from diffot.predictors import ExactPredictor, NetworkPredictor, velocity
from diffot.training import TrainConfig

WIDE = mixtures.equal_mixture([[1.0, 1.0], [-1.0, -1.0]], 0.5)
NETWORK = {"class": "MLP", "dim": 2, "widths": [32, 32], "activation": "silu", "frequencies": 3}


def train(schedule, iterations, seed=0, draw=WIDE.sample, **more):
    config = TrainConfig(iterations, 256, **{"learning_rate": 3e-3, "seed": seed, **more})
    return training.train(zoo.build(NETWORK, seed), schedule, draw, config, progress=False)


def test_a_trained_predictor_approaches_the_exact_one(schedule, generator):
    exact = ExactPredictor(WIDE, schedule)
    errors = []
    for iterations in (20, 200, 2000):
        network = train(schedule, iterations, decay="cosine").network.requires_grad_(False)
        found = evaluation.noise_errors(
            NetworkPredictor(network, schedule), exact, 20_000, generator
        )
        assert found.loss > found.bayes_loss
        assert abs(found.loss - found.bayes_loss - found.rmse**2) < 4 * found.loss_error
        errors.append(found.rmse)
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.08


def test_a_trained_v_predictor_approaches_the_exact_one(schedule, generator):
    exact = ExactPredictor(WIDE, schedule)
    network = train(schedule, 2000, decay="cosine", prediction="v").network.requires_grad_(False)
    predictor = NetworkPredictor(network, schedule, "v")
    assert evaluation.noise_errors(predictor, exact, 20_000, generator).rmse < 0.08
    # what v is for: the mean of the data is found from pure noise, without an amplified error
    x = torch.randn(2000, 2, generator=generator)
    error = (predictor.denoised(x, schedule.T) - exact.denoised(x, schedule.T)).square().mean()
    assert error.sqrt() < 0.1


def test_v_is_the_same_quantity_in_other_words(schedule, generator):
    """A network that answers with the exact v is the exact predictor."""
    exact = ExactPredictor(WIDE, schedule)

    class ExactVelocity(torch.nn.Linear):
        def forward(self, x, share):
            return velocity(exact, x, share * schedule.T)

    predictor = NetworkPredictor(ExactVelocity(2, 2).double(), schedule, "v")
    x = torch.randn(50, 2, dtype=torch.float64, generator=generator)
    for t in (1, 400, 1000):
        torch.testing.assert_close(predictor(x, t), exact(x, t), rtol=0, atol=1e-12)
        torch.testing.assert_close(
            predictor.denoised(x, t), exact.denoised(x, t), rtol=0, atol=1e-10
        )
        torch.testing.assert_close(
            velocity(predictor, x, t), predictor.network(x, torch.tensor(t / 1000))
        )


def test_losses_are_recorded_by_noise_level(schedule, generator):
    """They are those of the exact predictor, drawn level by level."""
    result = train(schedule, 2000, decay="cosine")
    exact = ExactPredictor(WIDE, schedule)
    found = torch.tensor(result.level_losses[-50:], dtype=torch.float64).mean(0)
    for level in range(training.LEVELS):
        t = torch.randint(100 * level + 1, 100 * level + 101, (20_000,), generator=generator)
        x_0 = WIDE.sample(len(t), generator)
        eps = torch.randn(x_0.shape, dtype=torch.float64, generator=generator)
        x_t = schedule.alpha(t)[:, None] * x_0 + schedule.sigma(t)[:, None] * eps
        best = float((exact(x_t, t) - eps).square().mean())
        assert float(found[level]) == pytest.approx(best, abs=0.03)


def test_warmup_and_clipping_hold_the_weights_back(schedule):
    config = TrainConfig(100, learning_rate=1.0, warmup=10, decay="cosine")
    rates = [config.learning_rate_at(i) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates.index(max(rates)) in (8, 9, 10)
    assert rates == sorted(rates[:9]) + sorted(rates[9:], reverse=True) and rates[-1] < 1e-3
    start = zoo.build(NETWORK, 0).state_dict()

    def moved(**more):
        found = train(schedule, 3, ema=0.0, **more).network.state_dict()
        return max(float((found[k] - start[k]).abs().max()) for k in start)

    assert moved(warmup=300) < 0.05 * moved()
    # Adam divides by the size of the gradients plus 1e-8
    assert moved(clip=1e-12) < 1e-3 * moved()


def test_bfloat16_trains_nearly_as_float32(schedule):
    full, half = (
        train(schedule, 300, decay="cosine", precision=p).losses for p in ("float32", "bfloat16")
    )
    assert full != half
    assert sum(half[-50:]) == pytest.approx(sum(full[-50:]), rel=0.02)


def test_recorded_losses_come_down_to_the_bayes_loss(schedule, generator):
    result = train(schedule, 2000, decay="cosine")
    best = evaluation.noise_errors(
        ExactPredictor(WIDE, schedule), ExactPredictor(WIDE, schedule), 50_000, generator
    )
    assert best.rmse == 0 and best.loss == pytest.approx(best.bayes_loss, rel=1e-12)
    assert len(result.losses) == 200
    assert sum(result.losses[-20:]) / 20 == pytest.approx(best.loss, abs=0.02)
    assert result.losses[0] > 1.5 * best.loss


def test_same_seed_same_bytes(schedule):
    first, again, other = (train(schedule, 30, seed).network.state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_training_leaves_the_network_and_the_global_seed_alone(schedule):
    network = zoo.build(NETWORK, 0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    training.train(network, schedule, WIDE.sample, TrainConfig(5), progress=False)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_average_follows_the_weights(schedule):
    """Without averaging the result is the last iterate; with much of it, it is not."""
    last = train(schedule, 300, ema=0.0).network.state_dict()
    near, far = (train(schedule, 300, ema=e).network.state_dict() for e in (0.5, 0.999))

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
        training.train(MLP(2), schedule, WIDE.sample, config, progress=False)


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
        {"prediction": "x0"},
        {"precision": "float8"},
        {"label_dropout": 1.0},
    ],
)
def test_bad_configurations_are_refused(arguments):
    with pytest.raises(ValueError):
        TrainConfig(**{"iterations": 1, **arguments})


def test_mlp_puts_the_thesis_activation_on_its_output():
    x, share = (
        torch.randn(50, 2, generator=torch.Generator().manual_seed(0)),
        torch.full((50,), 0.5),
    )
    plain = zoo.build({"class": "MLP", "dim": 2, "activate_output": False}, 0)
    thesis = zoo.build({"class": "MLP", "dim": 2, "activate_output": True}, 0)
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
    config = TrainConfig(
        400, 64, 3e-3, "cosine", ema=0.99, prediction="v", clip=1.0, label_dropout=0.2
    )
    trained = training.train(network, schedule, shaded, config, progress=False).network
    free = NetworkPredictor(trained.requires_grad_(False), schedule, "v")
    x = torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    # from pure noise the best guess is the mean of the images that there can be
    for predictor, expected in (
        (free, 0.0),
        (free.given({"bright": 0}), -0.5),
        (free.given({"bright": torch.ones(64, dtype=torch.int64)}), 0.5),
    ):
        assert float(predictor.denoised(x, 1000).mean()) == pytest.approx(expected, abs=0.08)
    assert torch.equal(free.given({})(x, 500), free.given({"bright": -1})(x, 500))
    with pytest.raises(ValueError, match="did you mean bright"):
        free.given({"brigt": 1})
    with pytest.raises(ValueError, match="from 0 to 1"):
        free.given({"bright": 2})
    with pytest.raises(ValueError, match="not trained with labels"):
        NetworkPredictor(MLP(2), schedule).given({"bright": 1})


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
    with pytest.raises(ValueError, match="multiples of groups = 8"):
        UNet(3, (12,))
    with pytest.raises(ValueError, match="unknown label"):
        network(x, share, {"smile": torch.tensor([1])})


def test_errors_of_maps_count_what_they_say():
    exact = ExactPredictor(
        mixtures.thesis_mixture("Low2DSymMix"), zoo.config("Low2DSymMix").schedule
    )
    here = torch.tensor([[5.0, 5.0], [5.0, 5.0], [-5.0, 5.0], [-5.0, -5.0]]).double()
    there = here.clone()
    there[0, 0] = -5.0  # moved by 10 into another mode
    there[3, 0] += 0.5
    found = evaluation.map_errors(exact, here, there)
    assert (found.same_mode, found.largest_count) == (0.75, 1)
    assert found.median == 0.0 and found.upper == pytest.approx(7.15)
