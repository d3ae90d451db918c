"""Reading the attributes of images: small classifiers, calibrated, with measured accuracy.

A probe measures what is seen in generated images. It may carry a claim about a label only if it
reads that label right on at least 95 % of test images (:meth:`Evaluation.require_usable`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from diffot import estimates
from diffot.data.images import LabeledImages
from diffot.errors import (
    as_classes,
    as_whole_number,
    require,
    require_generator,
    require_images,
    require_known,
    require_points,
    require_type,
)
from diffot.learning.networks import as_widths
from diffot.learning.objectives import Examples, Inputs, Objective

USABLE = 0.95  # accuracy from which on a label may be used in a claim
GROUPS = 8  # of channels that are normalized together
BINS = 15  # of confidence, for the calibration error
CHUNK = 64  # images that pass through the network at a time; 500 take twice as long each
# Augmentation in training, drawn for each image: see augmented().
SHIFT, BRIGHTNESS, BLUR, NOISE = 2, 0.05, 1.0, 0.1


class AttributeProbe(nn.Module):
    r"""A convolutional network that reads all labels of an image, one head for each.

    Each level is a 3 x 3 convolution, GroupNorm, SiLU and 2 x 2 average pooling; the largest
    values over the pixels that are left are the features, and each head is a linear map from
    features to logits z. (Means instead of largest values lose a mouth of few pixels.)
    Probabilities are softmax(z / T), with one temperature T for each label, fitted after training
    (Guo et al. 2017).

    Args:
        classes: the names of the classes of each label, as in ``LabeledImages``.
        channels: 3 for color, 1 for gray.
        size: width and height of the images in pixels.
        widths: channels of each level, multiples of 8. The last is the number of features.

    Raises:
        TypeError: for arguments of other types.
        ValueError: if there are no labels, or sizes do not fit.
    """

    temperatures: Tensor

    def __init__(
        self,
        classes: Mapping[str, Sequence[str]],
        channels: int = 3,
        size: int = 32,
        widths: Sequence[int] = (32, 64, 128),
    ):
        super().__init__()
        require_type(classes, Mapping, "classes", "a dict of names of classes")
        require(len(classes) > 0, "classes is empty; expected at least one label to read")
        for label, names in classes.items():
            require_type(names, (list, tuple), f"classes[{label!r}]", "a list of names")
            require(len(names) > 0, f"classes[{label!r}] is empty; expected names of classes")
        channels = as_whole_number(channels, "channels", least=1)
        size = as_whole_number(size, "size", least=1)
        widths = as_widths(widths, GROUPS, least=1)
        require(
            size >= 2 ** len(widths),
            f"images of {size} pixels cannot be halved {len(widths)} times; use fewer levels",
        )
        self.classes = {label: tuple(names) for label, names in classes.items()}
        self.channels, self.size = channels, size
        levels = []
        for start, end in zip([channels, *widths], widths):
            convolution = nn.Conv2d(start, end, 3, padding=1)
            levels += [convolution, nn.GroupNorm(GROUPS, end), nn.SiLU(), nn.AvgPool2d(2)]
        self.trunk = nn.Sequential(*levels, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.heads = nn.ModuleDict(
            {label: nn.Linear(widths[-1], len(names)) for label, names in self.classes.items()}
        )
        self.register_buffer("temperatures", torch.ones(len(self.classes)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Calibrated probabilities of the classes of each label, shape (B, classes).

        Args:
            images: shape (B, channels, size, size), values in [-1, 1]. Generated images that
                leave this range are read as they are; clamp them if that is not meant.

        Raises:
            TypeError: for anything but a floating-point tensor.
            ValueError: for images of another shape, or with NaN.
        """
        return {
            label: torch.softmax(z / temperature, 1)
            for (label, z), temperature in zip(self.logits(images).items(), self.temperatures)
        }

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Logits z before calibration, shape (B, classes) for each label."""
        features = self.features(images)
        return {label: self.heads[label](features) for label in self.classes}

    def features(self, images: Tensor) -> Tensor:
        """What all heads read from, shape (B, F)."""
        expected = (self.channels, self.size, self.size)
        require_images(images)
        require(
            tuple(images.shape[1:]) == expected,
            f"images have shape {tuple(images.shape)}; this probe was made for (B, "
            f"{', '.join(map(str, expected))}). Train one for yours, or resize them",
        )
        return torch.cat([self.trunk(chunk) for chunk in images.split(CHUNK)])

    def calibrate(self, data: LabeledImages) -> None:
        """Fit the temperatures to labeled images that the weights were not fitted to."""
        with torch.no_grad():
            logits = self.logits(data.images)
        for k, label in enumerate(self.classes):
            self.temperatures[k] = fit_temperature(logits[label], data.labels[label])

    def classify(self, images: Tensor) -> dict[str, Tensor]:
        """The most probable class of each label, int64 of shape (B,)."""
        with torch.no_grad():
            return {label: z.argmax(1) for label, z in self.logits(images).items()}


class ProbeLoss(Objective):
    """Cross entropy of the labels of augmented images, in nats, summed over labels."""

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        images, labels = examples
        return augmented(images, generator), labels

    def __call__(self, network: AttributeProbe, inputs: Inputs) -> Tensor:
        return cross_entropy(network, *inputs, reduction="none")


def cross_entropy(
    probe: AttributeProbe,
    images: Tensor,
    labels: Mapping[str, Tensor],
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy of the labels of images before calibration, in nats, summed over labels.

    Args:
        reduction: ``"mean"`` for that of all images, ``"none"`` for each, shape (B,).
    """
    total: Any = sum(
        functional.cross_entropy(z, labels[label], reduction=reduction)
        for label, z in probe.logits(images).items()
    )
    return total


