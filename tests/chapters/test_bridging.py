"""Processes fitted to pairs, against Gaussians in closed form."""

import pytest
import torch

from chapters.transport_methods.bridging import (
    BridgeEnds,
    BridgeLoss,
    FittingConfig,
    NoisyProcess,
    fitted,
)
from diffot.learning import networks
from diffot.learning.configuration import TrainConfig
from diffot.transport.bridges import gaussian_bridge
from diffot.transport.couplings import GaussianCoupling, rectified

A = torch.tensor([[1.0, 0.2], [0.2, 0.6]], dtype=torch.float64)
B = torch.tensor([[0.5, -0.3], [-0.3, 1.2]], dtype=torch.float64)
EPSILON = 0.7


def pairs(coupling, n, draws):
    """Start and end, shape (n, 2, 2)."""
    root = torch.linalg.cholesky(coupling.source)
    rest = coupling.target - coupling.matrix @ coupling.cross.mT
    start, noise = torch.randn(2, n, 2, dtype=torch.float64, generator=draws)
    start = start @ root.mT
    end = start @ coupling.matrix.mT + noise @ torch.linalg.cholesky(rest).mT
    return torch.stack([start, end], 1)


def exact_answer(coupling):
    """sqrt(1 - t) times the drift of the process fitted to Gaussian pairs, by regression of the
    end on the point on the way."""

    def answer(x, time):
        t = float(time[0])
        way = (1 - t) * coupling.cross + t * coupling.target  # E[X_1 X_t^T]
        end = torch.linalg.solve(coupling.covariance(t, EPSILON), way.mT).mT
        return (x.double() @ end.mT - x.double()) / (1 - t) ** 0.5

    return answer


def cross_error(process, coupling, n, draws):
    """Largest error of E[X_1 X_0^T] of simulated pairs, against a coupling."""
    start = pairs(coupling, n, draws)[:, 0]
    found = process.ends(start, draws).mT @ start / n
    return float((found - coupling.cross).abs().max())


def test_the_loss_is_least_for_the_closed_form_drift(generator):
    """Errors of its answers, times any linear function of the points, have the mean zero."""
    coupling = GaussianCoupling(A, B, 0.3 * B @ A)
    n = 200_000
    examples = pairs(coupling, n, generator).float(), {}
    inputs = BridgeLoss(EPSILON).prepare(examples, generator)
    answer = exact_answer(coupling)
    for low in (0.0, 0.45, 0.9):
        near = (inputs["time"] >= low) & (inputs["time"] < low + 0.02)
        x, time = inputs["x"][near], inputs["time"][near]
        middle = torch.full_like(time, float(time.mean()))
        products = (inputs["target"][near] - answer(x, middle))[:, :, None] * x[:, None, :]
        error = products.std(0) / len(x) ** 0.5
        assert bool((products.mean(0).abs() < 4.5 * error + 0.02).all())


@pytest.mark.parametrize("backward", [False, True])
def test_the_bridge_keeps_its_pairs_from_either_side(backward, generator):
    bridge = gaussian_bridge(A, B, EPSILON)
    if backward:
        bridge = GaussianCoupling(bridge.target, bridge.source, bridge.cross.mT)
    process = NoisyProcess(exact_answer(bridge), EPSILON, 100)
    assert cross_error(process, bridge, 100_000, generator) < 0.02


def test_other_pairs_become_those_of_one_closed_form_round(generator):
    coupling = GaussianCoupling.independent(A, B)
    process = NoisyProcess(exact_answer(coupling), EPSILON, 200)
    next_ = rectified(coupling, EPSILON)
    assert float((next_.cross - coupling.cross).abs().max()) > 0.2
    start = pairs(coupling, 100_000, generator)[:, 0]
    found = process.ends(start, generator).mT @ start / len(start)
    assert torch.allclose(found, next_.cross, atol=0.02)


def test_networks_approach_the_closed_form_bridge():
    draws = torch.Generator().manual_seed(0)
    roots = [torch.linalg.cholesky(c).float() for c in (A, B)]

    def law(root):
        return lambda n, draws: torch.randn(n, 2, generator=draws) @ root.mT

    config = FittingConfig(
        EPSILON, 2, 4000, TrainConfig(200, 256, 5e-3, decay="cosine", ema=0.98)
    )
    small = {"class": "MLP", "dim": 2, "widths": [32, 32], "activation": "silu", "frequencies": 2}
    sides = networks.build(small, 0), networks.build(small, 1)
    bridge = gaussian_bridge(A, B, EPSILON)
    errors, start = [], law(roots[0])(20_000, draws)
    for process in fitted(sides, (law(roots[0]), law(roots[1])), config, draws):
        means = process.means(start) - start @ bridge.matrix.mT.float()
        errors.append(float(means.square().sum(1).mean().sqrt()))
    assert len(errors) == 3 and errors[2] < 0.1 < 0.4 < errors[0]
    assert cross_error(process, bridge, 20_000, draws) < 0.08


def test_ends_depend_on_the_seed_alone(generator):
    z = torch.randn(20, 2, dtype=torch.float64, generator=generator)
    process = NoisyProcess(lambda x, t: -x, 0.5, 5)
    ends = [BridgeEnds(process, seed).decode(z) for seed in (1, 1, 2)]
    assert torch.equal(ends[0], ends[1]) and not torch.allclose(ends[0], ends[2])
    with pytest.raises(NotImplementedError, match="Jacobian"):
        BridgeEnds(process, 1).jacobian(z)


TRAINING = TrainConfig(1)


@pytest.mark.parametrize(
    "bad, error, said",
    [
        (lambda: BridgeLoss(0.0), ValueError, "epsilon"),
        (lambda: BridgeLoss("1"), TypeError, "epsilon"),
        (
            lambda: BridgeLoss(1.0).prepare((torch.zeros(4, 3, 2), {}), torch.Generator()),
            ValueError,
            "pairs of a start",
        ),
        (lambda: NoisyProcess(0, 1.0), TypeError, "network"),
        (lambda: NoisyProcess(torch.add, -1.0), ValueError, "epsilon"),
        (lambda: NoisyProcess(torch.add, 1.0, 0), ValueError, "steps"),
        (
            lambda: NoisyProcess(torch.add, 1.0).ends(torch.zeros(3), torch.Generator()),
            ValueError,
            "start",
        ),
        (lambda: NoisyProcess(torch.add, 1.0).ends(torch.zeros(3, 2), 0), TypeError, "draws"),
        (lambda: FittingConfig(0.0, 1, 1, TRAINING), ValueError, "epsilon"),
        (lambda: FittingConfig(1.0, -1, 1, TRAINING), ValueError, "rounds"),
        (lambda: FittingConfig(1.0, 1, 0, TRAINING), ValueError, "pairs"),
        (lambda: FittingConfig(1.0, 1, 1, 5), TypeError, "training"),
    ],
)
def test_bad_calls_name_the_argument(bad, error, said):
    with pytest.raises(error, match=said):
        bad()
