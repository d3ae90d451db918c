"""What the codes and images of one map have to do with each other, coordinate by coordinate and
all together: each function gives one row.

In the columns, ``NAME`` is the value of a measure, ``NAME_error`` its standard error, and
``NAME_null_mean``, ``NAME_null_deviation`` and ``NAME_p_value`` compare it with random pairings
(:class:`~diffot.measures.agreement.PermutationTest`).

A task names the ``weights`` behind its map, as :func:`diffot.learning.latent_maps.hashes` gives
them, and others are refused: a table is about the weights that its tasks name.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffot.errors import as_number, require_known, require_type
from diffot.estimates import GROUPS, columns, jackknife
from diffot.learning import measured
from diffot.learning.latent_maps import AnyMap, decode, encode, latents, require_hashes
from diffot.measures import agreement
from diffot.seeds import generator

# --- Coordinates ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankTask:
    """One map whose images' coordinates are compared with those of the latents.

    Attributes:
        latent_map: the map.
        weights: behind it; see the module's description.
        n: number of latents, at least 10.
        seed: of latents and permutations.
    """

    latent_map: AnyMap
    weights: str
    n: int
    seed: int = 0

    def __post_init__(self):
        require_hashes(self.weights, latent_map=self.latent_map)
        measured.set_whole_numbers(self, n=GROUPS, seed=0)


def measure_ranks(task: RankTask) -> dict[str, float]:
    """Is each image coordinate an increasing function of its latent's? :func:`rank_columns`."""
    require_type(task, RankTask, "task", "a RankTask")
    z = latents(task.latent_map.shape(), task.n, task.seed)
    draws = generator(task.seed, f"permutations, ranks of {task.latent_map}")
    return rank_columns(z, decode(task.latent_map, task.n, task.seed), draws)


def rank_columns(z: Tensor, x: Tensor, generator: torch.Generator) -> dict[str, float]:
    """Is each image coordinate an increasing function of its latent's? (Thesis, conjecture 1.)

    Args:
        z: latents, and x: their images, shape (n, C, H, W), n >= 10.

    Returns:
        One row: ``rank``, the mean over coordinates of Spearman's correlation over latents, with
        its error and against random pairings; ``rank_05``, ``rank_50`` and ``rank_95``, its
        quantiles over coordinates; ``shifted``, ``shifted_05`` and so on, where each latent is
        paired with the image of the next; and ``permuted`` and so on, where each coordinate of
        the latents is paired with another one of the images, drawn at random. Coordinates that
        are constant in the images are left out, and their share is ``constant``.
    """
    test = agreement.permutation_test(agreement.rank_similarities(z, x), generator)
    ranks = jackknife(
        lambda a, b: float(_ranks(torch.from_numpy(a), torch.from_numpy(b)).mean()),
        z.numpy(),
        x.numpy(),
    )
    row = {
        **columns("rank", test),
        **columns("rank", ranks),
        "constant": 1 - _ranks(z, x).numel() / z[0].numel(),
    }
    others = torch.randperm(z[0].numel(), generator=generator)
    permuted = x.flatten(1)[:, others].reshape(x.shape)
    for name, images in {"rank": x, "shifted": x.roll(1, 0), "permuted": permuted}.items():
        correlations = _ranks(z, images)
        row.setdefault(name, float(correlations.mean()))
        quantiles = correlations.quantile(torch.tensor([0.05, 0.5, 0.95]).double())
        row |= {f"{name}_{q}": float(v) for q, v in zip(("05", "50", "95"), quantiles)}
    return row


def _ranks(z: Tensor, x: Tensor) -> Tensor:
    """Rank correlations of the coordinates that are not constant."""
    correlations = agreement.rank_correlations(z, x)
    return correlations[~correlations.isnan()]


# --- Assignment -------------------------------------------------------------------------------


@dataclass(frozen=True)
class AssignmentTask:
    """A test of whether optimal assignment leaves held-out images with their codes.

    Attributes:
        images: a model; the images are the first n held out of its kind.
        codes: the map that encodes them.
        weights: of that map; see the module's description.
        n: number of images, at least 2.
        noise: standard deviation of noise added to the codes; a code's own is about 1.
        within: a label, to shuffle the codes among images of the same class; None for not.
        seed: of noise and shuffling.
    """

    images: str
    codes: AnyMap
    weights: str
    n: int
    noise: float = 0.0
    within: str | None = None
    seed: int = 0

    def __post_init__(self):
        require_hashes(self.weights, codes=self.codes)
        measured.set_whole_numbers(self, n=2, seed=0)
        object.__setattr__(self, "noise", as_number(self.noise, "noise", at_least=0))
        require_type(self.images, str, "images", "the name of a model")
        labels = measured.held_out(self.images, 1).labels
        if self.within is not None:
            require_known(self.within, f"within, a label of {self.images}", labels)


def measure_assignment(task: AssignmentTask) -> dict[str, float]:
    """Does optimal assignment leave held-out images with their codes?

    Returns:
        One row: ``fixed`` and ``excess`` (:class:`~diffot.measures.agreement.Assignment`), and
        ``shuffled``, the share of codes that the shuffling moved.
    """
    require_type(task, AssignmentTask, "task", "an AssignmentTask")
    held_out = measured.held_out(task.images, task.n)
    z = encode(task.codes, task.images, task.n)
    draws = generator(task.seed, f"codes of {task.images} by {task.codes}")
    order = torch.arange(task.n)
    if task.within is not None:
        order = agreement.shuffled_within(held_out.labels[task.within], draws)
    z = z[order] + task.noise * torch.randn(z.shape, generator=draws)
    assignment = agreement.assignment_fixed(held_out.images, z)
    moved = float((order != torch.arange(task.n)).double().mean())
    return {"fixed": assignment.fixed, "excess": assignment.excess, "shuffled": moved}
