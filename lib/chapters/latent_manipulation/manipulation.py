r"""Images of manipulated latents, measured: each function gives one row of a table.

Regions are named as in :mod:`chapters.latent_manipulation.regions`. Images are clamped to [-1,
1], as they are shown, before anything is measured. In the columns, ``NAME_error`` is the standard
error of ``NAME``; a share has its 95 % interval (Wilson 1927) from ``NAME_low`` to ``NAME_high``.
What cannot be computed, as a share of no images, is NaN.

As in :mod:`chapters.image_models.measurements`, a function is told the first digits of the hash
of the model's ``weights`` and refuses others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.stats import mannwhitneyu, norm
from torch import Tensor

from chapters.latent_manipulation import regions
from diffot import estimates
from diffot.denoisers.denoiser import Denoiser
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_alike,
    require_finite,
    require_images,
    require_known,
    require_same_shape,
    require_tensor,
    require_type,
    unknown_name,
)
from diffot.estimates import share_interval
from diffot.learning import datasets, measured, recipes, registry
from diffot.learning.attributes import AttributeProbe
from diffot.learning.latent_maps import BATCH, LinearMap, decode, encode, parse
from diffot.learning.latent_maps import latents as draw_latents
from diffot.measures import quality
from diffot.samplers import latents
from diffot.samplers.ddim import ddim
from diffot.samplers.inpainting import inpaint
from diffot.seeds import generator

IMAGES = ("drawn", "held out")
METHODS = ("shift", "hold", "replace", "inpaint")
DONORS = ("with", "without")
AT_LEAST = 10  # images, for the standard errors of ratios
LARGEST_POOL = 40  # latents that are looked through for each pair before giving up


# --- Shifts -----------------------------------------------------------------------------------


def start(model: str, images: str, n: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """What is manipulated: n latents, and the images that they stand for.

    Args:
        model: a name in ``recipes.RECIPES``, of a model of images.
        images: ``"drawn"``: the latents of a seed and what the model makes of them; or
            ``"held out"``: images that it was not trained on and their codes. Coding loses a
            little: what a shift by 0 changes.
        steps: of DDIM, either way.
        seed: of the latents; does not matter to held-out images.

    Returns:
        Latents and images, shape (n, C, H, W) each.
    """
    require_known(images, "images", IMAGES)
    if images == "drawn":
        x = decode(model, n, steps, seed)
        return draw_latents(tuple(x.shape[1:]), n, seed), x
    return encode(model, model, n, steps), measured.held_out(model, n).images


def edit(
    denoiser: Denoiser,
    z: Tensor,
    x: Tensor,
    mask: Tensor,
    sigmas: float,
    method: str,
    steps: int,
    seed: int,
) -> Tensor:
    """The images of shifted latents.

    Args:
        z, x: latents and their images, shape (n, C, H, W), as :func:`start` gives them.
        mask: of the region that is shifted.
        sigmas: by how much; see :func:`diffot.samplers.latents.shift`.
        method: what becomes of the pixels outside of the mask. ``"shift"``: whatever DDIM makes
            of them; ``"hold"``: they are held to the path from z to x; ``"replace"``: they are x
            with fresh noise in every step; ``"inpaint"``: the same, and the latents are fresh
            noise before they are shifted, so that nothing of the image is left in the region
            (Sohl-Dickstein et al. 2015). See :func:`diffot.samplers.inpainting.inpaint`.
        steps: of DDIM.
        seed: of the fresh noise.

    Returns:
        Shape (n, C, H, W), not clamped.
    """
    require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
    require_images(z, "z")
    require_images(x, "x")
    require_alike(z, x, ("z", "x"))
    sigmas, steps = as_number(sigmas, "sigmas"), as_whole_number(steps, "steps", least=1)
    seed = as_whole_number(seed, "seed", least=0)
    require_known(method, "method", METHODS)
    if method == "inpaint":
        z = torch.randn(z.shape, generator=generator(seed, "latents to inpaint with"))
    shifted = latents.shift(z, mask, sigmas)
    edited = []
    with torch.no_grad():
        for batch, (noise, known) in enumerate(zip(shifted.split(BATCH), x.split(BATCH))):
            if method == "shift":
                edited.append(ddim(denoiser, noise, steps))
                continue
            draws = None if method == "hold" else generator(seed, f"fresh noise {batch}")
            edited.append(inpaint(denoiser, noise, known, mask, steps, draws))
    return torch.cat(edited)


def measure_shift(
    model: str,
    weights: str,
    images: str,
    region: str,
    sigmas: float,
    method: str,
    target: str,
    n: int,
    steps: int,
    train: int,
    seed: int,
) -> dict[str, float]:
    """What becomes of n images if their latents are shifted in a region.

    Args:
        model: a name in ``recipes.RECIPES``, of a model of images that a probe can read.
        weights: see the module's description.
        images: what is manipulated; see :func:`start`.
        region: a name as in :mod:`chapters.latent_manipulation.regions`.
        sigmas: the shift, in standard deviations of the latent's mean over the region.
        method: see :func:`edit`.
        target: what the shift is to bring about, as in ``"sunglasses=yes"`` or
            ``"hair_color=blond,gray"``; "" for nothing.
        n: number of images, at least 10.
        steps: of DDIM.
        train: how many of the training images, from the first, are used for the predictions and
            searched for the nearest ones.
        seed: of latents and fresh noise.

    Returns:
        One row. Brightness: ``brightness``, the mean of all values, ``red``, ``green`` and
        ``blue`` (or ``gray``), those of the channels, and ``region_brightness``, that of the
        region; ``brightness_deviation`` over images; ``clamped``, the mean over values of what
        was cut off at -1 and 1. ``quantile`` and ``linear`` predict ``region_brightness``
        without the model: :func:`quantile_prediction` for its training images, and the images of
        the shifted latents under their linear map (:func:`linear_prediction`).

        The change of an image: the columns of :func:`change`; and ``nearest``, the median
        distance to the nearest training image by that of n held-out images.

        What the probe reads: ``share_LABEL_CLASS`` of the images, and for a binary label
        ``share_LABEL``, that of "yes"; ``kept_LABEL``, the share that is read as before, for all
        labels but the target's. For the target, ``before`` and ``after``, the shares of images
        with it; ``gained``, the share of the ``gained_n`` images without it that have it now;
        ``lost``, the share of the ``lost_n`` images with it that do not have it now. And for each
        other binary label, ``among_gained_LABEL_before`` and ``_after``, the shares of "yes"
        among the ``among_gained_n`` images that gained the target, and
        ``among_gained_LABEL_change``, the mean change, with its error over these images.
    """
    n, steps, seed = measured.checked(n, steps, seed, AT_LEAST)
    train, sigmas = as_whole_number(train, "train", least=2), as_number(sigmas, "sigmas")
    denoiser, probe = measured.load(model, weights), _probe(model)
    place = regions.mask(region, probe.size)
    wanted = None if target == "" else Target.parse(target, probe)
    require_known(images, "images", IMAGES)
    require_known(method, "method", METHODS)
    z, base = start(model, images, n, steps, seed)
    raw = edit(denoiser, z, base, place, sigmas, method, steps, seed)
    x, y = base.clamp(-1, 1), raw.clamp(-1, 1)

    known = _known(model, train, n)
    unshifted = float(region_means(known.linear.decode(z), place).mean())
    near = quality.nearness(quality.nearest_distances(y, known.images), known.held_out)
    row = {
        **_brightness_columns(y),
        **_mean("region_brightness", region_means(y, place)),
        "quantile": quantile_prediction(
            region_means(known.images, place), latents.coordinate(z, place), sigmas
        ),
        "linear": unshifted + linear_prediction(known.linear, place, sigmas),
        "clamped": float((raw - y).abs().mean()),
        **change(x, y, place),
        "nearest": near.ratio.value,
        "nearest_error": near.ratio.error,
    }
    before, after = probe.classify(x), probe.classify(y)
    for label, names in probe.classes.items():
        if len(names) == 2:
            row |= _share(f"share_{label}", after[label] == 1)
        else:
            for k, name in enumerate(names):
                row |= _share(f"share_{label}_{name}", after[label] == k)
    if wanted:
        row |= _target_columns(wanted, probe, before, after)
    return row | _kept(before, after, wanted)


def change(x: Tensor, y: Tensor, mask: Tensor) -> dict[str, float]:
    r"""How images were changed, in a region and out of it.

    Args:
        x, y: images before and after, shape (n, C, H, W) with n >= 10.
        mask: of the region, values m in [0, 1], not all 0; shape (1, H, W) or (C, H, W).

    Returns:
        ``inside`` and ``outside``: root mean square difference over an image's values, weighted
        by m and by 1 - m, in the mean over images. ``seam``: by which factor the change made the
        edge of the region sharper or smoother: the root mean square difference of neighboring
        values across it, each pair weighted by the difference of m, by the same of the images
        before. Near 1 if there is nothing to be seen of the edge. NaN without an outside or edge.
    """
    require_images(y, "y")
    inside = _weights(mask, x, "x")
    require_same_shape(x, y, ("x", "y"))
    require(len(x) >= AT_LEAST, f"x has {len(x)} images; expected at least {AT_LEAST}")
    row = {}
    for name, weights in {"inside": inside, "outside": 1 - inside}.items():
        squares = ((y - x).square() * weights).double().sum((1, 2, 3)) / weights.double().sum()
        row |= _mean(name, squares.sqrt())
    new, old = (_jumps_across(images, inside).numpy() for images in (y, x))
    seam = estimates.Estimate(np.nan, np.nan)
    if old.any():
        seam = estimates.jackknife(lambda a, b: (a.sum() / b.sum()) ** 0.5, new, old)
    return row | {"seam": seam.value, "seam_error": seam.error}


def _jumps_across(images: Tensor, mask: Tensor) -> Tensor:
    """Squared differences of neighbors, weighted by those of the mask; summed, shape (n,)."""
    return sum(
        (images.diff(dim=axis).square() * mask.diff(dim=axis).abs()).double().sum((1, 2, 3))
        for axis in (-2, -1)
    )


def measure_brightness(
    model: str, weights: str, region: str, step: float, n: int, steps: int, train: int, seed: int
) -> dict[str, float]:
    """How the brightness of single images follows their own latents.

    Args:
        model, weights, region, n, steps, train, seed: as in :func:`measure_shift`.
        step: a shift that every latent is given, too.

    Returns:
        One row. ``correlation``, over latents, of the region's mean in the image with the
        latent's own coordinate there (:func:`diffot.samplers.latents.coordinate`);
        ``quantile_gap`` and ``linear_gap``, the root mean square differences of a single image's
        mean from the quantile map's and from that of the training images' linear map, these three
        with their errors by the jackknife; ``deviation``, the standard deviation of the mean;
        ``brighter``, the share of images whose mean is larger after the step.
    """
    n, steps, seed = measured.checked(n, steps, seed, AT_LEAST)
    train, step = as_whole_number(train, "train", least=2), as_number(step, "step")
    denoiser, place = measured.load(model, weights), regions.mask(region, _size(model))
    z, base = start(model, "drawn", n, steps, seed)
    known = _known(model, train, n)
    moved = edit(denoiser, z, base, place, step, "shift", steps, seed).clamp(-1, 1)
    before, after = region_means(base.clamp(-1, 1), place), region_means(moved, place)
    own = latents.coordinate(z, place).double()
    values = region_means(known.images, place).numpy()
    quantile = torch.from_numpy(np.quantile(values, norm.cdf(own.numpy())))
    linear = region_means(known.linear.decode(z), place)

    def root_mean_square(a: np.ndarray, b: np.ndarray) -> float:
        return float(((a - b) ** 2).mean() ** 0.5)

    row = {}
    for name, function, values in (
        ("correlation", lambda a, b: float(np.corrcoef(a, b)[0, 1]), own),
        ("quantile_gap", root_mean_square, quantile),
        ("linear_gap", root_mean_square, linear),
    ):
        found = estimates.jackknife(function, values.numpy(), before.numpy())
        row |= {name: found.value, f"{name}_error": found.error}
    return {
        **row,
        "deviation": float(before.std()),
        **_share("brighter", after > before),
    }


# --- Predictions of brightness ----------------------------------------------------------------


def region_means(images: Tensor, mask: Tensor) -> Tensor:
    """The mean of each image over a region, weighted by the mask; float64 of shape (n,).

    Args:
        images: shape (n, C, H, W).
        mask: values in [0, 1], not all 0; shape (1, H, W) or (C, H, W).
    """
    weights = _weights(mask, images, "images")
    return (images.flatten(1) @ weights.flatten() / weights.sum()).double()


def _weights(mask: Tensor, images: Tensor, name: str) -> Tensor:
    """A mask for images, of which something is left, in their shape and type."""
    require_images(images, name)
    weights = latents.checked_mask(mask, images).expand(images.shape[1:])
    require(bool((weights > 0).any()), "mask is 0 everywhere, which is no region")
    return weights


def quantile_prediction(values: Tensor, coordinates: Tensor, sigmas: float) -> float:
    r"""The mean brightness of images of shifted latents, if it followed the quantile map.

    The mean over latents of :math:`F^{-1}(\Phi(c + s))` (thesis, conjecture 1, for the brightness
    in place of a pixel). Beyond the empirical quantiles, which N values have to about
    :math:`\Phi^{-1}(1 - 1/N)` standard deviations, it is the lowest or highest of the values.

    Args:
        values: brightness of images, whose distribution is F; shape (N,).
        coordinates: c of each latent, N(0, 1), shape (n,); see
            :func:`diffot.samplers.latents.coordinate`.
        sigmas: the shift s.
    """
    _require_numbers(values, "values")
    _require_numbers(coordinates, "coordinates")
    sigmas = as_number(sigmas, "sigmas")
    return float(np.quantile(values.numpy(), norm.cdf(coordinates.numpy() + sigmas)).mean())


def linear_prediction(linear: LinearMap, mask: Tensor, sigmas: float) -> float:
    r"""By how much the brightness of a region changes under a linear map of shifted latents.

    :math:`s \langle m, C^{1/2} m \rangle / (|m| \sum_i m_i)` for the mask m and a shift by s
    standard deviations: :math:`s\, u^\top C^{1/2} u`, with u = m / |m|, times the change of the
    mean that a step of length one along u makes. It is the same for all latents.
    """
    require_type(linear, LinearMap, "linear", "a LinearMap")
    weights, sigmas = _weights(mask, linear.mean[None], "mean"), as_number(sigmas, "sigmas")
    moved = linear.decode(weights[None] / weights.norm()) - linear.mean
    return sigmas * float(region_means(moved, mask))


# --- Transfers --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transfers:
    """Images of latents in which a region was replaced by that of a donor.

    Attributes:
        recipients, donors: images of the two latents, shape (n, C, H, W), clamped.
        results: images of the recipient's latent with the donor's in the region, clamped.
        success: whether the probe reads the target in the result, shape (n,).
        probability: that of the target in the result, by the probe, shape (n,).
    """

    recipients: Tensor
    donors: Tensor
    results: Tensor
    success: Tensor
    probability: Tensor


def transfer(
    model: str,
    weights: str,
    target: str,
    region: str,
    donors: str,
    n: int,
    steps: int,
    seed: int,
) -> Transfers:
    """Replace a region of n latents by that of others, and draw the images.

    Latents are taken in the order of the seed: the recipients are the first n whose images do not
    show the target, whatever the region and the donors.

    Args:
        model, weights, region, steps: as in :func:`measure_shift`.
        target: what is to be transferred, as in ``"sunglasses=yes"``.
        donors: ``"with"``: the first n latents whose images show the target; or ``"without"``,
            for comparison: the next n after the recipients that do not.
        n: number of pairs.
        seed: of the latents.

    Raises:
        ValueError: also if the model draws the target, or anything else, too rarely.
    """
    n, steps, seed = measured.checked(n, steps, seed, 1)
    denoiser, probe = measured.load(model, weights), _probe(model)
    place, wanted = regions.mask(region, probe.size), Target.parse(target, probe)
    require_known(donors, "donors", DONORS)
    base, receiving, giving = _pairs(model, probe, wanted, donors, n, steps, seed)
    z = draw_latents(tuple(base.shape[1:]), len(base), seed)
    mixed = latents.transfer(z[receiving], z[giving], place)
    with torch.no_grad():
        drawn = [ddim(denoiser, part, steps) for part in mixed.split(BATCH)]
    results = torch.cat(drawn).clamp(-1, 1)
    return Transfers(
        base[receiving],
        base[giving],
        results,
        wanted.seen(probe.classify(results)),
        probe(results)[wanted.label][:, wanted.classes].sum(1),
    )


def _pairs(
    model: str, probe: AttributeProbe, wanted: Target, donors: str, n: int, steps: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The images of enough latents, and which of them are recipients and donors."""
    for size in range(2 * n, LARGEST_POOL * n + 1, n):
        base = decode(model, size, steps, seed).clamp(-1, 1)
        seen = wanted.seen(probe.classify(base))
        with_it, without = (torch.nonzero(kind)[:, 0] for kind in (seen, ~seen))
        giving = with_it[:n] if donors == "with" else without[n : 2 * n]
        if len(without) >= n and len(giving) == n:
            return base, without[:n], giving
    raise ValueError(
        f"of the first {len(base)} images of {model}, {len(with_it)} show the target and "
        f"{len(without)} do not, which is too few for {n} pairs; ask for fewer, or choose "
        "another target"
    )


