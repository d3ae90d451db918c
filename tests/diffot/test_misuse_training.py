"""Bad input to training, checkpoints, probes and autoencoders."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from misuse import Case, Use, check, expect, misuses
from PIL import Image

from diffot.data import digits
from diffot.learning import (
    attributes,
    autoencoder,
    checkpoints,
    datasets,
    networks,
    recipes,
    registry,
    runs,
    training,
)
from diffot.learning.attributes import AttributeProbe
from diffot.learning.autoencoder import ConditionalVAE
from diffot.learning.batches import Draws, Epochs
from diffot.learning.configuration import TrainConfig
from diffot.learning.epoch_kinds import AutoencoderRecipe, ProbeRecipe
from diffot.learning.kinds import DenoiserRecipe
from diffot.learning.networks import MLP
from diffot.learning.objectives import DenoisingLoss, FlowMatchingLoss
from diffot.learning.runs import TrainingRun
from diffot.learning.snapshots import Snapshots
from diffot.learning.training import TrainResult
from diffot.processes.schedules import scaled_linear

SCHEDULE = scaled_linear(1000, 1e-4, 0.02)
LOSS = DenoisingLoss(SCHEDULE)
DIGITS = digits.load(20)
PROBE = AttributeProbe({"digit": [str(k) for k in range(10)]}, 1, 28, (8,))
VAE = ConditionalVAE({"digit": 10}, 1, 28, (8,), latents=4, embedding=4)
IMAGES, LABELS = DIGITS.images, DIGITS.labels
WEIGHTS = {"a": torch.ones(2)}
DESCRIPTION = {"parameters": 2, "cpu_seconds": 1.0, "losses": [0.5]}


def points(n: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(n, 2, generator=generator)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


FIT = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "seed": 0}
SET = {"set": "digits", "n": 20}
SPLITS = {"train": SET, "validation": SET, "test": SET}
PAIR = {"data": SET, "test": SET}
USES = [
    Use(
        TrainConfig,
        {
            "iterations": 5,
            "batch_size": 4,
            "learning_rate": 1e-3,
            "decay": "cosine",
            "ema": 0.9,
            "warmup": 1,
            "clip": 1.0,
            "precision": "auto",
            "weight_decay": 0.1,
            "record_every": 2,
        },
        allowed={"clip": {"None"}, "record_every": {"None"}},
    ),
    Use(
        training.train,
        {
            "network": MLP(2, (4,)),
            "batches": Draws(points),
            "objective": LOSS,
            "config": TrainConfig(1, 4),
            "generator": seeded(),
            "run": None,
            "snapshots": None,
        },
        allowed={"run": {"None"}, "snapshots": {"None"}},
    ),
    Use(Snapshots, {"steps": [0, 1, 5]}),
    Use(Draws, {"draw": points}),
    Use(Epochs, {"data": DIGITS}),
    Use(
        DenoisingLoss,
        {"schedule": SCHEDULE, "prediction": "v", "label_dropout": 0.1},
    ),
    Use(FlowMatchingLoss, {"group": 4}),
    Use(ProbeRecipe, {"train": SET, "validation": SET, "test": SET, "widths": (8, 8), **FIT}),
    Use(
        AutoencoderRecipe,
        {"data": SET, "test": SET, "labels": {"digit": 10}, "network": {}, **FIT},
    ),
    Use(
        DenoiserRecipe,
        {
            "data": {"set": "digits"},
            "schedule": SCHEDULE,
            "network": {"class": "MLP"},
            "training": TrainConfig(1),
            "prediction": "v",
            "label_dropout": 0.1,
            "seed": 0,
            "storage": "float32",
        },
        allowed={"data": {"text"}},
    ),
    Use(
        AttributeProbe,
        {"classes": {"digit": ("0", "1")}, "channels": 1, "size": 8, "widths": (8,)},
    ),
    Use(
        ProbeRecipe(**SPLITS, widths=(8,), **FIT).fit,
        {"data": DIGITS, "validation": DIGITS, "progress": False, "run": None},
        allowed={"progress": {"all"}, "run": {"None"}},
    ),
    Use(PROBE.forward, {"images": IMAGES}),
    Use(PROBE.logits, {"images": IMAGES}),
    Use(PROBE.features, {"images": IMAGES}),
    Use(PROBE.classify, {"images": IMAGES}),
    Use(attributes.augmented, {"images": IMAGES, "generator": seeded()}),
    Use(attributes.fit_temperature, {"logits": torch.randn(3, 3), "labels": torch.arange(3)}),
    Use(
        attributes.calibration_error,
        {"confidence": np.linspace(0, 1, 5), "right": np.arange(5) < 2},
    ),
    Use(attributes.evaluate, {"probe": PROBE, "test": DIGITS}),
    Use(
        ConditionalVAE,
        {
            "labels": {"digit": 10},
            "channels": 1,
            "size": 8,
            "widths": (8,),
            "latents": 4,
            "embedding": 4,
        },
    ),
    Use(VAE.encode, {"images": IMAGES, "labels": LABELS}),
    Use(VAE.decode, {"z": torch.randn(20, 4), "labels": LABELS}),
    Use(
        autoencoder.kl_divergence, {"mean": torch.randn(3, 2), "log_variance": torch.randn(3, 2)}
    ),
    Use(
        autoencoder.evidence_bound,
        {"network": VAE, "images": IMAGES, "labels": LABELS, "generator": seeded()},
    ),
    Use(AutoencoderRecipe(**PAIR, labels={"digit": 10}).fit, {"data": DIGITS}),
    Use(autoencoder.evaluate, {"network": VAE, "data": DIGITS, "seed": 0}),
    Use(runs.grid, {"images": IMAGES}),
    Use(runs.ungrid, {"picture": Image.new("L", (224, 28))}),
    Use(
        TrainingRun,
        {"folder": "nowhere", "recipe": {}, "seconds": 1.0},
        allowed={"folder": {"text"}},
    ),
    Use(networks.build, {"network": {"class": "MLP", "dim": 2}, "seed": 0}),
    Use(datasets.load_images, {"data": SET}),
    Use(registry.provide, {"names": ["Low2DSymMix"]}),
    Use(recipes.config("DigitsProbe28").split, {"part": "test"}, named={"part": "split"}),
    Use(
        checkpoints.save,
        {"name": "x", "weights": WEIGHTS, "description": DESCRIPTION, "folder": "nowhere"},
        allowed={"name": {"text"}, "folder": {"text"}},
    ),
    Use(
        checkpoints.card,
        {"name": "Low2DSymMix", "folder": checkpoints.CHECKPOINTS},
        allowed={"name": {"text"}, "folder": {"text"}},
    ),
    Use(checkpoints.require_hashes, {"expected": "b2534f7e"}),
]
USES += [
    Use(function, {"name": "Low2DSymMix"}, named={"name": "model"})
    for function in (recipes.config, registry.card, registry.load, registry.train)
]
USES += [
    # a good result would have to be trained first
    Use(
        registry.save,
        {"name": name, "result": None, "folder": "nowhere"},
        allowed={"folder": {"all"}},
        named={"name": "model"},
    )
    for name in ("Low2DSymMix", "DigitsProbe28", "FacesVAE32")
]


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_bad_input_is_named(use, argument, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(use, argument, value)
    assert not list(tmp_path.iterdir())


def fit(network: MLP, draw: Callable) -> object:
    return training.train(network, Draws(draw), LOSS, TrainConfig(1, 4), seeded(), progress=False)


def drawn(data: object) -> Callable:
    return lambda: fit(MLP(2, (4,)), lambda n, generator: data)


def labeled(**labels: object) -> Callable:
    return drawn((torch.ones(4, 2), labels))


class Wide(MLP):
    def forward(self, x, share):
        return super().forward(x, share)[:, :1]


CASES = [
    Case(drawn([1, 2]), "training data is [1, 2], of type list", "list"),
    Case(drawn(torch.ones(3, 2)), "asked for 4 points; the training data has 3", "few"),
    Case(drawn(torch.ones(4)), "training data has shape (4,)", "flat"),
    Case(drawn(torch.ones(4, 2).long()), "training data is torch.int64", "integers"),
    Case(drawn(torch.full((4, 2), math.inf)), "training data holds 8", "infinite"),
    Case(drawn((torch.ones(4, 2), [1, 2])), "the labels is [1, 2]", "labels in a list"),
    Case(labeled(smile=[0, 1, 0, 1]), "label 'smile'", "label in a list"),
    Case(labeled(smile=torch.ones(4)), "label 'smile' is torch.float32", "real label"),
    Case(labeled(smile=torch.ones(3).long()), "label 'smile' has 3", "few labels"),
    Case(
        lambda: fit(Wide(2, (4,)), points),
        "what the network answers has shape (4, 1)",
        "an answer that would be broadcast",
    ),
    Case(
        lambda: fit(MLP(2).requires_grad_(False), points),
        "requires_grad_(True)",
        "frozen network",
    ),
    Case(
        lambda: autoencoder.kl_divergence(torch.zeros(3, 2), torch.zeros(1, 2)),
        "log_variance",
        "rows",
    ),
    Case(
        lambda: autoencoder.kl_divergence(torch.zeros(3, 2), torch.zeros(3, 1)),
        "log_variance",
        "columns",
    ),
    Case(
        lambda: attributes.fit_temperature(torch.ones(5, 3), torch.ones(4).long()),
        "labels has 4 values for 5",
        "labels and logits",
    ),
    Case(
        lambda: attributes.fit_temperature(torch.ones(5, 3), torch.full((5,), 3)),
        "labels has values outside of 0 to 2",
        "class out of range",
    ),
    Case(
        lambda: attributes.calibration_error(np.array([0.5, 1.5]), np.array([True, False])),
        "confidence holds values outside",
        "confidence above 1",
    ),
    Case(
        lambda: attributes.calibration_error(np.array([0.5]), np.array([True, False])),
        "confidence has 1 values and right 2",
        "confidence and right",
    ),
    Case(
        lambda: attributes.calibration_error(np.array([0.5]), np.array([1.0])),
        "right is an array of float64",
        "right as numbers",
    ),
    Case(lambda: AttributeProbe({}), "classes is empty", "no labels to read"),
    Case(
        lambda: AutoencoderRecipe(data={}, test={}, labels={"digit": 2.5}),
        "classes of 'digit' in labels",
        "2.5 classes",
    ),
    Case(
        lambda: ProbeRecipe(**SPLITS, widths=(8.0,)),
        "widths",
        "real width",
    ),
    Case(
        lambda: ProbeRecipe(**SPLITS, widths=()),
        "widths are ()",
        "no widths",
    ),
    Case(lambda: runs.ungrid(Image.new("L", (30, 28))), "picture has 30 x 28", "no grid"),
    Case(lambda: datasets.load_images({}), "expected the key 'set'", "no set"),
    Case(lambda: datasets.load_images({"set": "digit"}), "did you mean digits", "unknown set"),
    Case(
        lambda: datasets.load_images({**SET, "sede": 1}), "did you mean seed", "unknown argument"
    ),
    Case(lambda: datasets.load_images({"set": "faces"}), "faces lacks n", "missing argument"),
    Case(
        lambda: datasets.load_images({"set": "faces", "n": 1, "bias": {"given": "smile"}}),
        "bias lacks attribute",
        "incomplete bias",
    ),
    Case(lambda: networks.build({"dim": 2}, 0), "expected the key 'class'", "no class"),
    Case(
        lambda: networks.build({"class": "MLP", "dmi": 2}, 0),
        "did you mean dim",
        "unknown option",
    ),
    Case(lambda: registry.provide("Low2DSymMix"), "names is 'Low2DSymMix'", "a name for names"),
    Case(
        lambda: registry.train("Low2DSymMix", precision="float8"),
        "unknown precision",
        "precision",
    ),
    Case(lambda: checkpoints.require_hashes("", "Low2DSymMix"), "eight digits", "empty hash"),
    *[
        Case(lambda name=name: checkpoints.card(name), "no part of a path", f"name {name!r}")
        for name in ("../x", "a/b", "/x", "..", "", ".hidden", "a\0b", "a\\b", "a\n")
    ],
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_calls_are_explained(case):
    expect(case.call, case.says)


def test_whole_numbers_of_numpy_are_kept_as_plain_ones():
    config = TrainConfig(np.int64(5), batch_size=torch.tensor(4), learning_rate=np.float32(0.5))
    assert json.dumps(vars(config)) == json.dumps(vars(TrainConfig(5, 4, 0.5)))
    recipe = AutoencoderRecipe(
        data=SET, test=SET, labels={"digit": np.int64(10)}, epochs=np.int64(2)
    )
    assert recipe == AutoencoderRecipe(**PAIR, labels={"digit": 10}, epochs=2)


def test_truth_values_are_labels_of_an_autoencoder():
    network = ConditionalVAE({"smile": 2}, 1, 8, (8,))
    z, smile = torch.randn(4, 64), torch.tensor([True, False, True, False])
    assert torch.equal(
        network.decode(z, {"smile": smile}), network.decode(z, {"smile": smile.long()})
    )


# --- Checkpoints --------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints that are good: of a model, a probe and an autoencoder."""
    for name in ("Low2DSymMix", "DigitsProbe28", "FacesVAE32"):
        for suffix in ("json", "safetensors"):
            content = (checkpoints.CHECKPOINTS / f"{name}.{suffix}").read_bytes()
            (tmp_path / f"{name}.{suffix}").write_bytes(content)
    return tmp_path


