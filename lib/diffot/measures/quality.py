"""How good samples of images are: distances to real images, each beside what it should be.

Distances between finite sets are positive even if both are real images, and depend on how many
there are. They mean something next to the same distance for as many other real images, and for
as many draws from a Gaussian: :func:`quality_table`. Images are tensors of shape (n, C, H, W) in
[-1, 1]; values beyond are taken as they are: clamp samples first if they will be shown clamped.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import ot
import pandas
import torch
from sklearn.metrics import pairwise_distances_argmin
from torch import Tensor

from diffot import estimates
from diffot.errors import (
    as_whole_number,
    require,
    require_array,
    require_batch,
    require_finite,
    require_generator,
    require_images,
    require_same_shape,
    require_tensor,
    require_type,
)
from diffot.estimates import Estimate, jackknife, require_groups
from diffot.learning.attributes import AttributeProbe

DIRECTIONS = 500  # on which images are projected for the sliced Wasserstein distance
NEAR = 0.01  # quantile of held-out images' distances below which a sample counts as near
SAME = 1e-5  # between rounding and the smallest difference between two images of 8 bits
CHANNELS = {1: ("gray",), 3: ("red", "green", "blue")}


def random_directions(dim: int, count: int, generator: torch.Generator) -> Tensor:
    """Uniform directions of length 1 in R^dim, float64 of shape (dim, count)."""
    dim, count = as_whole_number(dim, "dim", least=1), as_whole_number(count, "count", least=1)
    require_generator(generator)
    directions = torch.randn(dim, count, dtype=torch.float64, generator=generator)
    return directions / directions.norm(dim=0)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Estimate:
    r"""Sliced Wasserstein distance between two sets of images as points in R^d, d = C H W.

    :math:`(E_\theta W_2^2(\theta \cdot x, \theta \cdot y))^{1/2}`, the mean taken over the given
    directions :math:`\theta` (Bonneel et al. 2015). Where all images move by a vector v, the
    distance is near :math:`|v| / \sqrt d`: it is on the scale of one value. The standard error is
    over images, for these directions; use the same ones for all distances that are compared.

    Args:
        x, y: as many images of the same shape.
        directions: shape (d, K), as of :func:`random_directions`; some hundred.
    """
    _require_pair(x, y)
    require_tensor(directions, "directions", "a floating-point tensor of shape (d, K)")
    d = x[0].numel()
    require(
        directions.ndim == 2 and len(directions) == d and directions.shape[1] >= 1,
        f"directions has shape {tuple(directions.shape)}; expected ({d}, K) for images of {d} "
        "values",
    )
    require_finite(directions, "directions")
    directions = directions.double()
    require(
        bool(((directions.norm(dim=0) - 1).abs() < 1e-5).all()),
        "directions has columns that are not of length 1; divide them by their norms",
    )
    on_lines = [(images.flatten(1).double() @ directions).numpy() for images in (x, y)]
    return jackknife(
        lambda a, b: np.sqrt(ot.wasserstein_1d(a, b, p=2).mean()),
        *on_lines,
    )


def feature_distance(probe: AttributeProbe, x: Tensor, y: Tensor) -> Estimate:
    """Fréchet distance between the features that a probe finds in two sets of images.

    As FID (Heusel et al. 2017) with the features of a classifier of these very images. Estimated
    covariances make it too large, the more so the fewer images: compare at the same number only.

    Args:
        x, y: as many images, better several times as many as there are features.
    """
    _require_probe(probe)
    _require_pair(x, y)
    return jackknife(frechet_distance, _features(probe, x), _features(probe, y))


def _features(probe: AttributeProbe, images: Tensor) -> np.ndarray:
    with torch.no_grad():
        return probe.features(images.float()).double().numpy()


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    r"""Squared 2-Wasserstein distance of the Gaussians with the means and covariances of x and y.

    :math:`|\mu - \nu|^2 + \mathrm{tr}(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})` (Dowson & Landau
    1982), also for singular covariances A and B.

    Args:
        x, y: points, shape (n, F), at least two of each.
    """
    for points, name in ((x, "x"), (y, "y")):
        require_array(points, name)
        require(
            points.ndim == 2 and len(points) >= 2,
            f"{name} has shape {points.shape}; expected (n, F) with n >= 2",
        )
    require(
        x.shape[1] == y.shape[1],
        f"x has {x.shape[1]} features and y {y.shape[1]}; expected as many",
    )
    x, y = x.astype(np.float64), y.astype(np.float64)
    # With A = R'R and B = S'S the last trace is the sum of the singular values of RS'.
    roots = [
        np.linalg.qr(points - points.mean(0), mode="r") / np.sqrt(len(points) - 1)
        for points in (x, y)
    ]
    traces = sum((root**2).sum() for root in roots)
    overlap = np.linalg.norm(roots[0] @ roots[1].T, "nuc")
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + traces - 2 * overlap)


def gaussian_samples(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    r"""Draws from the Gaussian with the mean and covariance of the images, shape (n, *d).

    What a linear model of the images could at best achieve:
    :math:`\bar x + \sum_i z_i (x_i - \bar x) / \sqrt{N - 1}` with standard normal z, which needs
    no covariance matrix.

    Args:
        images: shape (N, *d), N >= 2.
    """
    require_batch(images, "images", "(N, *d)")
    require(len(images) >= 2, f"there are {len(images)} images; expected at least 2")
    n = as_whole_number(n, "n", least=1)
    require_generator(generator)
    flat = images.flatten(1)
    mean = flat.mean(0)
    z = torch.randn(n, len(flat), dtype=flat.dtype, generator=generator)
    samples = mean + z @ (flat - mean) / (len(flat) - 1) ** 0.5
    return samples.reshape(n, *images.shape[1:])


def color_statistics(images: Tensor) -> pandas.DataFrame:
    """Brightness and contrast of each channel.

    Args:
        images: at least 2, of at least 2 pixels each.

    Returns:
        One row for each channel, with mean and standard deviation over images of ``brightness``,
        the mean over pixels, and ``contrast``, the standard deviation over pixels.
    """
    require_images(images)
    n, _, height, width = images.shape
    require(
        n >= 2 and height * width >= 2,
        f"images has shape {tuple(images.shape)}; expected at least 2 images of 2 pixels",
    )
    columns = {}
    for name, values in _colors(images).items():
        columns[name] = values.mean(0)
        columns[f"{name}_spread"] = values.std(0, ddof=1)
    count = images.shape[1]
    names = CHANNELS.get(count, tuple(map(str, range(count))))
    return pandas.DataFrame(columns, index=pandas.Index(names, name="channel"))


def _colors(images: Tensor) -> dict[str, np.ndarray]:
    """Brightness and contrast of each image in each channel, shape (n, C)."""
    pixels = images.flatten(2).double()
    return {"brightness": pixels.mean(2).numpy(), "contrast": pixels.std(2).numpy()}


def _largest_difference(x: np.ndarray, y: np.ndarray) -> float:
    """Of the means over images, in any channel."""
    return float(np.abs(x.mean(0) - y.mean(0)).max())


def attribute_frequencies(probe: AttributeProbe, images: Tensor) -> dict[str, Tensor]:
    """For each label the share of the images in each class, in the order of ``probe.classes``."""
    _require_probe(probe)
    require_images(images)
    require(len(images) >= 1, "there are no images; expected at least one")
    read = probe.classify(images.float())
    return {
        label: read[label].bincount(minlength=len(names)).double() / len(images)
        for label, names in probe.classes.items()
    }


def attribute_distances(probe: AttributeProbe, x: Tensor, y: Tensor) -> pandas.DataFrame:
    r"""How far apart the frequencies of attributes are in two sets of images.

    Both sets are read by the probe, so that what it misreads in both alike cancels.

    Returns:
        One row for each label: ``total_variation``, :math:`\frac12 \sum_k |p_k - q_k|`, and its
        standard ``error`` from the multinomial counts. Where the true frequencies agree, the
        distance is positive all the same, of the size of its error; more so for many classes.
    """
    for images, name in ((x, "x"), (y, "y")):
        require_images(images, name)
    return _frequency_distances(
        attribute_frequencies(probe, x), len(x), attribute_frequencies(probe, y), len(y)
    )


def _frequency_distances(
    of_x: Mapping[str, Tensor], n_x: int, of_y: Mapping[str, Tensor], n_y: int
) -> pandas.DataFrame:
    """The table of :func:`attribute_distances`, of the frequencies in n_x and n_y images."""
    rows = {}
    for label, p in of_x.items():
        q = of_y[label]
        # the distance is half the difference of the means of these signs over the images; where
        # frequencies tie, of the signs that vary most
        signs = itertools.product(*[[s] if s else [-1.0, 1.0] for s in (p - q).sign().tolist()])
        variances = [
            _variance(p, torch.tensor(sign)) / n_x + _variance(q, torch.tensor(sign)) / n_y
            for sign in signs
        ]
        rows[label] = {
            "total_variation": float((p - q).abs().sum() / 2),
            "error": max(variances) ** 0.5 / 2,
        }
    return pandas.DataFrame.from_dict(rows, orient="index").rename_axis("label")


def _variance(frequencies: Tensor, values: Tensor) -> float:
    values = values.to(frequencies)
    return max(float(frequencies @ values**2 - (frequencies @ values) ** 2), 0.0)


def nearest_distances(images: Tensor, train: Tensor) -> np.ndarray:
    """Distance of each image to the nearest training image, shape (n,).

    Root mean square over the values of an image. Costs n times N distances.

    Args:
        images: shape (n, *d). train: shape (N, *d).
    """
    _require_like_train(images, "images", train)
    kind = torch.promote_types(torch.promote_types(images.dtype, train.dtype), torch.float32)
    images, train = (values.detach().flatten(1).to(kind) for values in (images, train))
    # the search squares sums, which is only exact near the origin
    origin = train.mean(0)
    nearest = pairwise_distances_argmin((images - origin).numpy(), (train - origin).numpy())
    return (images.double() - train[nearest].double()).square().mean(1).sqrt().numpy()


@dataclass(frozen=True)
class Nearness:
    """Whether samples are copies: their distances to training images against held-out images'.

    ``ratio`` of the medians: near 1 for new images as far from the training images as real ones,
    near 0 for copies. ``share`` of the samples that are nearer to a training image than 99 % of
    the held-out images are: near 1 % if nothing was copied, the share of copies or more if some
    were. Blurred and pale images are nearer too: a large share is a reason to look at them.
    """

    ratio: Estimate
    share: Estimate


def nearness(distances: np.ndarray, held_out: np.ndarray) -> Nearness:
    """Compare distances to the nearest training image, of samples and of held-out images.

    Args:
        distances, held_out: as :func:`nearest_distances` gives them, at least ten of each.

    Raises:
        ValueError: also if more than 1 % of the held-out images are training images.
    """
    for values, name in ((distances, "distances"), (held_out, "held_out")):
        require_array(values, name)
        require(
            values.ndim == 1 and bool((values >= 0).all()),
            f"{name} has shape {values.shape}; expected numbers of at least 0, shape (n,)",
        )
        require_groups(values, name)
    near = np.quantile(held_out, NEAR)
    require(
        near > SAME,
        f"{(held_out <= SAME).sum()} of {len(held_out)} held-out images are also training "
        "images; hold out others, for example of another seed",
    )
    nearer = float((distances < near).mean())
    variance = nearer * (1 - nearer) / len(distances) + NEAR * (1 - NEAR) / len(held_out)
    return Nearness(
        jackknife(lambda x, y: np.median(x) / np.median(y), distances, held_out),
        Estimate(nearer, variance**0.5),
    )


def quality_table(
    samples: Tensor,
    train: Tensor,
    held_out: Tensor,
    probe: AttributeProbe,
    generator: torch.Generator,
) -> pandas.DataFrame:
    """Samples of a model, other real images, and draws from a Gaussian, measured alike.

    All three are n images, n being the number of samples, and are compared with the first n
    held-out images. The other real images are the next n of them, and show what is the best to be
    had. The Gaussian is fitted to the training images.

    Args:
        samples: of the model, shape (n, C, s, s), n >= 10.
        train: what the model was trained on.
        held_out: at least 2n images of the same kind that it was not trained on.
        probe: for the features and attributes.

    Returns:
        The rows ``samples``, ``real images`` and ``Gaussian fit``, with ``n`` and the columns
        ``sliced_wasserstein``, ``feature_distance``, ``nearest_ratio`` and ``nearest_share``
        (:class:`Nearness`), ``attribute_LABEL`` for each label (total variation distance),
        ``color_brightness`` and ``color_contrast`` (the largest difference of the means in any
        channel), each with its standard error in ``NAME_error``; and ``frequency_LABEL_CLASS``.

    Raises:
        ValueError: also if there are too few held-out images, or more than 1 % of them are
            training images.
    """
    require_images(samples, "samples")
    for images, name in ((samples, "samples"), (held_out, "held_out")):
        _require_like_train(images, name, train)
    _require_probe(probe)
    require_generator(generator)
    require_groups(samples, "samples")
    n = len(samples)
    require(
        len(held_out) >= 2 * n,
        f"there are {n} samples and {len(held_out)} held-out images; expected at least {2 * n}, "
        "half of them to compare with the other half",
    )
    reference, others = held_out[:n], held_out[n : 2 * n]
    rows = {
        "samples": samples,
        "real images": others,
        "Gaussian fit": gaussian_samples(train, n, generator),
    }
    directions = random_directions(train[0].numel(), DIRECTIONS, generator)
    references = _read(reference, train, probe)
    table = {}
    for name, images in rows.items():
        readings = _read(images, train, probe)
        table[name] = {
            "n": n,
            **{
                f"frequency_{label}_{kind}": float(frequency)
                for label, frequencies in readings.frequencies.items()
                for kind, frequency in zip(probe.classes[label], frequencies)
            },
        }
        for column, estimate in _compared(readings, references, directions).items():
            table[name] |= estimates.columns(column, estimate)
    return pandas.DataFrame.from_dict(table, orient="index").rename_axis("images")


@dataclass(frozen=True)
class _Readings:
    """Images, and what they are compared by: distances to the nearest training images, colors,
    features and frequencies of attributes."""

    images: Tensor
    distances: np.ndarray
    colors: dict[str, np.ndarray]
    features: np.ndarray
    frequencies: dict[str, Tensor]


def _read(images: Tensor, train: Tensor, probe: AttributeProbe) -> _Readings:
    return _Readings(
        images,
        nearest_distances(images, train),
        _colors(images),
        _features(probe, images),
        attribute_frequencies(probe, images),
    )


def _compared(x: _Readings, y: _Readings, directions: Tensor) -> dict[str, Estimate]:
    """The estimates of :func:`quality_table`, of images x against real ones, y."""
    near = nearness(x.distances, y.distances)
    attributes = _frequency_distances(x.frequencies, len(x.images), y.frequencies, len(y.images))
    return {
        "sliced_wasserstein": sliced_wasserstein(x.images, y.images, directions),
        "feature_distance": jackknife(frechet_distance, x.features, y.features),
        "nearest_ratio": near.ratio,
        "nearest_share": near.share,
        **{
            f"color_{statistic}": jackknife(_largest_difference, values, y.colors[statistic])
            for statistic, values in x.colors.items()
        },
        **{
            f"attribute_{label}": Estimate(row["total_variation"], row["error"])
            for label, row in attributes.iterrows()
        },
    }


def _require_pair(x: Tensor, y: Tensor) -> None:
    """As many images of either, for the distances depend on their number."""
    require_images(x, "x")
    require_images(y, "y")
    require_same_shape(x, y, ("x", "y"))


def _require_like_train(images: Tensor, name: str, train: Tensor) -> None:
    """Images of the shape of the training images, at least one of either."""
    require_batch(images, name, "(n, *d)")
    require_batch(train, "train", "(N, *d)")
    require(
        images.shape[1:] == train.shape[1:] and len(images) >= 1 and len(train) >= 1,
        f"{name} has shape {tuple(images.shape)} and train {tuple(train.shape)}; expected the "
        "same but for their number, which is at least 1",
    )


def _require_probe(probe: AttributeProbe) -> None:
    require_type(probe, AttributeProbe, "probe", "an AttributeProbe such as of registry.load")
