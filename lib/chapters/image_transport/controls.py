"""Maps into the space of images whose answer is known, to measure beside trained networks."""

from __future__ import annotations

from functools import lru_cache

import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as FittedMixture
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.denoisers.network import as_denoiser
from diffot.laws.mixtures import GaussianMixture
from diffot.learning import datasets, recipes
from diffot.processes.schedules import Schedule, Time


def mixture_denoiser(
    mixture: GaussianMixture, mean: Tensor, axes: Tensor, rest: float, schedule: Schedule
) -> Denoiser:
    r"""The exact denoiser of images that have a Gaussian mixture along some axes, and independent
    noise of one variance along all others.

    The responsibilities depend on the first coordinates only, so that the two parts of
    :math:`E[x_0 | x_t]` are computed apart; along the other axes it is the gain
    :math:`\alpha v / (\alpha^2 v + \sigma^2)` of a Gaussian.

    Args:
        mixture: in r dimensions.
        mean: of the images, shape (C, H, W).
        axes: orthonormal, shape (C H W, r).
        rest: the variance v along all other axes, above 0.
    """

    def clean(x: Tensor, t: Time) -> Tensor:
        alpha, sigma = (float(level) for level in schedule.levels(t))
        center, basis = mean.to(x), axes.to(x)
        offset = (x - alpha * center).flatten(1)
        inside = offset @ basis
        outside = offset - inside @ basis.T
        gain = alpha * rest / (alpha**2 * rest + sigma**2)
        kept = mixture.posterior_mean(inside, alpha, sigma) @ basis.T
        return center + (kept + gain * outside).reshape(x.shape)

    return as_denoiser(clean, schedule, "x0")


@lru_cache(maxsize=2)
def fitted_denoiser(data_of: str, images: int, dimension: int, components: int) -> Denoiser:
    """The exact denoiser of a mixture that is fitted to training images of a model, on the
    model's schedule.

    The axes are the images' first principal components. Each Gaussian has a full covariance along
    them, with at least the variance of the other axes, which is that of what is left.

    Args:
        data_of: the model; images: how many of its training images.
        dimension: number of axes. components: number of Gaussians.
    """
    recipe = recipes.config(data_of)
    x = datasets.load_images({**recipe.data, "n": images}).images
    flat = x.flatten(1).double().numpy()
    fit = PCA(dimension, svd_solver="full").fit(flat)
    rest = float(fit.noise_variance_)
    law = FittedMixture(components, reg_covar=rest, random_state=0).fit(fit.transform(flat))
    return mixture_denoiser(
        GaussianMixture(
            *(torch.from_numpy(a) for a in (law.weights_, law.means_, law.covariances_))
        ),
        torch.from_numpy(fit.mean_).reshape(x.shape[1:]),
        torch.from_numpy(fit.components_.T.copy()),
        rest,
        recipe.schedule,
    )


def favorable_embedding(jacobians: Tensor) -> Tensor:
    r"""The isometry Q from latents to images for which a decoder looks most like a gradient.

    A map T from k latents to images is optimal from latents that are laid into image space by Q
    exactly if :math:`z \mapsto Q^T T(z)` is the gradient of a convex function, since only the
    products :math:`\langle Q z, T(z) \rangle` depend on the pairing. Nothing in an
    autoencoder says which Q that is; here it is the polar factor of the mean Jacobian D, so that
    :math:`Q^T D` is symmetric and not negative.

    Args:
        jacobians: shape (n, d, k) with k at most d.

    Returns:
        Shape (d, k), with orthonormal columns.
    """
    left, _, right = torch.linalg.svd(jacobians.mean(0), full_matrices=False)
    return left @ right