def changed(keys: str, value: object) -> Callable[[dict], None]:
    """Set what stands at these keys, or remove it."""

    def change(card: dict) -> None:
        *above, last = keys.split(".")
        for key in above:
            card = card[key]
        if value is None:
            del card[last]
        else:
            card[last] = value

    return change


SPOILT = [
    ("Low2DSymMix", "schedule.name", "cosin", "schedule.name is 'cosin' there"),
    ("Low2DSymMix", "schedule", None, "schedule is missing there"),
    ("Low2DSymMix", "network.activate_output", False, "network.activate_output"),
    ("Low2DSymMix", "network.activation", "gelu", "network.activation is not said here"),
    ("Low2DSymMix", "training", None, "training is missing there"),
    ("Low2DSymMix", "training", [1], "training is [1] there"),
    ("Low2DSymMix", "training.prediction", "v", "training.prediction is 'v' there"),
    ("Low2DSymMix", "training.precision", "float8", "training.precision is 'float8' there"),
    ("Low2DSymMix", "training.iterations", None, "training.iterations is missing there"),
    ("Low2DSymMix", "data", "Low2DBimodal", "data is 'Low2DBimodal' there"),
    ("Low2DSymMix", "name", "Low2DBimodal", "is the card of 'Low2DBimodal'"),
    ("Low2DSymMix", "sha256", None, "lacks sha256"),
    ("Low2DSymMix", "sha256", 5, "has the hash 5"),
    ("Low2DSymMix", "losses", None, "lacks losses"),
    ("DigitsProbe28", "recipe.seed", 7, "recipe.seed is 7 there and 0 here"),
    ("DigitsProbe28", "network", None, "lacks network"),
    ("DigitsProbe28", "network.widths", [8], "weights of another network"),
    ("DigitsProbe28", "network.channels", 3, "weights of another network: trunk.0.weight"),
    ("DigitsProbe28", "evaluation", None, "lacks evaluation"),
    ("FacesVAE32", "labels.smile", 3, "labels.smile is 3 there and 2 here"),
    ("FacesVAE32", "shape", None, "lacks shape"),
    ("FacesVAE32", "shape", [1, 32, 32], "weights of another network"),
]


