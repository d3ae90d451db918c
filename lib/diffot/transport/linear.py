"""The optimal map from N(0, I) to the Gaussian of a set of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from diffot.errors import (
    require,
    require_batch,
    require_finite,
    require_images,
    require_tensor,
)
from diffot.flows.maps import Map


@dataclass(frozen=True, eq=False)
class LinearMap(Map):
    r"""The optimal map from N(0, I) to a Gaussian, :math:`z \mapsto m + C^{1/2} z`.

    (Peyré & Cuturi 2019, remark 2.31.) It is also where the probability flow takes z if the data
    have that law, in the limit of no signal at t = T and many steps (Khrulkov et al. 2023,
    theorem 3.1). The covariance may be singular.

    Attributes:
        mean: m, shape (C, H, W).
        axes: the directions in which C is not zero, shape (d, r), orthonormal.
        deviations: the standard deviations in these directions, shape (r,).
    """

    mean: Tensor
    axes: Tensor
    deviations: Tensor

    def __post_init__(self):
        for name, value in vars(self).items():
            require_tensor(value, name)
            require_finite(value, name)
        d = self.mean.numel()
        require(
            self.deviations.ndim == 1 and self.axes.shape == (d, len(self.deviations)),
            f"mean, axes and deviations have the shapes {tuple(self.mean.shape)}, "
            f"{tuple(self.axes.shape)} and {tuple(self.deviations.shape)}; expected (C, H, W), "
            "(d, r) with d = C H W, and (r,)",
        )
        require(bool((self.deviations > 0).all()), "deviations are to be above 0; leave 0 out")

    @classmethod
    def fit(cls, images: Tensor) -> Self:
        """The map to the Gaussian with the mean and covariance of images, shape (N, C, H, W).

        In the type of the images.

        Raises:
            ValueError: also if all images are the same.
        """
        require_images(images)
        require(
            bool((images != images[:1]).any()),
            f"images holds {len(images)} images, all the same; expected at least 2 that differ",
        )
        flat = images.detach().flatten(1).double()
        mean = flat.mean(0)
        many = len(flat) > flat.shape[1]
        # the first solver takes the mean's square from that of the images
        fit = PCA(svd_solver="covariance_eigh" if many else "full").fit((flat - mean).numpy())
        kept = fit.explained_variance_ > 1e-10 * fit.explained_variance_.max()
        return cls(
            mean.reshape(images.shape[1:]).to(images),
            torch.from_numpy(fit.components_[kept].T.copy()).to(images),
            torch.from_numpy(fit.explained_variance_[kept] ** 0.5).to(images),
        )

    def decode(self, z: Tensor) -> Tensor:
        """The images of latents, shape (n, C, H, W), in the type of the latents."""
        self._require_points(z, "z")
        return self._along_axes(z, self.deviations) + self.mean.to(z)

    def encode(self, x: Tensor) -> Tensor:
        """The shortest latents of images, shape (n, C, H, W); what lies outside is left out."""
        self._require_points(x, "x")
        return self._along_axes(x - self.mean.to(x), 1 / self.deviations)

    def _along_axes(self, points: Tensor, factors: Tensor) -> Tensor:
        axes = self.axes.to(points)
        return ((points.flatten(1) @ axes * factors.to(points)) @ axes.T).reshape(points.shape)

    def _require_points(self, points: Tensor, name: str) -> None:
        require_batch(points, name, "(n, C, H, W)")
        require(
            points.shape[1:] == self.mean.shape,
            f"{name} has shape {tuple(points.shape)}; expected (n, *{tuple(self.mean.shape)})",
        )