def measure_transfer(
    model: str,
    weights: str,
    target: str,
    region: str,
    donors: str,
    n: int,
    steps: int,
    seed: int,
) -> dict[str, float]:
    """How often a region of a donor's latent brings the target with it.

    Args:
        n: number of pairs, at least 10; all as in :func:`transfer`.

    Returns:
        One row. ``success``: the share of results in which the probe reads the target;
        ``kept_LABEL``: the share in which another label is read as in the recipient's image; the
        columns of :func:`change`, against the recipient's image. ``distance``: the mean over
        pairs of :func:`color_distances` between donor's and recipient's image, ``color_auc`` and
        ``color_p_value``: whether they tell success from failure (:func:`color_effect`).
    """
    n, steps, seed = measured.checked(n, steps, seed, AT_LEAST)
    found = transfer(model, weights, target, region, donors, n, steps, seed)
    probe = _probe(model)
    distances = color_distances(found.donors, found.recipients)
    auc, p_value = color_effect(distances, found.success)
    return {
        **_share("success", found.success),
        **change(found.recipients, found.results, regions.mask(region, probe.size)),
        **_mean("distance", distances),
        "color_auc": auc,
        "color_p_value": p_value,
        **_kept(
            probe.classify(found.recipients),
            probe.classify(found.results),
            Target.parse(target, probe),
        ),
    }