def validation_loss(probe: AttributeProbe, data: LabeledImages) -> float:
    """The mean of :func:`cross_entropy` over images as they are."""
    device = probe.temperatures.device
    labels = {label: values.to(device) for label, values in data.labels.items()}
    return float(cross_entropy(probe, data.images.to(device), labels))


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    r"""Images with the small defects of generated ones, drawn for each image.

    Shifted by up to ``SHIFT`` pixels either way (edges repeat), blended with their 3 x 3 means by
    a share uniform on [0, ``BLUR``], brightened by N(0, ``BRIGHTNESS``²), and with noise added
    whose standard deviation is uniform on [0, ``NOISE``].

    Args:
        images: shape (N, C, H, W).

    Raises:
        TypeError, ValueError: for anything else, or with NaN.
    """
    require_images(images)
    require_generator(generator)
    n, _, height, width = images.shape

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator)

    padded = functional.pad(images, [SHIFT] * 4, mode="replicate")
    dy, dx = torch.randint(2 * SHIFT + 1, (2, n, 1), generator=generator)
    rows, columns = dy + torch.arange(height), dx + torch.arange(width)
    each = torch.arange(n)[:, None, None]
    x = padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    means = functional.avg_pool2d(functional.pad(x, [1] * 4, mode="replicate"), 3, stride=1)
    x = torch.lerp(x, means, BLUR * uniform())
    x = x + BRIGHTNESS * torch.randn(n, 1, 1, 1, generator=generator)
    return x + NOISE * uniform() * torch.randn(x.shape, generator=generator)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    r"""The temperature T > 0 with the least negative log-likelihood of softmax(z / T).

    Guo et al. 2017, section 4.2. T > 1 where the logits z are overconfident. One image more is
    supposed to have been seen, which could be of any class: else T would go to zero where every
    label is read right (Platt 1999 smooths for the same reason).

    Args:
        logits: shape (N, classes). labels: whole numbers or truth values, shape (N,).

    Returns:
        T, between 1/100 and 100.

    Raises:
        TypeError: for arguments of other types.
        ValueError: for NaN, labels that are no class, or another number of them.
    """
    require_points(logits, name="logits")
    labels = as_classes(labels, "labels", logits.shape[1])
    require(
        len(labels) == len(logits) >= 1,
        f"labels has {len(labels)} values for {len(logits)} rows of logits; expected one for "
        "each, and at least one",
    )
    z = logits.detach().double()
    doubt = 1 / (len(z) + 1)

    def loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(functional.cross_entropy(scaled, labels, label_smoothing=doubt))

    limit = np.log(100)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


