import pytest
import torch

from diffot import evaluation, mixtures, training, zoo
from diffot.networks import MLP
from diffot.predictors import ExactPredictor, NetworkPredictor
from diffot.training import TrainConfig

WIDE = mixtures.equal_mixture([[1.0, 1.0], [-1.0, -1.0]], 0.5)
NETWORK = {"class": "MLP", "dim": 2, "widths": [32, 32], "activation": "silu", "frequencies": 3}


def train(schedule, iterations, seed=0, draw=WIDE.sample, **more):
    config = TrainConfig(iterations, batch_size=256, learning_rate=3e-3, seed=seed, **more)
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
