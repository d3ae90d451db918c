r"""Noise predictors: the one interface between data laws, networks and samplers.

A noise predictor estimates the noise in :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`,
:math:`\alpha_t = \sqrt{\bar\alpha_t}`, :math:`\sigma_t = \sqrt{1 - \bar\alpha_t}`. The best one
is :math:`E[\varepsilon \mid x_t]`. Noise, denoised point, score and velocity are four readings of
the same quantity:

.. math:: \hat\varepsilon = \frac{x - \alpha_t \hat x_0}{\sigma_t}, \quad
          \nabla \log p_t(x) = -\frac{\hat\varepsilon}{\sigma_t}, \quad
          v = \alpha_t \hat\varepsilon - \sigma_t \hat x_0

(Ho et al. 2020, eq. 15; Song et al. 2021b, eq. 4; Salimans & Ho 2022, section 4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from diffot.errors import require, require_points, unknown_name
from diffot.mixtures import GaussianMixture
from diffot.schedules import Schedule, Time

PREDICTIONS = ("eps", "v")


def _amplitudes(schedule: Schedule, x: Tensor, t: Time) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t, shaped to multiply x of shape (B, *d)."""
    alpha_bar = schedule.alpha_bar_at(t)
    require(
        alpha_bar.ndim == 0 or alpha_bar.shape == x.shape[:1],
        f"t has shape {tuple(alpha_bar.shape)} for {len(x)} points; "
        "expected one time, or one for each point",
    )
    alpha_bar = alpha_bar.to(x.device)
    if alpha_bar.ndim:
        alpha_bar = alpha_bar.reshape(-1, *[1] * (x.ndim - 1))
    return alpha_bar.sqrt().to(x.dtype), (1 - alpha_bar).sqrt().to(x.dtype)


class NoisePredictor(ABC):
    """A callable ``predictor(x, t) -> eps`` that knows its schedule.

    ``x`` has shape (B, *d); ``t`` is a real time in (0, T], one for all points or one for each,
    shape (B,). The result has the shape and type of ``x``.
    """

    schedule: Schedule

    @abstractmethod
    def __call__(self, x: Tensor, t: Time) -> Tensor:
        """The predicted noise, of the shape of x."""

    def denoised(self, x: Tensor, t: Time) -> Tensor:
        r"""The predicted clean point :math:`(x - \sigma_t \hat\varepsilon) / \alpha_t`
        (thesis eq. 3.37). Overridden where it can be had without dividing by alpha_t."""
        alpha, sigma = _amplitudes(self.schedule, x, t)
        return (x - sigma * self(x, t)) / alpha


class ExactPredictor(NoisePredictor):
    """The best possible noise predictor for data drawn from a Gaussian mixture."""

    def __init__(self, mixture: GaussianMixture, schedule: Schedule):
        self.mixture, self.schedule = mixture, schedule

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        return self.mixture.noise_mean(x, self.schedule.alpha_bar_at(t))

    def denoised(self, x: Tensor, t: Time) -> Tensor:
        return self.mixture.posterior_mean(x, self.schedule.alpha_bar_at(t))

    def prior(self) -> GaussianMixture:
        """The true law of x_T, in whose place samplers usually take N(0, I)."""
        return self.mixture.diffused(self.schedule.alpha_bar[-1])


class EmpiricalPredictor(NoisePredictor):
    r"""The best noise predictor for a finite data set, each point equally likely.

    :math:`\hat x_0 = \sum_i r_i(x) x^{(i)}` with
    :math:`r \propto \exp(-\|x - \alpha_t x^{(i)}\|^2 / 2 \sigma_t^2)`: what an infinitely
    flexible network would learn, and a sampler that can only reproduce the data.

    Args:
        points: shape (N, *d).
    """

    def __init__(self, points: Tensor, schedule: Schedule):
        require(
            points.ndim >= 2 and len(points) >= 1,
            f"points have shape {tuple(points.shape)}; expected (N, *d) with N >= 1",
        )
        require_points(points.flatten(1), name="points")
        self.points, self.schedule = points, schedule

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        alpha, sigma = _amplitudes(self.schedule, x, t)
        return (x - alpha * self.denoised(x, t)) / sigma

    def denoised(self, x: Tensor, t: Time) -> Tensor:
        flat, data = x.flatten(1), self.points.flatten(1).to(x)
        require_points(flat, data.shape[1])
        alpha, sigma = _amplitudes(self.schedule, flat, t)
        # |x - alpha x_i|^2 without the term that is the same for all i
        squares = alpha**2 * (data**2).sum(1) - 2 * alpha * flat @ data.T
        return (torch.softmax(-squares / (2 * sigma**2), 1) @ data).reshape(x.shape)