def color_distances(x: Tensor, y: Tensor) -> Tensor:
    """Root mean square difference of the means of the channels of two images each, shape (n,).

    Args:
        x, y: shape (n, C, H, W).
    """
    require_images(x, "x")
    require_images(y, "y")
    require_same_shape(x, y, ("x", "y"))
    return (x - y).double().mean((2, 3)).square().mean(1).sqrt()


def color_effect(distances: Tensor, success: Tensor) -> tuple[float, float]:
    """Does success come with small distances?

    Args:
        distances: shape (n,), and success: truth values, shape (n,).

    Returns:
        The probability that a success has a smaller distance than a failure, ties counting half,
        and the two-sided p-value of its being 1/2 (Mann & Whitney 1947). NaN if all succeed or
        all fail.
    """
    _require_numbers(distances, "distances")
    require_type(success, Tensor, "success", "a tensor of truth values")
    if success.dtype != torch.bool:
        raise TypeError(f"success is of {success.dtype}; expected truth values, torch.bool")
    require_same_shape(distances, success, ("distances", "success"))
    if success.all() or not success.any():
        return np.nan, np.nan
    failed, succeeded = distances[~success].numpy(), distances[success].numpy()
    test = mannwhitneyu(failed, succeeded)
    return float(test.statistic / (len(failed) * len(succeeded))), float(test.pvalue)


