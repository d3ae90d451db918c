"""Training that is killed, launched several times over, or met by a full disk."""

import errno
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import training_worker
from training_worker import disks

from diffot.data import digits
from diffot.laws import mixtures
from diffot.learning import training
from diffot.learning.batches import Draws, Epochs
from diffot.learning.configuration import TrainConfig
from diffot.learning.epoch_kinds import ProbeRecipe
from diffot.learning.networks import MLP, UNet
from diffot.learning.objectives import DenoisingLoss
from diffot.learning.runs import TrainingRun

WORKER = Path(__file__).with_name("training_worker.py")
LAUNCHER = Path(sys.executable).with_name("accelerate")
SMALL = {"channels": 1, "widths": (8,), "blocks": 1, "middle": (), "embedding": 8}


def gray(n, generator):
    return disks(n, generator)[0]


def fit(schedule, folder, draw=gray, rate=1e-3, resume=False):
    torch.manual_seed(0)
    network = UNet(**SMALL)
    run = TrainingRun(folder, {"training": {"rate": rate}}, resume, seconds=0.0)
    config = TrainConfig(8, batch_size=8, learning_rate=rate)
    return train(network, schedule, draw, config, run, "v")


def train(network, schedule, draw, config, run=None, prediction="eps"):
    objective, draws = DenoisingLoss(schedule, prediction), torch.Generator().manual_seed(0)
    return training.train(network, Draws(draw), objective, config, draws, progress=False, run=run)


