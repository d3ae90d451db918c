r"""Brightness of images of shifted latents: measured, and predicted without the model."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from chapters.latent_manipulation.regions import checked_weights, region_means
from diffot.errors import (
    as_number,
    require,
    require_finite,
    require_images,
    require_same_shape,
    require_tensor,
    require_type,
)
from diffot.estimates import columns, jackknife, mean, share
from diffot.measures import quality
from diffot.samplers import latents
from diffot.transport.linear import LinearMap


def brightness(images: Tensor, mask: Tensor) -> dict[str, float]:
    """Brightness of images, of their channels, and of a region.

    Args:
        images: shape (n, C, H, W). mask: of the region.

    Returns:
        ``brightness``, the mean of all values, ``red``, ``green`` and ``blue`` (or ``gray``),
        those of the channels, and ``region_brightness``, each with its error over images; and
        ``brightness_deviation``, the standard deviation over images.
    """
    require_images(images)
    channels = images.double().mean((2, 3))
    whole = channels.mean(1)
    row = {**columns("brightness", mean(whole)), "brightness_deviation": float(whole.std())}
    for name, values in zip(quality.CHANNELS[images.shape[1]], channels.T):
        row |= columns(name, mean(values))
    return row | columns("region_brightness", mean(region_means(images, mask)))


def predictions(
    training: Tensor, linear: LinearMap, z: Tensor, mask: Tensor, sigmas: float
) -> dict[str, float]:
    """The ``region_brightness`` of the images of shifted latents, predicted without the model.

    Args:
        training: training images, shape (N, C, H, W). linear: their linear map.
        z: latents before the shift, shape (n, C, H, W).
        mask, sigmas: of the shift.

    Returns:
        ``quantile``: by :func:`quantile_prediction`; ``linear``: of the images under the linear
        map (:func:`linear_prediction`).
    """
    change = linear_prediction(linear, mask, sigmas)
    unshifted = float(region_means(linear.decode(z), mask).mean())
    return {
        "quantile": quantile_prediction(
            region_means(training, mask), latents.coordinate(z, mask), sigmas
        ),
        "linear": unshifted + change,
    }


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
    require_numbers(values, "values")
    require_numbers(coordinates, "coordinates")
    sigmas = as_number(sigmas, "sigmas")
    return float(np.quantile(values.numpy(), norm.cdf(coordinates.numpy() + sigmas)).mean())


def linear_prediction(linear: LinearMap, mask: Tensor, sigmas: float) -> float:
    r"""By how much the brightness of a region changes under a linear map of shifted latents.

    :math:`s \langle m, C^{1/2} m \rangle / (|m| \sum_i m_i)` for the mask m and a shift by s
    standard deviations: :math:`s\, u^\top C^{1/2} u`, with u = m / |m|, times the change of the
    mean that a step of length one along u makes. It is the same for all latents.
    """
    require_type(linear, LinearMap, "linear", "a LinearMap")
    weights = checked_weights(mask, linear.mean[None], "mean")
    sigmas = as_number(sigmas, "sigmas")
    moved = linear.decode(weights[None] / weights.norm()) - linear.mean
    return sigmas * float(region_means(moved, mask))


def single_images(
    training: Tensor, linear: LinearMap, z: Tensor, images: tuple[Tensor, Tensor], mask: Tensor
) -> dict[str, float]:
    """How the brightness of single images follows their own latents.

    Args:
        training, linear, z, mask: as in :func:`predictions`, with n >= 10 latents.
        images: of the latents, and of the same raised by a shift, shape (n, C, H, W) each.

    Returns:
        ``correlation``, over latents, of the region's mean in the image with the latent's own
        coordinate there (:func:`diffot.samplers.latents.coordinate`); ``quantile_gap`` and
        ``linear_gap``, the root mean square differences of a single image's mean from the
        quantile map's and from that of the training images' linear map, these three with their
        errors; ``deviation`` of the region's mean over images; ``brighter``, the share of images
        that the shift makes brighter in the region.
    """
    before, after = (region_means(x, mask) for x in images)
    require_same_shape(before, after, ("images[0]", "images[1]"))
    coordinates = latents.coordinate(z, mask).double()
    quantile = np.quantile(region_means(training, mask).numpy(), norm.cdf(coordinates.numpy()))

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a, b)[0, 1])

    def gap(a: np.ndarray, b: np.ndarray) -> float:
        return float(((a - b) ** 2).mean() ** 0.5)

    row: dict[str, float] = {}
    for name, statistic, values in (
        ("correlation", correlation, coordinates),
        ("quantile_gap", gap, torch.from_numpy(quantile)),
        ("linear_gap", gap, region_means(linear.decode(z), mask)),
    ):
        row |= columns(name, jackknife(statistic, values.numpy(), before.numpy()))
    return {
        **row,
        "deviation": float(before.std()),
        **columns("brighter", share(after > before)),
    }


def require_numbers(values: Tensor, name: str) -> None:
    """Require a floating-point tensor of shape (n,), n at least 1."""
    require_tensor(values, name, "a floating-point tensor of shape (n,)")
    require(
        values.ndim == 1 and len(values) >= 1,
        f"{name} has shape {tuple(values.shape)}; expected (n,), at least one number",
    )
    require_finite(values, name)
