from dataclasses import replace
from functools import partial

import pytest
import torch

from diffot import __main__ as command
from diffot.data.images import LabeledImages
from diffot.laws.mixtures import thesis_mixture
from diffot.learning import datasets, kinds, networks, recipes, registry
from diffot.learning.configuration import TrainConfig
from diffot.learning.kinds import DenoiserRecipe
from diffot.learning.training import TrainResult
from diffot.paths import CHECKPOINTS
from diffot.processes.schedules import Rectified
from diffot.samplers.ddim import ddim

NAMES = sorted(name for name, r in recipes.RECIPES.items() if isinstance(r, DenoiserRecipe))
POINTS = [name for name in NAMES if isinstance(recipes.config(name).data, str)]
TRAINED = sorted({*POINTS, *(n for n in NAMES if (CHECKPOINTS / f"{n}.json").exists())})


@pytest.fixture
def result() -> TrainResult:
    network = networks.build(recipes.config("Low2DSymMix").network, seed=3)
    return TrainResult(network, [{"loss": 0.5}, {"loss": 0.4}], cpu_seconds=1.25)


def test_round_trip(result, tmp_path):
    registry.save("Low2DSymMix", result, tmp_path)
    loaded = registry.load("Low2DSymMix", tmp_path)
    for key, value in result.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value)
    recipe = recipes.config("Low2DSymMix")
    assert torch.equal(loaded.schedule.alpha_bar, recipe.schedule.alpha_bar)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    share = torch.full((5,), 0.3)
    assert torch.equal(loaded.noise(x, 300), result.network(x, share).detach())
    card = registry.card("Low2DSymMix", tmp_path)
    assert card["losses"] == [0.5, 0.4] and card["training"]["seed"] == recipe.seed
    assert card["cpu_seconds"] == 1.2 and card["parameters"] == 16_962


@pytest.mark.parametrize("where", [0, 100, -1])
def test_a_flipped_byte_is_refused(result, tmp_path, where):
    path = registry.save("Low2DSymMix", result, tmp_path)
    blob = bytearray(path.read_bytes())
    blob[where] ^= 1
    path.write_bytes(blob)
    with pytest.raises(ValueError, match=r"damaged.*make train MODEL=Low2DSymMix"):
        registry.load("Low2DSymMix", tmp_path)


def test_nothing_is_overwritten_unasked(result, tmp_path):
    path = registry.save("Low2DSymMix", result, tmp_path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="OVERWRITE=1"):
        registry.save("Low2DSymMix", result, tmp_path)
    assert path.read_bytes() == before
    registry.save("Low2DSymMix", result, tmp_path, overwrite=True)


def test_a_failed_write_leaves_the_old_file_and_no_debris(result, tmp_path, monkeypatch):
    path = registry.save("Low2DSymMix", result, tmp_path)
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        registry.save("Low2DSymMix", result, tmp_path, overwrite=True)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "Low2DSymMix.json", "Low2DSymMix.safetensors",
    ]  # fmt: skip


def test_missing_files_and_names_are_explained(result, tmp_path):
    with pytest.raises(ValueError, match="did you mean Low2DSymMix"):
        registry.load("Low2DSymMx")
    with pytest.raises(FileNotFoundError, match="make train MODEL=Low2DASymMix"):
        registry.load("Low2DASymMix", tmp_path)
    registry.save("Low2DSymMix", result, tmp_path).unlink()
    with pytest.raises(FileNotFoundError, match=r"weights .* are missing"):
        registry.load("Low2DSymMix", tmp_path)


@pytest.fixture
def image_result() -> TrainResult:
    network = networks.build(recipes.config("Faces32B").network, seed=3)
    torch.nn.init.normal_(network.last.weight, std=0.1)  # it starts at zero
    return TrainResult(network, [{"loss": 0.1, "level_1": 0.1, "level_2": None}], 1.0)


def test_image_models_are_stored_in_half_precision(image_result, tmp_path):
    path = registry.save("Faces32B", image_result, tmp_path)
    weights = sum(p.numel() for p in image_result.network.parameters())
    assert 2 * weights < path.stat().st_size < 2.1 * weights
    loaded = registry.load("Faces32B", tmp_path)
    assert loaded.parametrization.name == "v"
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = image_result.network(x, torch.full((2,), 0.5)).detach()
    after = loaded.network(x, torch.full((2,), 0.5))
    assert after.dtype == torch.float32
    assert 0 < (after - before).norm() < 2e-3 * before.norm()


