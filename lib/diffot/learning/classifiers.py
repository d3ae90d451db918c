"""Probes as what guides a sampler: the log probability of classes, differentiable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from diffot.errors import as_whole_number, require, require_known, require_type
from diffot.learning.attributes import AttributeProbe


def probe_log_probability(
    probe: AttributeProbe, classes: Mapping[str, int]
) -> Callable[[Tensor], Tensor]:
    r"""The log probability that images have certain labels, :math:`\sum \log p(y_k \mid x)`.

    Calibrated, and as if the labels were independent given the image. The probe has seen no
    noise: :func:`~diffot.denoisers.guidance.at_clean_point` asks it at the expected clean image.

    Args:
        probe: reads images (B, C, H, W).
        classes: the class of each label that counts, as in ``{"smile": 1}``.

    Returns:
        A function of images with one number for each, shape (B,). Images of another size are an
        error of the probe.

    Raises:
        TypeError, ValueError: for another probe, or labels and classes that it does not know.
    """
    require_type(probe, AttributeProbe, "probe", "an AttributeProbe such as of registry.load")
    require_type(classes, Mapping, "classes", "a dict such as {'smile': 1}")
    require(len(classes) > 0, "classes is empty; expected at least one label")
    chosen = {}
    for label, value in classes.items():
        require_known(label, "label", probe.classes)
        most = len(probe.classes[label]) - 1
        chosen[label] = as_whole_number(value, f"classes[{label!r}]", least=0, most=most)
    temperatures = dict(zip(probe.classes, probe.temperatures.tolist()))

    def log_probability(images: Tensor) -> Tensor:
        logits = probe.logits(images)
        total: Any = sum(
            torch.log_softmax(logits[label] / temperatures[label], 1)[:, index]
            for label, index in chosen.items()
        )
        return total

    return log_probability
