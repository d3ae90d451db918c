"""Rows of measures of image models: closed forms, and models whose faults are known."""

import math

import pandas
import pytest
import torch

from chapters.image_models import measurements
from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.network import as_denoiser
from diffot.laws import mixtures
from diffot.laws.points import PointSet
from diffot.learning import checkpoints, datasets, measured, recipes, registry
from diffot.measures import distances, quality
from diffot.processes import schedules

PROBE = "DigitsProbe28"


def test_distance_from_the_finest_steps_for_a_standard_normal(generator):
    """With alpha = cos a and sigma = sin a each step is a projection by the cosine of the angle
    between two levels."""
    schedule = schedules.scaled_linear(T=200, beta_1=5e-4, beta_T=0.1)
    law = mixtures.GaussianMixture([1.0], torch.zeros(1, 6), torch.eye(6)[None])
    z = torch.randn(5, 6, dtype=torch.float64, generator=generator)

    def shrinkage(steps):
        times = schedule.timesteps(steps)
        angles = [math.acos(schedule.alpha(t)) for t in times]
        return math.prod(math.cos(a - b) for a, b in zip(angles, angles[1:]))

    counts = [4, 20, 50]
    *few, finest = measurements.in_steps(ExactDenoiser(law, schedule), z, counts)
    lengths = z.norm(dim=1) / math.sqrt(6)
    for images, count in zip(few, counts):
        expected = (shrinkage(200) - shrinkage(count)) * lengths
        assert expected.min() > 1e-5
        assert torch.allclose(distances.distances(images, finest), expected, rtol=1e-6)


def test_an_image_counts_as_changed_if_any_label_is():
    probe = registry.load("AnimalsProbe32")
    animals = measured.held_out("Animals32", 400)
    differ = torch.stack([v[:, None] != v for v in animals.labels.values()])
    for label, name in zip(differ, animals.labels):  # pairs that differ in this label alone
        first, second = torch.nonzero(label & (differ.sum(0) == 1))[:100].T
        x, y = animals.at(first).images, animals.at(second).images
        assert len(x) == 100, name
        assert distances.differently_read(probe, x, y).float().mean() > 0.95, name
    first, second = torch.nonzero(differ.sum(0) == 0)[:100].T
    x, y = animals.at(first).images, animals.at(second).images
    assert (x - y).abs().amax((1, 2, 3)).median() > 0.5  # other animals with the same labels
    assert distances.differently_read(probe, x, y).float().mean() < 0.05


def test_a_row_of_quality_is_its_table_again():
    digits = datasets.load_images({"set": "digits", "n": 60}).images
    draws = torch.Generator().manual_seed(0)
    probe = registry.load("DigitsProbe28")
    table = quality.quality_table(digits[:15], digits[15:30], digits[30:], probe, draws)
    pandas.testing.assert_frame_equal(
        measurements.unfold(measurements.fold(table)), table, check_names=False, check_dtype=False
    )


def test_a_model_that_copies_is_found_out():
    """The best denoiser for 300 digits draws these very digits."""
    training = datasets.load_images({**recipes.config("Digits28").data, "n": 300}).images
    others = measured.held_out("Digits28", 100).images
    schedule = recipes.config("Digits28").schedule
    ratios = []
    for known in (training, datasets.load_images(recipes.config("Digits28").data).images[-300:]):
        draws = torch.Generator().manual_seed(0)
        denoiser = ExactDenoiser(PointSet(known), schedule)
        samples = measurements.sample(denoiser, known.shape[1:], 100, 20, draws)
        near = quality.nearness(
            quality.nearest_distances(samples, training),
            quality.nearest_distances(others, training),
        )
        ratios.append(near.ratio.value)
    # without the copied digits among the training images there is nothing to notice
    assert ratios[0] < 0.05 and ratios[1] > 0.9


def test_held_out_digits_are_the_other_ones():
    both = [
        datasets.load_images(recipes.config("Digits28").data),
        measured.held_out("Digits28", 1000),
    ]
    pixels = torch.cat([images.pixels for images in both]).flatten(1)
    every = datasets.load_images({"set": "digits"}).pixels.flatten(1)
    assert torch.equal(pixels.unique(dim=0), every.unique(dim=0)) and len(pixels) == 5000
    with pytest.raises(ValueError, match=r"n is 5001; expected a whole number from 1 to 5000"):
        measured.held_out("Digits28", 1001)


def test_held_out_animals_are_other_animals():
    known = datasets.load_images({**recipes.config("Animals32").data, "n": 500}).pixels.flatten(1)
    others = measured.held_out("Animals32", 500).pixels.flatten(1)
    assert len(torch.cat([known, others]).unique(dim=0)) == 1000
    with pytest.raises(ValueError, match="Celeb64 is trained on all of its data"):
        measured.held_out("Celeb64", 5)


def test_a_model_that_listens_to_one_label_only():
    """Whatever it is asked for, it draws a real face, with the background that was asked for."""
    faces = datasets.load_images({**recipes.config("Faces32A").data, "n": 500, "seed": 200})
    schedule = recipes.config("Faces32A").schedule

    class HardOfHearing:
        def condition(self, labels):
            wanted = labels["background"].tolist()
            of_color = {
                color: torch.nonzero(faces.labels["background"] == color)[:, 0].tolist()
                for color in set(wanted)
            }
            chosen = [of_color[color].pop() for color in wanted]
            clean = faces.at(torch.tensor(chosen)).images

            def noise(x, t):
                signal = schedule.alpha(t) ** 2
                return (x - signal**0.5 * clean) / (1 - signal) ** 0.5

            return as_denoiser(noise, schedule)

    others = measured.held_out("Faces32A", 200)
    labels = {name: others.labels[name] for name in ("background", "smile", "skin")}
    z = torch.randn(200, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = measurements.conditioned(HardOfHearing(), labels, z, 5)
    row = measurements.agreement_with_labels(registry.load("FacesProbe32"), labels, images)
    assert row["told_background"] > 0.98 and row["chance_background"] < 0.4
    for label in ("smile", "skin"):
        chance = row[f"chance_{label}"]
        assert abs(row[f"told_{label}"] - chance) < 4 * (chance * (1 - chance) / 200) ** 0.5


def test_columns_of_steps_are_those_of_the_images(monkeypatch):
    monkeypatch.setattr(measurements, "COUNTS", (2, 5))
    digits = datasets.load_images({"set": "digits", "n": 40}).images
    denoiser = ExactDenoiser(PointSet(digits), schedules.linear(20, 1e-3, 0.2))
    z = torch.randn(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    row = measurements.steps_columns(denoiser, registry.load(PROBE), z)
    two, finest = (measurements.in_steps(denoiser, z, [2])[k] for k in (0, 1))
    apart = (two - finest).square().mean((1, 2, 3)).sqrt()
    assert row["distance_2"] == pytest.approx(float(apart.mean()), rel=1e-5)
    assert row["distance_2_error"] == pytest.approx(float(apart.std() / 12**0.5), rel=1e-4)
    assert row["distance_2_most"] == pytest.approx(float(apart.max()), rel=1e-5)


def test_other_weights_than_those_of_the_table_are_refused():
    with pytest.raises(ValueError, match="weights is 'abc', and those of Digits28"):
        measurements.StepsTask("Digits28", "abc", "DigitsProbe28", 2)
    with pytest.raises(ValueError, match="Digits28 takes no labels"):
        measurements.ConditionTask(
            "Digits28", checkpoints.hashes("Digits28"), "DigitsProbe28", 2, 5
        )
