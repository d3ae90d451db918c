"""What a probe reads in faces that were changed on purpose."""

import pytest
import torch

from chapters.latent_manipulation.readings import Target, readings
from diffot.data import faces
from diffot.learning import registry

PROBE = registry.load("FacesProbe32")
SMILE = Target("smile", ("yes",))


def test_a_planted_smile_is_gained_and_nothing_else():
    """Before, faces; afterwards the same ones, of which all with sunglasses smile."""
    n = 300
    before = faces.load(n, seed=200)
    after = faces.load(n, seed=200, bias=faces.Bias("sunglasses", "smile", "yes", 1.0))
    row = readings(PROBE, before.images, after.images, SMILE)
    smiled, smiles, cool = (
        images.labels[label].bool()
        for images, label in [(before, "smile"), (after, "smile"), (before, "sunglasses")]
    )
    shares = {
        "before": smiled, "after": smiles, "share_smile": smiles, "lost": torch.zeros(1),
        "gained": smiles[~smiled], "share_hair_color_red": before.labels["hair_color"] == 3,
        "among_gained_beard_before": before.labels["beard"][smiles & ~smiled],
        "among_gained_beard_after": before.labels["beard"][smiles & ~smiled],
    }  # fmt: skip
    for name, truth in shares.items():
        assert row[name] == pytest.approx(float(truth.double().mean()), abs=0.03), name
    assert row["among_gained_n"] == pytest.approx(int((smiles & ~smiled).sum()), abs=6)
    assert row["gained_n"] + row["lost_n"] == n
    assert row["among_gained_sunglasses_before"] > 0.9  # only they were made to smile
    assert abs(row["among_gained_sunglasses_change"]) < 0.05
    assert cool.float().mean() < 0.4
    assert "kept_smile" not in row and row["kept_skin"] > 0.98
    aimless = readings(PROBE, before.images, after.images)
    changed = float((smiled != smiles).double().mean())
    assert aimless["kept_smile"] == pytest.approx(1 - changed, abs=0.03)
    assert not any("gained" in column for column in aimless)


def test_any_of_several_classes_counts():
    images = faces.load(200, seed=200)
    light = Target("hair_color", ("blond", "gray"))
    names = list(PROBE.classes["hair_color"])
    expected = [names[k] in light.classes for k in images.labels["hair_color"]]
    assert light.shown(PROBE, images.labels).tolist() == expected
    likely = light.probability(PROBE, images.images) > 0.5
    assert (likely == torch.tensor(expected)).double().mean() > 0.95


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target("smiles", ("yes",)), "unknown label 'smiles'; did you mean smile"),
        (Target("hair_color", ("blond", "grey")), "unknown class of hair_color 'grey'; did you"),
        (Target("smile", ("no", "yes")), "classes of smile are no, yes; .* but not all"),
        (Target("smile", ()), "classes of smile are none"),
    ],
)
def test_targets_that_no_probe_reads(target, message):
    with pytest.raises(ValueError, match=message):
        target.numbers(PROBE)
