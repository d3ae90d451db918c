"""What measures of two sets of images of the same latents share."""

from __future__ import annotations

from torch import Tensor

from diffot.errors import (
    require,
    require_batch,
    require_same_shape,
)

ROUNDING = 1e-14  # of a value, relative to it: what sums of many may be off by


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """The product of each row of a with that of b, shape (n,)."""
    return (a * b).sum(1)


def centered(x: Tensor) -> Tensor:
    """A set less its mean image, float64 of shape (n, d)."""
    x = x.detach().flatten(1).double()
    return x - x.mean(0)


def require_sets(least: int = 2, **sets: Tensor) -> None:
    """Require sets of the same shape (n, *d), entry i of each from latent i, with n >= least."""
    (first, x), *_ = sets.items()
    for name, y in sets.items():
        require_batch(y, name, "(n, *d)")
        require_same_shape(x, y, (first, name))
    require(len(x) >= least, f"{first} has {len(x)} rows; expected at least {least}")


def require_varying(**sets: Tensor) -> None:
    """Require sets whose images are not all the same."""
    for name, x in sets.items():
        require(
            bool((x != x[0]).any()),
            f"all images in {name} are the same; expected images that differ",
        )