def parameters(name):
    with torch.device("meta"):
        network = networks.build(recipes.config(name).network, seed=0)
    return sum(weight.numel() for weight in network.parameters())


def test_image_networks_have_the_sizes_that_are_claimed():
    """The thesis gives 22 and 89 million for its two AFHQ networks (experiment H.1a)."""
    assert parameters("AFHQ256Exp1") == pytest.approx(22e6, rel=0.15)
    assert parameters("AFHQ256Exp2") == pytest.approx(89e6, rel=0.15)
    assert parameters("Faces32B") <= parameters("Faces32A") / 3
    ours = [name for name in NAMES if recipes.config(name).storage == "float16"]
    assert {"Faces32A", "Digits28", "Celeb32A", "Faces32FlowOT"} <= set(ours)
    for name in ours:  # they are to be committed
        assert 2 * parameters(name) < 15.9 * 2**20


def test_the_biased_faces_are_biased_and_the_others_are_not():
    for name, share in (("Faces32Biased", 0.95), ("Faces32A", 0.5)):
        labels = datasets.load_images({**recipes.config(name).data, "n": 600}).labels
        smiles = labels["smile"][labels["sunglasses"] == 1].double()
        error = (share * (1 - share) / len(smiles)) ** 0.5
        assert abs(float(smiles.mean()) - share) < 4 * error, name


def test_committed_diffusion_models_of_images_share_one_schedule():
    ours = [recipes.config(name) for name in NAMES if recipes.config(name).prediction == "v"]
    assert len(ours) > 1
    tables = [recipe.schedule.alpha_bar for recipe in ours]
    assert all(torch.equal(table, tables[0]) for table in tables)


def test_networks_trained_on_photographs_come_with_terms():
    photographs = [n for n in TRAINED if n.startswith(("Celeb", "Cats"))]
    assert photographs and all("non-commercial" in registry.card(n)["terms"] for n in photographs)
    assert "terms" not in registry.card("Faces32A")


@pytest.mark.parametrize("name", TRAINED)
def test_committed_checkpoints_are_of_the_present_recipe(name):
    card = registry.card(name)
    if card["data"] in ("Low2DSymMix", "Low2DASymMix"):
        assert card["cpu_seconds"] <= 60
    network = registry.load(name).network
    assert sum(weight.numel() for weight in network.parameters()) == card["parameters"]