def weights_of(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


def state_of(folder):
    return torch.load(folder / "state.pt", weights_only=True)


def same_bytes(a, b):
    return a.keys() == b.keys() and all(
        a[k].numpy().tobytes() == b[k].numpy().tobytes() for k in a
    )


def untimed(log):
    """The columns of a log that do not depend on the clock."""
    rows = [line.split(",") for line in log.read_text().splitlines()]
    skipped = {rows[0].index(name) for name in ("seconds", "per_second")}
    return [[value for i, value in enumerate(row) if i not in skipped] for row in rows]


@pytest.fixture(scope="module")
def processes():
    """Processes that start from one which has imported torch: to do so takes seconds, and the
    compiler, which optimizers import when they are first made, takes more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["diffot.learning.training", "torch._dynamo"])
    return context


def test_a_run_killed_ten_times_ends_with_the_same_weights(processes, tmp_path):
    iterations, kills = 300, 10
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def start(folder):
        process = processes.Process(target=training_worker.main, args=(folder, iterations, True))
        process.start()
        return process

    def run(folder):
        process = start(folder)
        process.join()
        assert process.exitcode == 0

    run(whole)
    dice = random.Random(7)
    steps = [0]
    for _ in range(kills):
        log = broken / "log.csv"
        before = log.read_bytes() if log.exists() else b""
        process = start(broken)
        while process.is_alive() and (not log.exists() or log.read_bytes() == before):
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
        if (broken / "state.pt").exists():
            steps.append(state_of(broken)["step"])
    assert len(set(steps)) > kills / 2 and steps == sorted(steps) and steps[-1] < iterations
    run(broken)
    assert same_bytes(weights_of(broken), weights_of(whole))
    assert untimed(broken / "log.csv") == untimed(whole / "log.csv")
    assert not list(broken.glob(".*")), "what the kills left has not been removed"


def test_two_processes_train_as_one_does(processes, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone = processes.Process(target=training_worker.main, args=(one, 12, False))
    alone.start()
    alone.join()
    assert alone.exitcode == 0
    # without a GPU it takes --multi_gpu to make it start two processes
    launch = [LAUNCHER, "launch", "--multi_gpu", "--num_processes=2", "--main_process_port=0"]
    plain = ["--mixed_precision=no", "--num_machines=1", "--dynamo_backend=no"]
    subprocess.run(
        [*launch, *plain, WORKER, two, "12"],
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    states = [state_of(folder) for folder in (one, two)]
    assert [state["processes"] for state in states] == [1, 2]
    # Adam's first moments are averages of the gradients, and keep their scale
    moments = [
        torch.cat([s["exp_avg"].flatten() for s in state["optimizer"]["state"].values()])
        for state in states
    ]
    assert (moments[0] - moments[1]).norm() < 1e-4 * moments[0].norm()
    assert torch.equal(states[0]["generator"], states[1]["generator"])
    losses = [[float(row[1]) for row in untimed(f / "log.csv")[1:]] for f in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_one_training_at_a_time_writes_to_a_folder(processes, schedule, tmp_path):
    fit(schedule, tmp_path)
    leftover = tmp_path / ".state.pt.half"
    leftover.write_text("of the other training, which is alive")
    here, there = processes.Pipe()
    other = processes.Process(target=training_worker.hold, args=(tmp_path, there))
    other.start()
    try:
        assert here.recv() == "held"
        with pytest.raises(BlockingIOError, match=r"another training is writing to .*wait"):
            fit(schedule, tmp_path, resume=True)
        assert leftover.exists()
    finally:
        other.kill()
        other.join()
    fit(schedule, tmp_path, resume=True)  # a lock ends with the process that had it
    assert not leftover.exists()


def test_a_folder_is_held_once_and_given_back(tmp_path):
    run, other = (TrainingRun(tmp_path, {}) for _ in range(2))
    with pytest.raises(RuntimeError, match="on the way"), run.held(), run.held():
        raise RuntimeError("on the way")
    with other.held(), pytest.raises(BlockingIOError), run.held():
        pass


def test_a_resumed_run_keeps_its_precision(schedule, tmp_path, monkeypatch):
    """Also on a machine on which the other one is faster."""
    torch.manual_seed(0)
    network, run = MLP(2, (8,)), partial(TrainingRun, tmp_path, {}, resume=True, seconds=0.0)
    sample = mixtures.equal_mixture([[1.0, 1.0], [-1.0, -1.0]], 0.5).sample

    def go(precision, steps):
        config = TrainConfig(steps, batch_size=8, precision=precision)
        return train(network, schedule, sample, config, run())

    monkeypatch.setattr(training, "faster_precision", lambda *arguments: ("bfloat16", 0.5))
    assert go("auto", 3).precision == "bfloat16"
    assert state_of(tmp_path)["precision"] == "bfloat16"
    monkeypatch.setattr(training, "faster_precision", lambda *arguments: ("float32", 2.0))
    assert go("auto", 6).precision == "bfloat16"
    with pytest.raises(ValueError, match=r"begun in bfloat16, .*float32.* --precision bfloat16"):
        go("float32", 9)
    assert go("bfloat16", 9).precision == "bfloat16"


def test_buffers_are_in_the_state(schedule, tmp_path):
    """An interrupted training ends with the bytes of one that is not, BatchNorm included."""

    class Normalized(torch.nn.Sequential):
        def forward(self, x, share):
            return super().forward(x)

    sample, calls = mixtures.equal_mixture([[1.0, 1.0], [-1.0, -1.0]], 0.5).sample, []
    torch.manual_seed(0)
    layers = [torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)]
    network, config = Normalized(*layers), TrainConfig(10, batch_size=16)

    def interrupted(n, generator):
        calls.append(n)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return sample(n, generator)

    whole = train(network, schedule, sample, config).network.state_dict()
    for _ in range(2):
        run = TrainingRun(tmp_path, {}, resume=True, seconds=0.0)
        try:
            result = train(network, schedule, interrupted, config, run)
        except KeyboardInterrupt:
            assert state_of(tmp_path)["step"] == 5
    assert same_bytes(result.network.state_dict(), whole)


def test_epochs_go_on_where_they_were(tmp_path, monkeypatch):
    """Order, learning rate in its cycle and best weights included."""
    data, part = digits.load(60), {"set": "digits"}
    recipe = ProbeRecipe(
        train=part, validation=part, test=part, widths=(8,), epochs=4, batch_size=8
    )
    whole = recipe.fit(data, data, progress=False)
    take, calls = Epochs.take, []

    def interrupted(batches, n, generator):
        calls.append(n)
        if len(calls) in (12, 20):  # in the second and in the third epoch
            raise KeyboardInterrupt
        return take(batches, n, generator)

    monkeypatch.setattr(Epochs, "take", interrupted)
    for _ in range(3):
        run = TrainingRun(tmp_path, {}, resume=True, seconds=0.0)
        try:
            result = recipe.fit(data, data, False, run)
        except KeyboardInterrupt:
            continue
    assert len(calls) == 4 * 7 + 2
    assert same_bytes(result.network.state_dict(), whole.network.state_dict())
    for name in ("loss", "validation_loss", "learning_rate"):
        assert result.column(name) == whole.column(name)


def test_a_full_disk_leaves_the_last_state(schedule, tmp_path, monkeypatch):
    whole = fit(schedule, tmp_path / "whole").network.state_dict()
    run, fsync, calls = tmp_path / "full", os.fsync, []

    def full_disk(handle):
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"No space left .* state of step \d .*is intact.*--resume"):
        fit(schedule, run)
    monkeypatch.setattr(os, "fsync", fsync)
    assert 0 < state_of(run)["step"] < 8
    assert same_bytes(fit(schedule, run, resume=True).network.state_dict(), whole)


def test_an_unfinished_run_is_neither_overwritten_nor_mixed_up(schedule, tmp_path):
    fit(schedule, tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(FileExistsError, match=r"unfinished run .* --resume .* delete the folder"):
        fit(schedule, tmp_path)
    with pytest.raises(ValueError, match=r"training\.rate is 0\.001 there and 0\.002 here"):
        fit(schedule, tmp_path, rate=2e-3, resume=True)
    assert (tmp_path / "state.pt").read_bytes() == before
    (tmp_path / "state.pt").write_bytes(before[: len(before) // 2])
    with pytest.raises(ValueError, match=r"cannot be read .* start anew"):
        fit(schedule, tmp_path, resume=True)


def test_nothing_is_trained_where_nothing_can_be_written(schedule, tmp_path, monkeypatch):
    def no_data(n, generator):
        raise AssertionError("training has started")

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be written to .*permissions"):
        fit(schedule, tmp_path / "file" / "run", draw=no_data)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(OSError, match=r"1 MB left on its disk and 10 MB are needed"):
        fit(schedule, tmp_path / "run", draw=no_data)


def test_bad_data_leave_the_state_of_the_steps_before(schedule, tmp_path):
    calls = []

    def spoiled(n, generator):
        calls.append(n)
        images = gray(n, generator)
        return images * float("nan") if len(calls) == 6 else images

    with pytest.raises(ValueError, match="training data holds"):
        fit(schedule, tmp_path, draw=spoiled)
    assert state_of(tmp_path)["step"] == 5
    whole = fit(schedule, tmp_path / "whole").network.state_dict()
    assert same_bytes(fit(schedule, tmp_path, resume=True).network.state_dict(), whole)
