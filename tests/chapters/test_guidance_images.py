import math

import pytest
import torch

from chapters.guidance import images
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.guidance import classifier_free
from diffot.denoisers.network import NetworkDenoiser
from diffot.laws.points import PointSet
from diffot.learning import registry
from diffot.learning.attributes import AttributeProbe
from diffot.learning.networks import UNet
from diffot.processes import schedules
from diffot.samplers.ddim import ddim

SCHEDULE = schedules.linear(T=20)
LABELS = {"smile": 2, "hair": 3}
MODEL, PROBE = "Faces32Conditional", "FacesProbe32"


def network():
    torch.manual_seed(0)
    made = UNet(widths=(8,), middle=(8,), embedding=8, labels=LABELS).requires_grad_(False)
    for weights in made.parameters():
        weights.normal_(0, 0.2)
    return NetworkDenoiser(made, SCHEDULE, "v")


def latents(n, size=8):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


class Reader(AttributeProbe):
    """Reads from the first pixels: each label is the sign or the largest of some values."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            {"told": ("no", "yes"), "glasses": ("no", "yes"), "beard": ("no", "yes")},
            size=8,
            widths=(8,),
        )

    def logits(self, x):
        return {k: 50 * x[:, :2, i, 0] for i, k in enumerate(self.classes)}


def marked(told, untold, level=1.0):
    """Images of which :class:`Reader` reads these classes."""
    x = torch.zeros(len(told), 3, 8, 8)
    for i, classes in enumerate((told, untold, untold)):
        x[torch.arange(len(told)), classes, i, 0] = level
    return x


@pytest.mark.parametrize("weight", [0, 0.5, 1, 3.0])
def test_told_images_are_those_of_each_latent_by_itself(weight):
    denoiser, z = network(), latents(3)
    labels = {"smile": torch.tensor([0, 1, 1]), "hair": torch.tensor([2, 0, -1])}
    together = images.told_images(denoiser, labels, weight, z, 4)
    for i in range(3):
        own = {label: int(classes[i]) for label, classes in labels.items()}
        alone = ddim(classifier_free(denoiser, own, weight), z[i : i + 1], 4).clamp(-1, 1)
        assert torch.allclose(together[i : i + 1], alone, atol=1e-3)


def test_columns_of_images_that_show_what_they_were_told():
    told = torch.tensor([0, 0, 1, 1] * 5)
    other = torch.tensor([0, 1] * 10)
    first, second = marked(told, other), marked(told.roll(2), other)
    real = tuple(
        torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(k)) for k in (1, 2)
    )
    row = images.told_columns(Reader(), {"told": told}, first, second, real)
    assert row["told"] == 1 and row["told_random"] == 0
    assert row["untold_kept"] == 1 and row["untold_random"] == 0
    assert row["unsure"] == 0 and row["beard"] == 0.5
    # two values of 192 differ in one label, six in all three
    assert row["kept"] == pytest.approx(math.sqrt(2 / 192))
    assert row["within"] == pytest.approx(math.sqrt(4 / 192))
    again = images.told_columns(Reader(), {"told": told}, first, first, real)
    assert again["kept"] == 0 and again["features_real"] == row["features_real"]


def test_a_probe_is_unsure_of_blends():
    read = Reader()
    x = marked(torch.tensor([0, 1]), torch.tensor([0, 1]))
    x[1, :2, 0, 0] = 0.5
    assert images.unsure(read, x, ["told"]).tolist() == [False, True]
    assert images.unsure(read, x, ["beard"]).tolist() == [False, False]


def test_images_that_were_not_moved_keep_everything():
    x = marked(torch.tensor([0, 1] * 5), torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 0, 1]))
    row = images.steered_columns(Reader(), x, x, "told")
    assert row["moved"] == 0 and row["others"] == 1 and row["unsure"] == 0
    assert row["apart"] > 0 and row["others_random"] < 1


def test_nothing_is_pushed_above_the_noise_level():
    data = 0.1 * torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    free, z = ExactDenoiser(PointSet(data), SCHEDULE), 0.1 * latents(2)
    levels = [float(SCHEDULE.sigma(t) / SCHEDULE.alpha(t)) for t in (12, 18)]
    guided = images.pushed(free, lambda x: x.flatten(1).sum(1), 1.0, sum(levels) / 2)
    assert torch.equal(guided.denoise(z, 18), free.denoise(z, 18))
    assert not torch.equal(guided.denoise(z, 12), free.denoise(z, 12))


def test_a_push_is_the_covariance_of_the_clean_image():
    """For s = a.x the gradient through the exact denoiser is alpha / sigma² Cov a."""
    data = torch.randn(
        6, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4)
    )
    law, x = PointSet(data), 0.1 * latents(3, 2).double()
    a = torch.linspace(-1, 1, 12, dtype=torch.float64)
    size = images.push_size(ExactDenoiser(law, SCHEDULE), lambda x: x.flatten(1) @ a, x, 12)
    alpha, sigma = SCHEDULE.levels(12)
    expected = law.posterior_covariance(x, float(alpha), float(sigma)) @ a
    assert torch.allclose(size, expected.square().mean(1).sqrt(), rtol=1e-8)


def weights(model):
    return registry.card(model)["sha256"][:12]


def test_a_row_is_that_of_its_task():
    task = images.ToldTask(MODEL, weights(MODEL), PROBE, 0, 10, 1)
    row = images.measure_told(task)
    assert row["kept"] == 0 and row["untold_kept"] == 1
    assert row["told"] < 0.8 and row["features"] > row["features_real"]


def test_similar_images_are_guided_one_by_one():
    torch.manual_seed(0)
    probe = AttributeProbe({"told": ("no", "yes")}, size=8, widths=(8,)).requires_grad_(False)
    data = latents(4)
    free, z = ExactDenoiser(PointSet(data), SCHEDULE), latents(4).flip(0)
    together = images.similar_images(free, probe, data, 5.0, z, 4)
    alone = images.similar_images(free, probe, data[1:2], 5.0, z[1:2], 4)
    assert torch.allclose(together[1:2], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "arguments", "says"),
    [
        (images.ToldTask, (MODEL, "0" * 12, PROBE, 1.0, 10, 5), "weights"),
        (images.ToldTask, (MODEL, None, PROBE, math.nan, 10, 5), "weight"),
        (images.ToldTask, (MODEL, None, PROBE, 1.0, 11, 5), "even"),
        (images.ToldTask, (MODEL, None, MODEL, 1.0, 10, 5), MODEL),
        (images.ClassifierTask, (MODEL, None, PROBE, "smile", -1, 6.0, 1.0, 10, 5), "index"),
        (images.ClassifierTask, (MODEL, None, PROBE, "smile", 1, 0.0, 1.0, 10, 5), "high"),
        (images.SimilarityTask, (MODEL, None, PROBE, 1.0, 9, 5), "n is 9"),
    ],
)
def test_bad_tasks(task, arguments, says):
    model, given, *rest = arguments
    with pytest.raises((TypeError, ValueError), match=says):
        task(model, given or weights(model), *rest)