class NetworkPredictor(NoisePredictor):
    r"""A network as a noise predictor.

    Args:
        network: a module called with x of shape (B, *d) and t/T of shape (B,) in (0, 1], and, if
            it is conditional, the labels. Times are rounded to the whole numbers that it was
            trained on, and x is handed over in the network's own type.
        prediction: what the network answers with: the noise, ``"eps"``, or ``"v"``,
            :math:`v = \alpha_t \varepsilon - \sigma_t x_0` (Salimans & Ho 2022, section 4), from
            which the clean point :math:`\alpha_t x - \sigma_t v` follows without a division.
        labels: for a conditional network, what it is told; see :meth:`given`.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction: str = "eps",
        labels: Mapping[str, int | Tensor] | None = None,
    ):
        require(prediction in PREDICTIONS, unknown_name("prediction", prediction, PREDICTIONS))
        self.network, self.schedule, self.prediction = network, schedule, prediction
        self.labels = dict(labels or {})

    def given(self, labels: Mapping[str, int | Tensor]) -> NetworkPredictor:
        """The predictor of the images with these labels, of a conditional network.

        Args:
            labels: the class of each attribute, a whole number for all images or one for each,
                shape (B,), as in ``{"smile": 1}``. Attributes that are left out stay free.

        Raises:
            ValueError: if the network is not conditional, for an attribute that it does not know
                and for a class out of range.
        """
        known = getattr(self.network, "labels", {})
        require(bool(known), "this network was not trained with labels; use it without given()")
        for name, value in labels.items():
            require(name in known, unknown_name("label", name, known))
            value = torch.as_tensor(value)
            require(
                not value.is_floating_point()
                and value.ndim <= 1
                and bool(((value >= -1) & (value < known[name])).all()),
                f"label {name} is {value.tolist()}; expected whole numbers from 0 to "
                f"{known[name] - 1}, one or one for each image (-1: not said)",
            )
        return NetworkPredictor(self.network, self.schedule, self.prediction, labels)

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        output = self._output(x, t)
        if self.prediction == "eps":
            return output
        alpha, sigma = _amplitudes(self.schedule, x, t)
        return alpha * output + sigma * x

    def denoised(self, x: Tensor, t: Time) -> Tensor:
        if self.prediction == "eps":
            return super().denoised(x, t)
        alpha, sigma = _amplitudes(self.schedule, x, t)
        return alpha * x - sigma * self._output(x, t)

    def _output(self, x: Tensor, t: Time) -> Tensor:
        weight = next(self.network.parameters())
        t = torch.as_tensor(t, dtype=torch.float64)
        require(
            bool(((t > 0) & (t <= self.schedule.T)).all()),
            f"t runs from {t.min():.6g} to {t.max():.6g}; "
            f"expected 0 < t <= T = {self.schedule.T}",
        )
        share = t.round().clamp(min=1) / self.schedule.T
        share = share.to(weight.device, weight.dtype).expand(len(x))
        inputs = [x.to(weight.device, weight.dtype), share]
        if self.labels:
            inputs.append(
                {
                    name: torch.as_tensor(value, device=weight.device).expand(len(x))
                    for name, value in self.labels.items()
                }
            )
        return self.network(*inputs).to(x.device, x.dtype)


class _FunctionPredictor(NoisePredictor):
    def __init__(self, function: Callable[[Tensor, Time], Tensor], schedule: Schedule):
        self.function, self.schedule = function, schedule

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        return self.function(x, t)


def as_predictor(
    function: Callable[[Tensor, Time], Tensor], schedule: Schedule
) -> NoisePredictor:
    """Lift any function ``(x, t) -> eps``, a model of another library say, to a predictor."""
    return _FunctionPredictor(function, schedule)


def score(predictor: NoisePredictor, x: Tensor, t: Time) -> Tensor:
    r"""Score :math:`\nabla \log p_t(x) = -\hat\varepsilon / \sigma_t`, of the shape of x."""
    return -predictor(x, t) / _amplitudes(predictor.schedule, x, t)[1]


def velocity(predictor: NoisePredictor, x: Tensor, t: Time) -> Tensor:
    r"""Velocity :math:`v = \alpha_t \hat\varepsilon - \sigma_t \hat x_0`, of the shape of x."""
    alpha, sigma = _amplitudes(predictor.schedule, x, t)
    return alpha * predictor(x, t) - sigma * predictor.denoised(x, t)
