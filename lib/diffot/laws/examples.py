"""Laws in the plane that were made to show something."""

from __future__ import annotations

from diffot.laws.mixtures import GaussianMixture


def bent_pair() -> GaussianMixture:
    """The V: two Gaussians of equal weight, nearly mirror images of each other, whose flow's map
    is measurably not optimal."""
    return GaussianMixture(
        [0.5, 0.5],
        [[1.05, 0.54], [-1.05, -0.54]],
        [[[0.49, -0.18], [-0.18, 0.08]], [[0.08, 0.20], [0.20, 0.59]]],
    )
