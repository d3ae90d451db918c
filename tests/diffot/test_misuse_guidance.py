"""Bad input to guidance."""

import math

import pytest
import torch
from misuse import Case, Use, check, expect, misuses

from diffot.denoisers.exact import ExactDenoiser
from diffot.denoisers.guidance import (
    GradientGuidedDenoiser,
    GuidedDenoiser,
    IntervalDenoiser,
    at_clean_point,
    class_log_probability,
    classifier_free,
    conditional_law,
    cosine_similarity,
    exact_classifier,
)
from diffot.denoisers.network import NetworkDenoiser
from diffot.laws import mixtures
from diffot.learning import networks
from diffot.learning.attributes import AttributeProbe
from diffot.learning.classifiers import probe_log_probability
from diffot.processes import schedules

SCHEDULE = schedules.linear(T=20)
LAW = mixtures.thesis_mixture("Low2DBimodal")
FREE = ExactDenoiser(LAW, SCHEDULE)
TOLD = ExactDenoiser(conditional_law(LAW, [0]), SCHEDULE)
OTHER = ExactDenoiser(LAW, schedules.Rectified())
Z = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
CLASSIFIER = exact_classifier(LAW, SCHEDULE, [0])
UNET = networks.UNet(widths=(8,), middle=(8,), embedding=8, labels={"smile": 2})
NETWORK = NetworkDenoiser(UNET.requires_grad_(False), SCHEDULE)
PLAIN = NetworkDenoiser(networks.MLP(2), SCHEDULE)
PROBE = AttributeProbe({"smile": ("no", "yes")}, size=32, widths=(8,)).requires_grad_(False)
READ = probe_log_probability(PROBE, {"smile": 1})
GUIDED = GuidedDenoiser(FREE, TOLD, 2.0)
PUSHED = GradientGuidedDenoiser(FREE, CLASSIFIER, 2.0)
LIMITED = IntervalDenoiser(FREE, TOLD, 0.5, 1.0)

USES = [
    Use(GuidedDenoiser, {"unconditional": FREE, "conditional": TOLD, "weight": 2.0}),
    Use(classifier_free, {"denoiser": NETWORK, "labels": {"smile": 1}, "weight": 2.0}),
    Use(GradientGuidedDenoiser, {"denoiser": FREE, "potential": CLASSIFIER, "weight": 2.0}),
    Use(
        IntervalDenoiser,
        {"inside": FREE, "outside": TOLD, "low": 0.5, "high": 1.0},
        {"high": {"infinity"}},
    ),
    Use(conditional_law, {"law": LAW, "components": [0]}),
    Use(exact_classifier, {"law": LAW, "schedule": SCHEDULE, "components": [0]}),
    Use(class_log_probability, {"classifier": abs, "index": 1}),
    Use(at_clean_point, {"denoiser": FREE, "potential": abs}),
    Use(cosine_similarity, {"encode": torch.Tensor.exp, "reference": Z}),
    Use(probe_log_probability, {"probe": PROBE, "classes": {"smile": 1}}),
    *(
        Use(method, {"x": Z, "t": 3.0})
        for denoiser in (GUIDED, PUSHED, LIMITED)
        for method in (denoiser.denoise, denoiser.noise)
    ),
    Use(CLASSIFIER, {"x": Z, "t": 3.0}),
]


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_misuse(use, argument, value):
    check(use, argument, value)


def pushed(potential, denoiser=FREE):
    return GradientGuidedDenoiser(denoiser, potential, 1.0)


CASES = [
    Case(lambda: GuidedDenoiser(FREE, TOLD, math.nan), "weight is nan"),
    Case(lambda: GuidedDenoiser(None, TOLD, 2.0), "label_dropout"),
    Case(lambda: GuidedDenoiser(FREE, OTHER, 2.0), "have different schedules"),
    Case(lambda: IntervalDenoiser(FREE, OTHER, 0.0, 1.0), "have different schedules"),
    Case(lambda: IntervalDenoiser(FREE, TOLD, 1.0, 1.0), "high is 1; expected a number above 1"),
    Case(lambda: IntervalDenoiser(FREE, TOLD, -1.0, 1.0), "low is -1"),
    Case(lambda: conditional_law(LAW, [2]), "from 0 to 1"),
    Case(lambda: conditional_law(LAW, [0, 0]), "none twice"),
    Case(lambda: conditional_law(LAW, []), "at least one index"),
    Case(lambda: exact_classifier(LAW, SCHEDULE, [-1]), "an index in components is -1"),
    Case(lambda: CLASSIFIER(Z[:, :1], 3.0), "x has shape (4, 1); expected (B, 2)"),
    Case(lambda: PUSHED.denoise(Z[:, :1], 3.0), "expected (B, 2)"),
    Case(lambda: PUSHED.noise(Z, 0.0), "t is 0"),
    Case(lambda: pushed(lambda x, t: x[:, 0], OTHER).denoise(Z, 1.0), "alpha is 0"),
    Case(lambda: pushed(lambda x, t: x).noise(Z, 3.0), "has shape (4, 2) for 4 points"),
    Case(lambda: pushed(lambda x, t: x.sum()).noise(Z, 3.0), "has shape () for 4 points"),
    Case(lambda: pushed(lambda x, t: 1.0).noise(Z, 3.0), "the answer of the potential is 1.0"),
    Case(
        lambda: class_log_probability(lambda x, t: x, 2)(Z, 3.0),
        "index is 2; the classifier knows the classes 0 to 1",
    ),
    Case(lambda: class_log_probability(lambda x, t: x[:1], 0)(Z, 3.0), "has shape (1, 2)"),
    Case(lambda: classifier_free(NETWORK, {"smile": 2}, 2.0), "label smile is 2"),
    Case(lambda: classifier_free(NETWORK, {"smle": 1}, 2.0), "did you mean smile"),
    Case(lambda: classifier_free(PLAIN, {"smile": 1}, 2.0), "not trained with any"),
    Case(lambda: classifier_free(NETWORK, {"smile": 1}, math.nan), "weight is nan"),
    Case(
        lambda: classifier_free(NETWORK.condition({"smile": 1}), {"smile": 0}, 2.0),
        "leaves no unconditional branch",
    ),
    Case(lambda: classifier_free(FREE, {"smile": 1}, 2.0), "denoiser is"),
    Case(lambda: probe_log_probability(PROBE, {"smile": 2}), "classes['smile'] is 2"),
    Case(lambda: probe_log_probability(PROBE, {"beard": 1}), "unknown label 'beard'"),
    Case(lambda: probe_log_probability(PROBE, {}), "classes is empty"),
    Case(lambda: READ(IMAGES), "this probe was made for"),
    Case(
        lambda: pushed(at_clean_point(NETWORK, READ), NETWORK).noise(IMAGES, 3.0),
        "this probe was made for",
    ),
    Case(lambda: cosine_similarity(lambda x: x, Z[:2])(Z), "reference holds 2 points for 4"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_bad_calls(case):
    expect(case.call, case.says)