def test_command_line_refuses_before_it_trains(capsys):
    assert command.main(["train", "Low2DSymMix"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert command.main(["train", "Low2D"]) == 2
    assert "unknown model 'Low2D'; did you mean" in capsys.readouterr().err


def test_command_line_continues_an_interrupted_training(tmp_path, monkeypatch, capsys):
    sample = thesis_mixture("Low2DUnimodal").sample
    calls = []

    def interrupted(n, generator):
        calls.append(n)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return sample(n, generator)

    small = TrainConfig(iterations=20, batch_size=64)
    recipe = replace(recipes.config("Low2DUnimodal"), training=small)
    monkeypatch.setitem(recipes.RECIPES, "Small", recipe)
    whole = registry.train("Small", progress=False).network.state_dict()
    monkeypatch.setattr(DenoiserRecipe, "draw", lambda recipe: interrupted)
    monkeypatch.setattr(
        registry, "open_run", partial(registry.open_run, folder=tmp_path / "runs")
    )
    monkeypatch.setattr(registry, "save", partial(registry.save, folder=tmp_path))
    command_line = ["train", "Small", "--state-seconds", "0"]
    threads = torch.get_num_threads()
    try:
        assert command.main(command_line) == 130
        assert "interrupted; continue with --resume" in capsys.readouterr().err
        assert command.main(command_line) == 2
        assert "unfinished run" in capsys.readouterr().err
        assert len(calls) == 12
        assert command.main([*command_line, "--resume"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert len(calls) == 12 + 20 - 11  # the first eleven steps were not taken again
    found = registry.load("Small", tmp_path).network.state_dict()
    assert all(torch.equal(found[key], whole[key]) for key in whole)
    assert not (tmp_path / "runs" / "Small" / "state.pt").exists()


def test_command_line_refuses_what_another_process_trains(tmp_path, monkeypatch, capsys):
    recipe = replace(recipes.config("Low2DUnimodal"), training=TrainConfig(5, batch_size=8))
    monkeypatch.setitem(recipes.RECIPES, "Small", recipe)
    monkeypatch.setattr(
        registry, "open_run", partial(registry.open_run, folder=tmp_path / "runs")
    )
    monkeypatch.setattr(registry, "save", partial(registry.save, folder=tmp_path))
    with registry.open_run("Small").held():
        assert command.main(["train", "Small"]) == 2
    assert "another training is writing to" in capsys.readouterr().err
    assert command.main(["train", "Small", "--precision", "bfloat16"]) == 0
    assert registry.card("Small", tmp_path)["training"]["precision"] == "bfloat16"
    assert recipes.config("Small").description()["training"]["precision"] == "float32"
    assert command.main(["train", "DigitsProbe28", "--precision", "float32", "--overwrite"]) == 2
    assert "--precision is for diffusion models" in capsys.readouterr().err
    assert command.main(["train", "Small", "--threads", "0"]) == 2
    assert "--threads is 0" in capsys.readouterr().err


@pytest.mark.parametrize("matching", [False, True], ids=["diffusion", "flow matching"])
def test_command_line_keeps_the_samples_of_image_models(matching, tmp_path, monkeypatch):
    """The last of them are what the model draws that was saved."""
    network = {"class": "UNet", "channels": 1, "widths": [8], "blocks": 1, "middle": []}
    training = TrainConfig(iterations=6, batch_size=8, ema=0.5)
    recipe = replace(recipes.config("Digits28"), network=network, training=training)
    recipe = replace(recipe, data={"set": "digits", "n": 50}, storage="float32")
    if matching:
        recipe = replace(recipe, schedule=Rectified(), prediction="flow", coupling="optimal")
    monkeypatch.setitem(recipes.RECIPES, "SmallDigits", recipe)
    monkeypatch.setattr(
        registry, "open_run", partial(registry.open_run, folder=tmp_path / "runs")
    )
    monkeypatch.setattr(registry, "save", partial(registry.save, folder=tmp_path))
    with pytest.raises(FileNotFoundError, match="no samples of SmallDigits"):
        registry.training_samples("SmallDigits", tmp_path)
    for iterations in (6, 4):  # the second, shorter run leaves nothing of the first
        shorter = replace(recipe, training=replace(training, iterations=iterations))
        monkeypatch.setitem(recipes.RECIPES, "SmallDigits", shorter)
        assert command.main(["train", "SmallDigits", "--threads", "1", "--overwrite"]) == 0
        pictures = registry.training_samples("SmallDigits", tmp_path)
        assert list(pictures) == list(range(1, iterations + 1))
    z = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    drawn = ddim(registry.load("SmallDigits", tmp_path), z, 20).clamp(-1, 1)
    assert (drawn - pictures[iterations]).abs().max() < 0.51 / 127.5  # rounded to 8 bits
    assert drawn.std() > 0.2


def test_command_line_lists_models(capsys, monkeypatch):
    def broken(name):
        raise ValueError(f"{name}.json cannot be read")

    assert command.main(["info"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in NAMES)
    monkeypatch.setattr("diffot.learning.checkpoints.card", broken)
    assert command.main(["info"]) == 0
    assert "Faces32A.json cannot be read" in capsys.readouterr().out


def test_afhq_is_mirrored_at_random_as_in_the_thesis(monkeypatch):
    pixels = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2)
    monkeypatch.setattr(kinds, "load_images", lambda data: LabeledImages(pixels, {}, {}))
    image = pixels / 127.5 - 1
    for name, least, most in [
        ("AFHQ256", 160, 240),
        ("AFHQ256Exp2", 160, 240),
        ("Celeb64", 0, 0),
    ]:
        drawn = recipes.config(name).draw()(400, torch.Generator().manual_seed(1))
        mirrored = (drawn == image.flip(-1)).flatten(1).all(1)
        assert torch.equal(drawn[~mirrored], image.expand(int((~mirrored).sum()), -1, -1, -1))
        assert least <= mirrored.sum() <= most
