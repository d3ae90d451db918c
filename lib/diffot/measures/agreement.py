r"""How much the images of the same latents under two maps have in common.

Most of it looks at a matrix of all pairs. Entry (i, j) compares image i of the first map with
image j of the second; the diagonal holds the pairs of the same latent. Were the latent of no
consequence, every pairing of the two sets would be as good as this one. That is the null
hypothesis behind every number, and :func:`permutation_test` gives its distribution. What is
compared is up to the matrix: :func:`correlations` of images, of their :func:`channel_means` or of
their :func:`low_pass`, :func:`same_class` of what a probe reads, or :func:`is_nearest`.

Images are tensors of shape (n, C, H, W), image i of either set from latent i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from diffot.errors import (
    as_classes,
    as_whole_number,
    require,
    require_finite,
    require_generator,
    require_images,
    require_same_shape,
    require_tensor,
    require_type,
)
from diffot.estimates import Estimate, Share, columns, leave_one_out_error, of_sums, share
from diffot.measures.sets import ROUNDING, centered, inner_products, require_sets, require_varying
from diffot.transport.assignment import optimal_assignment, relative_excess_cost

PERMUTATIONS = 9999


def correlations(x: Tensor, y: Tensor) -> Tensor:
    r"""Correlation of every image of x with every image of y, about the mean images.

    .. math:: r_{ij} = \frac{\langle x_i - \bar x,\, y_j - \bar y\rangle}
              {|x_i - \bar x|\,|y_j - \bar y|}

    The mean image of each set is subtracted because what all images of a set share, such as a
    face in the middle, would count as agreement of any two of them. Nothing else is: forecasters
    call this the uncentered anomaly correlation (Wilks 2019, chapter 9). The Pearson
    correlation over an image's values, which is blind to an image being brighter than others, is
    had from images less their own means. Null mean is near 0, the best value is 1.

    Args:
        x, y: shape (n, *d); images, or what :func:`channel_means` and :func:`low_pass` make of
            them.

    Returns:
        Shape (n, n), float64.

    Raises:
        TypeError, ValueError: for bad shapes or values.
        ValueError: for an image that is, but for rounding, the mean image.
    """
    require_sets(x=x, y=y)
    sizes = [a.detach().flatten(1).double().norm(dim=1) for a in (x, y)]
    x, y = centered(x), centered(y)
    lengths = [a.norm(dim=1) for a in (x, y)]
    for name, length, size in zip("xy", lengths, sizes):
        require(
            bool((length > ROUNDING * size).all()),
            f"an image in {name} is the mean image of its set, so that its correlation is not "
            "defined; are all images the same?",
        )
    return x @ y.T / (lengths[0][:, None] * lengths[1])


def channel_means(images: Tensor) -> Tensor:
    """The mean over pixels of each channel, shape (n, C): brightness and color."""
    require_images(images)
    return images.mean((2, 3))


def low_pass(images: Tensor, size: int = 4) -> Tensor:
    """Images reduced to ``size`` x ``size`` pixels, each the mean of a block."""
    require_images(images)
    size = as_whole_number(size, "size", least=1)
    height, width = images.shape[2:]
    require(
        height % size == 0 and width % size == 0,
        f"images of {height} x {width} pixels have no equal blocks for {size} x {size}; expected "
        "a size that divides both",
    )
    return functional.avg_pool2d(images, (height // size, width // size))


def same_class(first: Tensor, second: Tensor) -> Tensor:
    """1 where image i of the first set and image j of the second are of the same class, else 0.

    Args:
        first, second: whole numbers, shape (n,).

    Returns:
        Shape (n, n), float64.
    """
    first, second = as_classes(first, "first"), as_classes(second, "second")
    require_same_shape(first, second, ("first", "second"))
    return (first[:, None] == second).double()


def is_nearest(similarities: Tensor) -> Tensor:
    """1 where image j is the one most similar to image i, else 0; of equal ones, the first.

    Its diagonal is what :func:`retrieval` counts.

    Args:
        similarities: shape (n, n), a row for each image that others are sought for.
    """
    _require_square(similarities, "similarities")
    n = len(similarities)
    return functional.one_hot(similarities.argmax(1), n).double()


@dataclass(frozen=True)
class PermutationTest:
    """The pairs of the same latent against random pairings.

    Attributes:
        value: mean over the pairs of the same latent.
        error: its standard error over latents, with the mean images taken as known.
        null_mean, null_deviation: mean and standard deviation of the same mean over pairings
            drawn at random, exact.
        p_value: share of drawn pairings, the true one counted with them, that reach the value.
    """

    value: float
    error: float
    null_mean: float
    null_deviation: float
    p_value: float


def permutation_test(
    pairs: Tensor, generator: torch.Generator, permutations: int = PERMUTATIONS
) -> PermutationTest:
    r"""Is image i more like image i than like another? One-sided.

    The value is :math:`\frac1n \sum_i s_{ii}`. Over all permutations :math:`\pi`,
    :math:`\frac1n \sum_i s_{i\pi(i)}` has the mean :math:`\bar s` of all entries and the variance
    :math:`\sum_{ij} (s_{ij} - \bar s_{i\cdot} - \bar s_{\cdot j} + \bar s)^2 / (n^2 (n - 1))`
    (Hoeffding 1951). p = (k + 1) / (R + 1), where k of R drawn permutations reach the value
    (Phipson & Smyth 2010).

    Args:
        pairs: any similarity s of all pairs, shape (n, n) with n >= 2.
        permutations: R. The least p is 1 / (R + 1).
    """
    _require_square(pairs, "pairs")
    require_generator(generator)
    permutations = as_whole_number(permutations, "permutations", least=1)
    s, n = pairs.double(), len(pairs)
    rows = torch.arange(n)
    drawn = torch.rand(permutations, n, generator=generator).argsort(1)
    # all means are summed in the same way, so that a pairing ties with itself
    means = s[rows, torch.cat([rows[None], drawn])].mean(1)
    rest = s - s.mean(0) - s.mean(1, keepdim=True) + s.mean()
    return PermutationTest(
        value=float(means[0]),
        error=float(s.diagonal().std() / n**0.5),
        null_mean=float(s.mean()),
        null_deviation=float((rest.square().sum() / (n - 1)).sqrt() / n),
        p_value=float((means >= means[0]).double().mean()),
    )


def retrieval(similarities: Tensor) -> Share:
    """Top-1 retrieval: how often the image of the same latent is the most similar one.

    The interval is as if the latents succeeded or failed independently of each other. Chance is
    1/n; the p-value is that of ``permutation_test(is_nearest(similarities), ...)``.

    Args:
        similarities: shape (n, n), a row for each image of the first set, for which the most
            similar one of the second is sought. Transposed, the second set seeks in the first.
    """
    return share(is_nearest(similarities).diagonal() == 1)


def attribute_agreement(
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    generator: torch.Generator,
    permutations: int = PERMUTATIONS,
) -> pandas.DataFrame:
    r"""How often the images of the same latent show the same attributes.

    Args:
        first, second: for each label, the classes of the images of the first and the second map,
            shape (n,): what ``AttributeProbe.classify`` returns, or labels that are known. Only
            labels in both are compared; that the numbers mean the same is the caller's affair.

    Returns:
        One row for each label: ``value``, ``error``, ``null_mean``, ``null_deviation`` and
        ``p_value`` of :class:`PermutationTest`. The value is the share of latents of which both
        images are of the same class; its null mean is :math:`p_e = \sum_k p_k q_k`, p and q
        being the frequencies of the classes. And ``kappa``, :math:`(p_o - p_e) / (1 - p_e)`
        (Cohen 1960), 0 at chance and 1 at best, with its ``kappa_error`` by the jackknife; NaN
        where all images, or for the error all but one of the latents', are of one class.

    Raises:
        ValueError: if no label is in both.
    """
    for labels, name in ((first, "first"), (second, "second")):
        require_type(labels, Mapping, name, "a dict with the classes of the images by label")
    both = [label for label in first if label in second]
    require(
        len(both) > 0,
        f"the labels {', '.join(first)} of first and {', '.join(second)} of second have none in "
        "common",
    )
    rows = {}
    for label in both:
        pairs = same_class(first[label], second[label])
        rows[label] = {
            **vars(permutation_test(pairs, generator, permutations)),
            **columns("kappa", _kappa(pairs)),
        }
    return pandas.DataFrame.from_dict(rows, orient="index").rename_axis("label")


def _kappa(pairs: Tensor) -> Estimate:
    n, own = len(pairs), pairs.diagonal()

    def kappa(agreements: Tensor, coincidences: Tensor, count: int) -> Tensor:
        observed, expected = agreements / count, coincidences / count**2
        return (observed - expected) / (1 - expected)

    coincidences = pairs.sum() - pairs.sum(0) - pairs.sum(1) + own
    return Estimate(
        float(kappa(own.sum(), pairs.sum(), n)),
        leave_one_out_error(kappa(own.sum() - own, coincidences, n - 1)),
    )


def fourier_ring_correlations(
    x: Tensor, y: Tensor, generator: torch.Generator, permutations: int = PERMUTATIONS
) -> pandas.DataFrame:
    r"""The correlation of the images of the same latents in each band of spatial frequencies.

    .. math:: r_b = \frac{\operatorname{Re} \sum X_i(k) \overline{Y_i(k)}}
              {\sqrt{\sum |X_i(k)|^2 \sum |Y_i(k)|^2}}

    with sums over latents i, channels and the frequencies k with :math:`|k|` in the band; X and Y
    are the Fourier transforms of the images less the mean images (Saxton & Baumeister 1982). With
    the shares of power p and q, :math:`\sum_b r_b \sqrt{p_b q_b}` is the correlation pooled over
    all values.

    Returns:
        One row for each octave, a band in which neither set lacks power: the frequencies from
        ``low`` up to, not including, ``high``, in cycles per image; ``power_x`` and ``power_y``,
        the shares of the sets' variances; ``value``, r_b, with its standard ``error`` over
        latents by the jackknife; ``null_mean``, ``null_deviation`` and ``p_value`` over random
        pairings, as in :class:`PermutationTest`. The first band is the mean over pixels, k = 0;
        the last, from half the number of pixels on, are the corners of the square.
    """
    require_images(x, "x")
    require_sets(x=x, y=y)
    require_varying(x=x, y=y)
    shape = x.shape
    spectra = [
        torch.fft.fft2(centered(a).reshape(shape), norm="ortho").flatten(2) for a in (x, y)
    ]
    size = [n * torch.fft.fftfreq(n, dtype=torch.float64) for n in shape[2:]]
    radius = (size[0][:, None].square() + size[1].square()).sqrt().flatten()
    powers = [float(a.abs().square().sum()) for a in spectra]
    edges = [0.0, 1.0]
    while edges[-1] <= radius.max():
        edges.append(2 * edges[-1])
    rows = []
    for low, high in zip(edges, edges[1:]):
        inside = (radius >= low) & (radius < high)
        a, b = (torch.view_as_real(s[:, :, inside]).flatten(1) for s in spectra)
        power = [float(c.square().sum()) for c in (a, b)]
        if any(own <= ROUNDING**2 * whole for own, whole in zip(power, powers)):
            continue
        test = permutation_test(
            a @ b.T * len(a) / (power[0] * power[1]) ** 0.5, generator, permutations
        )
        error = of_sums(
            lambda both, own_x, own_y: both / (own_x * own_y).sqrt(),
            inner_products(a, b),
            inner_products(a, a),
            inner_products(b, b),
        ).error
        rows.append(
            {
                "low": low,
                "high": high,
                "power_x": power[0] / powers[0],
                "power_y": power[1] / powers[1],
                **vars(test),
                "error": error,
            }
        )
    return pandas.DataFrame(rows)


def rank_correlations(z: Tensor, x: Tensor) -> Tensor:
    r"""Spearman's correlation over latents of each latent coordinate with the same image's.

    Where :math:`\Phi(z_i) = F_i(x_i)` for the distribution function F_i of every coordinate i, as
    conjecture 1 of the thesis has it, each is 1. Equal values share their mean rank.

    Args:
        z: latents, and x: their images, shape (n, *d).

    Returns:
        Shape d, float64; NaN for coordinates that are constant.
    """
    require_sets(z=z, x=x)
    a, b = _standard_ranks(z), _standard_ranks(x)
    return (a * b).mean(0).reshape(z.shape[1:])


def rank_similarities(z: Tensor, x: Tensor) -> Tensor:
    r"""All pairs of latents and images, such that the diagonal has the mean rank correlation.

    :math:`\frac1d \sum_c a_{ic} b_{jc}` with the ranks a of the latents and b of the images over
    latents, standardized in each coordinate c. For :func:`permutation_test`; its ``error`` takes
    the ranks as known and is too large where they determine each other.

    Args:
        z, x: as in :func:`rank_correlations`. Constant coordinates are left out.

    Returns:
        Shape (n, n), float64.
    """
    require_sets(z=z, x=x)
    a, b = _standard_ranks(z), _standard_ranks(x)
    varying = ~(a.isnan() | b.isnan()).any(0)
    require(bool(varying.any()), "every coordinate is constant in z or in x")
    return a[:, varying] @ b[:, varying].T / int(varying.sum())


def _standard_ranks(points: Tensor) -> Tensor:
    """Ranks over the first axis, of mean 0 and variance 1 in each coordinate, shape (n, d)."""
    ranks = torch.from_numpy(rankdata(points.detach().flatten(1).numpy(), axis=0))
    return (ranks - ranks.mean(0)) / ranks.std(0, correction=0)


@dataclass(frozen=True)
class Assignment:
    """What optimal assignment makes of given pairs.

    Attributes:
        fixed: share of the pairs that it leaves as they are.
        excess: relative excess cost of the pairs; see
            :func:`~diffot.transport.assignment.relative_excess_cost`.
    """

    fixed: float
    excess: float


def assignment_fixed(x: Tensor, z: Tensor) -> Assignment:
    r"""Are images paired with their codes as optimal transport would pair them?

    The test of Khrulkov et al. 2023, figure 7, with squared distances between whole images. Only
    the products :math:`\langle x_i, z_j\rangle` decide about the assignment, so that scaling or
    shifting a set changes the excess, but not the share that is fixed. Passing it takes little in
    many dimensions: the codes :math:`z = P x` of any symmetric positive semidefinite matrix P do.

    Args:
        x: images, and z: their codes, shape (n, *d).
    """
    require_sets(x=x, z=z)
    x, z = x.flatten(1), z.flatten(1)
    best = optimal_assignment(x, z)
    fixed = float((best == torch.arange(len(x))).double().mean())
    return Assignment(fixed, relative_excess_cost(x, z, optimal=z[best]))


def shuffled_within(classes: Tensor, generator: torch.Generator) -> Tensor:
    """A random permutation of the images, shape (n,), that keeps every image's class.

    Args:
        classes: whole numbers, shape (n,).
    """
    classes = as_classes(classes, "classes")
    require_generator(generator)
    permutation = torch.empty(len(classes), dtype=torch.int64)
    for value in classes.unique():
        members = torch.nonzero(classes == value)[:, 0]
        drawn = torch.randperm(len(members), generator=generator)
        permutation[members] = members[drawn]
    return permutation


def _require_square(pairs: Tensor, name: str) -> None:
    require_tensor(pairs, name, "a floating-point tensor of shape (n, n)")
    require(
        pairs.ndim == 2 and pairs.shape[0] == pairs.shape[1] >= 2,
        f"{name} has shape {tuple(pairs.shape)}; expected (n, n), n >= 2, of all pairs",
    )
    require_finite(pairs, name)
