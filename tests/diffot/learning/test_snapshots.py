"""Snapshots: the weights that a shorter training ends with."""

import pytest
import torch

from diffot.laws import mixtures
from diffot.learning import networks, training
from diffot.learning.batches import Draws
from diffot.learning.configuration import TrainConfig
from diffot.learning.networks import MLP
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.runs import TrainingRun
from diffot.learning.snapshots import Snapshots

SAMPLE = mixtures.equal_mixture([[1.0, 1.0], [-1.0, -1.0]], 0.5).sample
NETWORK = {"class": "MLP", "dim": 2, "widths": [8]}


def fit(schedule, iterations, snapshots=None, draw=SAMPLE, run=None, **more):
    config = TrainConfig(iterations, 16, learning_rate=1e-2, **more)
    network, draws = networks.build(NETWORK, 0), torch.Generator().manual_seed(0)
    loss = DenoisingLoss(schedule)
    return training.train(
        network, Draws(draw), loss, config, draws, progress=False, run=run, snapshots=snapshots
    ).network.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_average_is_what_a_training_of_so_many_steps_returns(schedule):
    """At a constant rate, and it is the network itself where nothing is averaged."""
    kept = Snapshots([0, 3, 7])
    fit(schedule, 7, kept, ema=0.9)
    raw = Snapshots([3, 7])
    fit(schedule, 7, raw, ema=0.0)
    assert list(kept.weights) == [0, 3, 7]
    for step in (3, 7):
        both = kept.weights[step]
        assert same(both["average"], fit(schedule, step, ema=0.9))
        assert same(both["network"], fit(schedule, step, ema=0.0))
        assert not same(both["average"], both["network"])
        assert same(raw.weights[step]["network"], raw.weights[step]["average"])


def test_before_the_first_step_the_network_is_as_it_was(schedule):
    kept = Snapshots((0,))
    fit(schedule, 2, kept)
    fresh = networks.build(NETWORK, 0).state_dict()
    assert same(kept.weights[0]["network"], fresh) and same(kept.weights[0]["average"], fresh)


def test_what_is_kept_depends_on_the_decay_of_the_rate(schedule):
    """A decaying rate knows how long the training will be: no shorter one has its weights."""
    kept = Snapshots([3])
    fit(schedule, 30, kept, decay="cosine")
    assert not same(kept.weights[3]["average"], fit(schedule, 3, decay="cosine"))


def test_keeping_changes_nothing(schedule):
    assert same(fit(schedule, 5, Snapshots(range(6))), fit(schedule, 5))


def test_a_resumed_training_has_all_of_them(schedule, tmp_path):
    whole, calls = Snapshots([0, 2, 5, 8]), []
    fit(schedule, 8, whole)

    def interrupted(n, generator):
        calls.append(n)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return SAMPLE(n, generator)

    for _ in range(2):
        kept, run = Snapshots([0, 2, 5, 8]), TrainingRun(tmp_path, {}, resume=True, seconds=0.0)
        try:
            fit(schedule, 8, kept, interrupted, run)
        except KeyboardInterrupt:
            assert list(kept.weights) == [0, 2]
    assert kept.weights.keys() == whole.weights.keys()
    for step, both in whole.weights.items():
        for name, weights in both.items():
            assert same(weights, kept.weights[step][name])


def test_steps_after_the_end_are_refused(schedule):
    with pytest.raises(ValueError, match=r"snapshots .* step 9, and training ends at 5"):
        fit(schedule, 5, Snapshots([2, 9]))


def test_the_network_passed_in_keeps_its_weights(schedule):
    network, kept = MLP(2, (4,)), Snapshots([0, 1])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    training.train(
        network, Draws(SAMPLE), DenoisingLoss(schedule), TrainConfig(1, 4),
        torch.Generator().manual_seed(0), progress=False, snapshots=kept,
    )  # fmt: skip
    assert same(network.state_dict(), before) and not same(before, kept.weights[1]["network"])
