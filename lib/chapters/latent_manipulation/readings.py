"""What a probe reads in images before and after they were manipulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.errors import (
    require,
    require_images,
    require_known,
    require_same_shape,
    require_type,
    unknown_name,
)
from diffot.estimates import columns, mean, share
from diffot.learning import registry
from diffot.learning.attributes import AttributeProbe


@dataclass(frozen=True)
class Target:
    """What a manipulation is to bring about: classes of a label, any of which counts.

    Attributes:
        label: such as ``"hair_color"``.
        classes: such as ``("blond", "gray")``.
    """

    label: str
    classes: tuple[str, ...]

    def __post_init__(self):
        require_type(self.label, str, "label", "the name of a label")
        require_type(self.classes, tuple, "classes", 'names of classes, as in ("blond", "gray")')
        for name in self.classes:
            require_type(name, str, "one of the classes", "the name of a class")

    def numbers(self, probe: AttributeProbe) -> list[int]:
        """The numbers that a probe has for the classes.

        Raises:
            ValueError: if it does not know the label or a class, or has no other classes.
        """
        require_type(probe, AttributeProbe, "probe", "an AttributeProbe such as of registry.load")
        require_known(self.label, "label", probe.classes)
        names = probe.classes[self.label]
        for name in self.classes:
            require_known(name, f"class of {self.label}", names)
        numbers = [k for k, name in enumerate(names) if name in self.classes]
        require(
            0 < len(numbers) < len(names),
            f"classes of {self.label} are {', '.join(self.classes) or 'none'}; expected some of "
            f"{', '.join(names)}, but not all",
        )
        return numbers

    def shown(self, probe: AttributeProbe, classes: Mapping[str, Tensor]) -> Tensor:
        """Whether an image shows it, shape (n,), by the classes that the probe read."""
        require_type(classes, Mapping, "classes", "a dict, as of AttributeProbe.classify")
        require(self.label in classes, unknown_name("label in classes", self.label, classes))
        return torch.isin(classes[self.label], torch.tensor(self.numbers(probe)))

    def probability(self, probe: AttributeProbe, images: Tensor) -> Tensor:
        """The probability that the probe gives it in each image, shape (n,)."""
        numbers = self.numbers(probe)
        return probe(images)[self.label][:, numbers].sum(1)


def require_target(target: object) -> None:
    """Require a :class:`Target`, by the name of the argument."""
    require_type(target, Target, "target", 'a Target, as Target("smile", ("yes",))')


def probe_for(model: str) -> AttributeProbe:
    """The probe for the images of a model.

    Raises:
        ValueError: if there is none.
    """
    probe = registry.probe_for(model)
    if probe is None:
        raise ValueError(f"there is no probe for the images of {model}; train one first")
    return probe


def readings(
    probe: AttributeProbe, x: Tensor, y: Tensor, target: Target | None = None
) -> dict[str, float]:
    """What the probe reads in images after a manipulation, and what became of its target.

    Args:
        x, y: images before and after, shape (n, C, H, W).

    Returns:
        ``share_LABEL_CLASS`` of the images y, and for a binary label ``share_LABEL``, that of
        "yes"; the columns of :func:`kept`. For the target, ``before`` and ``after``, the shares
        of images with it; ``gained``, the share of the ``gained_n`` images without it that have
        it now; ``lost``, the share of the ``lost_n`` images with it that do not have it now. And
        for each other binary label, ``among_gained_LABEL_before`` and ``_after``, the shares of
        "yes" among the ``among_gained_n`` images that gained the target, and
        ``among_gained_LABEL_change``, the mean change, with its error over these images.
    """
    if target is not None:
        require_target(target)
    before, after = _classes(probe, x, y)
    row: dict[str, float] = {}
    for label, names in probe.classes.items():
        if len(names) == 2:
            row |= columns(f"share_{label}", share(after[label] == 1))
        else:
            for k, name in enumerate(names):
                row |= columns(f"share_{label}_{name}", share(after[label] == k))
    if target is not None:
        row |= _gains(probe, target, before, after)
    return row | _kept(before, after, target)


def kept(probe: AttributeProbe, x: Tensor, y: Tensor, target: Target) -> dict[str, float]:
    """``kept_LABEL``: the share of images whose label is read as before, but the target's."""
    require_target(target)
    before, after = _classes(probe, x, y)
    return _kept(before, after, target)


def _classes(probe: AttributeProbe, x: Tensor, y: Tensor) -> list[dict[str, Tensor]]:
    require_images(x, "x")
    require_images(y, "y")
    require_same_shape(x, y, ("x", "y"))
    require_type(probe, AttributeProbe, "probe", "an AttributeProbe such as of registry.load")
    return [probe.classify(x), probe.classify(y)]


def _gains(
    probe: AttributeProbe,
    target: Target,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
) -> dict[str, float]:
    had, has = target.shown(probe, before), target.shown(probe, after)
    gained = has & ~had
    row = {
        **columns("before", share(had)),
        **columns("after", share(has)),
        **columns("gained", share(has[~had])),
        **columns("lost", share(~has[had])),
        "gained_n": float((~had).sum()),
        "lost_n": float(had.sum()),
        "among_gained_n": float(gained.sum()),
    }
    for label, names in probe.classes.items():
        if label != target.label and len(names) == 2:
            first, then = before[label][gained], after[label][gained]
            name = f"among_gained_{label}"
            row |= columns(f"{name}_before", share(first == 1))
            row |= columns(f"{name}_after", share(then == 1))
            row |= columns(f"{name}_change", mean((then - first).double()))
    return row


def _kept(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], target: Target | None
) -> dict[str, float]:
    row: dict[str, float] = {}
    for label, classes in before.items():
        if target is None or label != target.label:
            row |= columns(f"kept_{label}", share(classes == after[label]))
    return row