def color_error(success: float, n: int) -> float:
    r"""Standard deviation of :func:`color_effect`'s probability if distances do not matter.

    :math:`\sqrt{(n + 1) / (12\, k (n - k))}` with k successes in n pairs (Mann & Whitney 1947).

    Args:
        success: k / n, not 0 or 1.
    """
    success, n = as_number(success, "success", above=0, below=1), as_whole_number(n, "n", least=2)
    k = success * n
    return ((n + 1) / (12 * k * (n - k))) ** 0.5


# --- What the probe reads ---------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Classes of a label, any of which counts."""

    label: str
    classes: list[int]

    @classmethod
    def parse(cls, text: str, probe: AttributeProbe) -> Target:
        """From a text such as ``"hair_color=blond,gray"``."""
        require_type(text, str, "target", 'a label and classes, as in "smile=yes"')
        require_type(probe, AttributeProbe, "probe", "an AttributeProbe such as of registry.load")
        label, _, names = text.partition("=")
        require_known(label, "label", probe.classes)
        known = probe.classes[label]
        for name in names.split(","):
            require_known(name, f"class of {label}", known)
        classes = [k for k, name in enumerate(known) if name in names.split(",")]
        require(len(classes) < len(known), f"{text!r} names all classes; leave one out")
        return cls(label, classes)

    def seen(self, read: Mapping[str, Tensor]) -> Tensor:
        """Whether an image shows it, shape (n,), by what a probe read."""
        require_type(read, Mapping, "read", "a dict, as of AttributeProbe.classify")
        require(self.label in read, unknown_name("label in read", self.label, read))
        return torch.isin(read[self.label], torch.tensor(self.classes))


