"""How much of images, and of what two maps have in common, linear maps explain."""

from __future__ import annotations

import torch
from sklearn.metrics import r2_score
from torch import Tensor

from diffot.errors import (
    require,
)
from diffot.estimates import Estimate, leave_one_out_error, of_sums
from diffot.measures.sets import centered, inner_products, require_sets, require_varying


def explained_variance(x: Tensor, prediction: Tensor) -> Estimate:
    r"""The share R² of the images' variance that a prediction of them, as it is, accounts for.

    .. math:: R^2 = 1 - \frac{\sum_i |x_i - \hat x_i|^2}{\sum_i |x_i - \bar x|^2}

    Negative where the mean image would be the better prediction. The standard error, over
    latents, is the jackknife's, with the mean image taken as known.

    Args:
        x, prediction: shape (n, *d).

    Raises:
        ValueError: also if all images are the same, and have no variance.
    """
    require_sets(x=x, prediction=prediction)
    require_varying(x=x)
    x, prediction = (a.detach().flatten(1).double() for a in (x, prediction))
    deviations, errors = x - x.mean(0), x - prediction
    error = of_sums(
        lambda missed, total: 1 - missed / total,
        inner_products(errors, errors),
        inner_products(deviations, deviations),
    ).error
    value = r2_score(x.numpy(), prediction.numpy(), multioutput="variance_weighted")
    return Estimate(float(value), error)


def residuals(x: Tensor, *regressors: Tensor) -> Tensor:
    r"""What is left of images after the best combination of other images of the same latents.

    :math:`x_i - \bar x - \sum_m b_m (l^m_i - \bar l^m)` with one number b_m for each set of
    regressors, by least squares over all latents and values. With the same regressors for x and
    y, the outputs of linear maps say, :func:`~diffot.measures.agreement.correlations` of the two
    residuals are partial correlations: what x and y share beyond these.

    Args:
        x, regressors: shape (n, *d).

    Returns:
        Shape (n, *d), float64.
    """
    require(len(regressors) > 0, "there are no regressors; expected at least one")
    named = {f"regressors[{k}]": images for k, images in enumerate(regressors)}
    require_sets(2, x=x, **named)
    shape = x.shape
    columns = [centered(images).flatten() for images in regressors]
    x = centered(x).flatten()
    design = torch.stack(columns, 1)
    # gelsd, for regressors may be the same
    weights = torch.linalg.lstsq(design, x[:, None], driver="gelsd").solution
    return (x - (design @ weights)[:, 0]).reshape(shape)


def linear_share(z: Tensor, x: Tensor, y: Tensor, linear_x: Tensor, linear_y: Tensor) -> Estimate:
    r"""The share of the covariance of two maps that their best linear approximations carry.

    Of a map x of latents z from N(0, I), the best linear approximation is A z with
    :math:`A = E[(x - Ex) z^T]`, and for two maps

    .. math:: E\langle x - Ex,\, y - Ey\rangle = \langle A_x, A_y\rangle
              + \text{the covariance of what is not linear}.

    Returned is :math:`\langle A_x, A_y\rangle` by the left-hand side. With y = x this is the R²
    of the best linear map, also where there are fewer latents than dimensions and a regression
    would explain everything: :math:`\langle A_x, A_y\rangle` is estimated without bias by the
    mean over :math:`i \ne j` of :math:`\langle x_i, y_j\rangle \langle z_i, z_j\rangle`. It is
    taken of what is left of x and y after any linear maps, which loses nothing, for the share is
    one minus the covariance of what is not linear by the whole, and has the less noise the nearer
    they are. The mean images are those of the sets, which costs a bias of relative size 1/n.

    Args:
        z: latents drawn from N(0, I), and x, y: their images, shape (n, *d), n >= 3.
        linear_x, linear_y: the images of the same latents under linear maps near x and y, or
            zeros.

    Returns:
        The share, with its standard error by the jackknife.

    Raises:
        ValueError: also if all images of a set are the same, or the sets have no covariance.
    """
    require_sets(3, z=z, x=x, y=y, linear_x=linear_x, linear_y=linear_y)
    require_varying(x=x, y=y)
    n = len(z)
    rest_x, rest_y = centered(x - linear_x), centered(y - linear_y)
    x, y = centered(x), centered(y)
    z = z.flatten(1).double()
    products = (rest_x @ rest_y.T) * (z @ z.T)
    products.fill_diagonal_(0)
    whole, rest = inner_products(x, y), inner_products(rest_x, rest_y)
    require(float(whole.sum()) != 0, "the two sets have no covariance that could be shared out")

    def linear_part(linear: Tensor, rest: Tensor, whole: Tensor, count: int) -> Tensor:
        return 1 - (rest - linear / (count - 1)) / whole

    linear = products.sum()
    without = linear_part(
        linear - products.sum(0) - products.sum(1),
        rest.sum() - rest,
        whole.sum() - whole,
        n - 1,
    )
    return Estimate(
        float(linear_part(linear, rest.sum(), whole.sum(), n)), leave_one_out_error(without)
    )