@dataclass(frozen=True)
class Evaluation:
    """How well a probe reads each label of test images.

    ``table`` has one row for each label: ``classes``, their number; ``n`` test images;
    ``accuracy`` with its 95 % interval from ``low`` to ``high`` (Wilson 1927);
    ``calibration_error``, the mean over images of \\|accuracy - confidence\\| in 15 bins of equal
    width (ECE; Guo et al. 2017, eq. 3); ``majority``, the share of the most frequent class,
    which is the accuracy of whoever always guesses that. For labels of two classes also
    ``positives``, the number of images of the second class, and of them and of the others the
    shares that are read as it, ``sensitivity`` and ``false_alarms``.
    """

    table: pandas.DataFrame

    @classmethod
    def of_rows(cls, rows: Mapping[str, Mapping[str, float]]) -> Evaluation:
        """From a row for each label, as cards have them under ``"evaluation"``."""
        return cls(pandas.DataFrame.from_dict(rows, orient="index").rename_axis("label"))

    def usable(self, label: str) -> bool:
        """Whether the label was read right on at least 95 % of the test images.

        Raises:
            ValueError: for an unknown label.
        """
        require_known(label, "label", self.table.index)
        return bool(self.table.loc[label, "accuracy"] >= USABLE)

    def true_share(self, label: str, read: float, n: int) -> estimates.Estimate:
        """The share of images of the second class, from the share that the probe reads as it.

        See :func:`diffot.estimates.true_share`. The probe is supposed to err on these images as
        often as on its test images.

        Args:
            label: of two classes.
            read: the share of n images.
        """
        require_known(label, "label", self.table.index)
        row = self.table.loc[label]
        require(
            row["classes"] == 2 and "sensitivity" in row,
            f"label {label} has {row['classes']:.0f} classes, and no sensitivity in its row; "
            "expected one of two classes, of a probe whose card has it",
        )
        positives = int(row["positives"])
        return estimates.true_share(
            read,
            n,
            (row["sensitivity"], positives),
            (row["false_alarms"], int(row["n"]) - positives),
        )

    def require_usable(self, *labels: str) -> None:
        """To be called before a claim that rests on these labels.

        Raises:
            ValueError: if one is not usable, with its accuracy.
        """
        for label in labels:
            usable, row = self.usable(label), self.table.loc[label]
            require(
                usable,
                f"the probe reads {label} right on {row['accuracy']:.1%} of {row['n']:.0f} test "
                f"images, and a claim needs {USABLE:.0%}; train it on more images, or make no "
                "claim about this label",
            )


def evaluate(probe: AttributeProbe, test: LabeledImages) -> Evaluation:
    """Compare what a probe reads with the labels, on images that it was not fitted to.

    Raises:
        TypeError: for arguments of other types.
        ValueError: if there are no images, or their classes are not the probe's.
    """
    require_type(probe, AttributeProbe, "probe", "an AttributeProbe")
    require_type(test, LabeledImages, "test", "LabeledImages")
    require(len(test) > 0, "test holds no images")
    require(
        {label: tuple(names) for label, names in test.classes.items()} == probe.classes,
        f"the images have the labels {test.classes}, the probe reads {probe.classes}",
    )
    with torch.no_grad():
        probabilities = probe(test.images)
    rows = {}
    for label, names in probe.classes.items():
        confidence, guess = (values.numpy() for values in probabilities[label].max(1))
        truth = test.labels[label].numpy()
        right = guess == truth
        accuracy = estimates.share(right)
        rows[label] = {
            "classes": len(names),
            "n": len(test),
            "accuracy": accuracy.value,
            "low": accuracy.low,
            "high": accuracy.high,
            "calibration_error": calibration_error(confidence, right),
            "majority": float(np.bincount(truth).max() / len(test)),
        }
        if len(names) == 2:
            positive = truth == 1
            rows[label] |= {
                "positives": int(positive.sum()),
                "sensitivity": estimates.share(guess[positive] == 1).value,
                "false_alarms": estimates.share(guess[~positive] == 1).value,
            }
    return Evaluation.of_rows(rows)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error of guesses with their confidence, right or not, each (N,).

    Args:
        confidence: numbers in [0, 1]. right: truth values.

    Raises:
        TypeError: for anything but such arrays.
        ValueError: for a confidence out of range, NaN, or arrays that differ in length.
    """
    for values, name, kinds in ((confidence, "confidence", "fiu"), (right, "right", "b")):
        wanted = "truth values" if kinds == "b" else "numbers"
        require_type(values, np.ndarray, name, f"a numpy array of {wanted}")
        if values.dtype.kind not in kinds:
            raise TypeError(f"{name} is an array of {values.dtype}; expected {wanted}")
        require(
            values.ndim == 1 and len(values) >= 1,
            f"{name} has shape {values.shape}; expected (N,), N at least 1",
        )
    require(
        len(confidence) == len(right),
        f"confidence has {len(confidence)} values and right {len(right)}; expected as many",
    )
    require(
        bool(((confidence >= 0) & (confidence <= 1)).all()),
        "confidence holds values outside of [0, 1], or NaN",
    )
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, weights=right - confidence)).sum() / len(right))