def _target_columns(
    wanted: Target,
    probe: AttributeProbe,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
) -> dict[str, float]:
    had, has = wanted.seen(before), wanted.seen(after)
    row = {
        **_share("before", had),
        **_share("after", has),
        **_share("gained", has[~had]),
        **_share("lost", ~has[had]),
    }
    gained = has & ~had
    row |= {"gained_n": float((~had).sum()), "lost_n": float(had.sum())}
    row["among_gained_n"] = float(gained.sum())
    for label, names in probe.classes.items():
        if label != wanted.label and len(names) == 2:
            first, then = before[label][gained], after[label][gained]
            name = f"among_gained_{label}"
            row |= _share(f"{name}_before", first == 1) | _share(f"{name}_after", then == 1)
            row |= _mean(f"{name}_change", (then - first).double())
    return row


def _kept(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], wanted: Target | None
) -> dict[str, float]:
    row = {}
    for label, classes in before.items():
        if wanted is None or label != wanted.label:
            row |= _share(f"kept_{label}", classes == after[label])
    return row


def _size(model: str) -> int:
    return parse(model, 1).shape()[-1]


def _probe(model: str) -> AttributeProbe:
    probe = registry.probe_for(model)
    require(probe is not None, f"there is no probe for the images of {model}; train one first")
    return probe


