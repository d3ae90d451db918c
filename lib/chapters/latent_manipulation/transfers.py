r"""Regions of latents replaced by those of donors, measured: one row of a table for each task.

Columns, clamping and ``weights`` are as in :mod:`chapters.latent_manipulation.shifts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from chapters.latent_manipulation.brightness import require_numbers
from chapters.latent_manipulation.edits import change
from chapters.latent_manipulation.readings import Target, kept, probe_for, require_target
from chapters.latent_manipulation.regions import Region
from diffot.errors import (
    as_number,
    as_whole_number,
    require_images,
    require_known,
    require_same_shape,
    require_type,
)
from diffot.estimates import columns, mean, share
from diffot.learning import measured, registry
from diffot.learning.attributes import AttributeProbe
from diffot.learning.latent_maps import LatentMap, decode, draw
from diffot.learning.latent_maps import latents as latents_of
from diffot.samplers import latents

DONORS = ("with", "without")
LARGEST_POOL = 40


@dataclass(frozen=True)
class TransferTask:
    """A region of n latents that is replaced by that of others.

    Latents are taken in the order of the seed: the recipients are the first n whose images do not
    show the target, whatever the region and the donors.

    Attributes:
        model: a name in ``recipes.RECIPES``, of a model of images that a probe can read.
        weights: see the module's description.
        target: what is to be transferred.
        region: where.
        donors: ``"with"``: the first n latents whose images show the target; or ``"without"``,
            for comparison: the next n after the recipients that do not.
        n: number of pairs, at least 10.
        steps: of DDIM.
        seed: of the latents.
    """

    model: str
    weights: str
    target: Target
    region: Region
    donors: str
    n: int
    steps: int
    seed: int = 0

    def __post_init__(self):
        measured.require_weights(self.model, self.weights)
        require_target(self.target)
        require_type(self.region, Region, "region", 'a Region, as Region("eyes")')
        require_known(self.donors, "donors", DONORS)
        measured.set_whole_numbers(self, n=10, steps=1, seed=0)


@dataclass(frozen=True)
class Transfers:
    """Images of latents in which a region was replaced by that of a donor.

    Attributes:
        recipients, donors: images of the two latents, shape (n, C, H, W), clamped.
        results: images of the recipient's latent with the donor's in the region, clamped.
    """

    recipients: Tensor
    donors: Tensor
    results: Tensor


def transfer(task: TransferTask) -> Transfers:
    """Replace a region of n latents by that of others, and draw the images.

    Raises:
        ValueError: if the model draws the target, or anything else, too rarely.
    """
    require_type(task, TransferTask, "task", "a TransferTask")
    probe, latent_map = probe_for(task.model), LatentMap(task.model, task.steps)
    mask = task.region.mask(probe.size)
    images_of = partial(decode, latent_map, seed=task.seed)
    images, recipients, donors = find_pairs(images_of, probe, task.target, task.n, task.donors)
    z = latents_of(latent_map.shape(), len(images), task.seed)
    mixed = latents.transfer(z[recipients], z[donors], mask)
    results = draw(registry.load(task.model), mixed, task.steps).clamp(-1, 1)
    return Transfers(images[recipients], images[donors], results)


def find_pairs(
    images_of: Callable[[int], Tensor],
    probe: AttributeProbe,
    target: Target,
    n: int,
    donors: str,
    largest_pool: int = LARGEST_POOL,
) -> tuple[Tensor, Tensor, Tensor]:
    """The images of enough latents, clamped, and which of them are recipients and donors.

    Args:
        images_of: gives the images of the first so many latents, shape (number, C, H, W).
        n: number of pairs.
        donors: see :class:`TransferTask`.
        largest_pool: how many latents are looked through for each pair before giving up.

    Raises:
        ValueError: if these are too few.
    """
    require_known(donors, "donors", DONORS)
    for size in range(2 * n, largest_pool * n + 1, n):
        images = images_of(size).clamp(-1, 1)
        shown = target.shown(probe, probe.classify(images))
        showing, without = (torch.nonzero(kind)[:, 0] for kind in (shown, ~shown))
        giving = showing[:n] if donors == "with" else without[n : 2 * n]
        if len(without) >= n and len(giving) == n:
            return images, without[:n], giving
    raise ValueError(
        f"of the first {len(images)} images, {len(showing)} show the target and {len(without)} "
        f"do not, which is too few for {n} pairs; ask for fewer, or choose another target"
    )


def measure_transfer(task: TransferTask) -> dict[str, float]:
    """How often a region of a donor's latent brings the target with it: :func:`outcomes`."""
    transfers = transfer(task)
    probe = probe_for(task.model)
    return outcomes(transfers, probe, task.target, task.region.mask(probe.size))


def outcomes(
    transfers: Transfers, probe: AttributeProbe, target: Target, mask: Tensor
) -> dict[str, float]:
    """How often a region of a donor's latent brought the target with it.

    Returns:
        One row. ``success``: the share of results in which the probe reads the target;
        ``kept_LABEL``: the share in which another label is read as in the recipient's image; the
        columns of :func:`~chapters.latent_manipulation.edits.change`, against the recipient's
        image. ``distance``: the mean over pairs of :func:`color_distances` between donor's and
        recipient's image, ``color_auc`` and ``color_p_value``: whether they tell success from
        failure (:func:`color_effect`).
    """
    require_type(transfers, Transfers, "transfers", "Transfers, as of transfer")
    labels_kept = kept(probe, transfers.recipients, transfers.results, target)
    success = target.shown(probe, probe.classify(transfers.results))
    distances = color_distances(transfers.donors, transfers.recipients)
    auc, p_value = color_effect(distances, success)
    return {
        **columns("success", share(success)),
        **change(transfers.recipients, transfers.results, mask),
        **columns("distance", mean(distances)),
        "color_auc": auc,
        "color_p_value": p_value,
        **labels_kept,
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
    require_numbers(distances, "distances")
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