@pytest.mark.parametrize(("name", "keys", "value", "says"), SPOILT)
def test_a_spoilt_card_is_refused_by_the_name_of_its_file(saved, name, keys, value, says):
    registry.load(name, saved)
    path = saved / f"{name}.json"
    card = json.loads(path.read_text())
    changed(keys, value)(card)
    path.write_text(json.dumps(card))
    expect(lambda: registry.load(name, saved), says)
    expect(lambda: registry.load(name, saved), str(saved / name))


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", "half"])
def test_a_broken_card_is_refused_by_the_name_of_its_file(saved, content):
    path = saved / "Low2DSymMix.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    expect(lambda: registry.load("Low2DSymMix", saved), str(path))


def test_another_precision_of_the_same_recipe_is_accepted(saved):
    path = saved / "Low2DSymMix.json"
    card = json.loads(path.read_text())
    changed("training.precision", "bfloat16")(card)
    path.write_text(json.dumps(card))
    assert registry.card("Low2DSymMix", saved)["training"]["precision"] == "bfloat16"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_neither_saved_nor_loaded(tmp_path, monkeypatch, bad):
    weights = {"good": torch.ones(3), "bad": torch.tensor([1.0, bad])}
    path = tmp_path / "x.safetensors"
    says = f"{path}: bad has 1 of 2"
    expect(lambda: checkpoints.save("x", weights, DESCRIPTION, tmp_path), says)
    assert not list(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_require_finite", lambda *arguments: None)
        checkpoints.save("x", weights, DESCRIPTION, tmp_path)
    expect(lambda: checkpoints.load("x", tmp_path), says)


def test_numbers_that_half_precision_does_not_hold_are_not_saved(tmp_path):
    network = networks.build(recipes.config("Faces32B").network, 0)
    torch.nn.init.constant_(network.last.bias, 1e5)
    result = TrainResult(network, [{"loss": 0.1}], 1.0)
    expect(lambda: registry.save("Faces32B", result, tmp_path), "last.bias has 3 of 3")
    assert not list(tmp_path.iterdir())


def test_descriptions_are_complete_and_hold_numbers(tmp_path):
    for description, says in (
        ({**DESCRIPTION, "losses": [math.nan]}, "holds NaN"),
        ({"parameters": 2}, "lacks cpu_seconds, losses"),
    ):
        expect(lambda d=description: checkpoints.save("x", WEIGHTS, d, tmp_path), says)
    assert not list(tmp_path.iterdir())


def test_a_model_is_not_saved_under_the_name_of_another(tmp_path):
    points = networks.build(recipes.config("Low2DSymMix").network, 0)
    coder = ConditionalVAE({"digit": 10}, 1, 32)
    for network, name in (
        (points, "Low2DSymMixSiLU"), (PROBE, "DigitsProbe28"), (coder, "FacesVAE32")
    ):  # fmt: skip
        result = TrainResult(network, [{"loss": 0.5, "validation_loss": 0.5}], 1.0)
        expect(lambda r=result, n=name: registry.save(n, r, tmp_path), "of another network")
    assert not list(tmp_path.iterdir())