# --- Columns ----------------------------------------------------------------------------------


def _require_numbers(values: Tensor, name: str) -> None:
    require_tensor(values, name, "a floating-point tensor of shape (n,)")
    require(
        values.ndim == 1 and len(values) >= 1,
        f"{name} has shape {tuple(values.shape)}; expected (n,), at least one number",
    )
    require_finite(values, name)


def _mean(name: str, values: Tensor) -> dict[str, float]:
    """Mean and its standard error; NaN where there are too few values."""
    n = len(values)
    error = float(values.std() / n**0.5) if n > 1 else np.nan
    return {name: float(values.mean()) if n else np.nan, f"{name}_error": error}


def _share(name: str, hits: Tensor) -> dict[str, float]:
    """A share with its interval; NaN of no images."""
    low, high = share_interval(int(hits.sum()), len(hits))
    return {
        name: float(hits.double().mean()) if len(hits) else np.nan,
        f"{name}_low": low,
        f"{name}_high": high,
    }


def _brightness_columns(images: Tensor) -> dict[str, float]:
    channels = images.double().mean((2, 3))
    brightness = channels.mean(1)
    row = {**_mean("brightness", brightness), "brightness_deviation": float(brightness.std())}
    for name, values in zip(quality.CHANNELS[images.shape[1]], channels.T):
        row |= _mean(name, values)
    return row


@dataclass(frozen=True)
class _Known:
    """What images of shifted latents are compared with; see :func:`measure_shift`."""

    images: Tensor
    linear: LinearMap
    held_out: np.ndarray  # distances of held-out images to the nearest of the images


def _known(model: str, train: int, n: int) -> _Known:
    return _prepared(json.dumps({**recipes.config(model).data, "n": train}), model, n)


# A sweep asks for these once for each row.
@lru_cache(maxsize=2)
def _prepared(data: str, model: str, n: int) -> _Known:
    images = datasets.load_images(json.loads(data)).images
    others = measured.held_out(model, n).images
    return _Known(images, LinearMap.fit(images), quality.nearest_distances(others, images))
