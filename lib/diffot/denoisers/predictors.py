r"""Noise predictors: the one interface between data laws, networks and samplers.

A noise predictor estimates the noise in :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`,
:math:`\alpha_t = \sqrt{\bar\alpha_t}`, :math:`\sigma_t = \sqrt{1 - \bar\alpha_t}`. The best one
is :math:`E[\varepsilon \mid x_t]`. Noise, denoised point, score and velocity are four readings of
the same quantity:

.. math:: \hat\varepsilon = \frac{x - \alpha_t \hat x_0}{\sigma_t}, \quad
          \nabla \log p_t(x) = -\frac{\hat\varepsilon}{\sigma_t}, \quad
          v = \alpha_t \hat\varepsilon - \sigma_t \hat x_0

(Ho et al. 2020, eq. 15; Song et al. 2021b, eq. 4; Salimans & Ho 2022, section 4). At t = 0, where
x has no noise, asking for noise, score or velocity is an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from diffot.errors import (
    as_classes,
    as_tensor,
    as_whole_number,
    require,
    require_batch,
    require_known,
    require_tensor,
    require_type,
)
from diffot.laws.mixtures import GaussianMixture
from diffot.processes.schedules import Schedule, Time

PREDICTIONS = ("eps", "v")


def _signal(schedule: Schedule, x: Tensor, t: Time) -> Tensor:
    """alpha_bar_t, of no dimension or of shape (B,)."""
    require_tensor(x, "x")
    alpha_bar = schedule.alpha_bar_at(t)
    if alpha_bar.ndim and alpha_bar.shape != x.shape[:1]:
        raise ValueError(
            f"t has shape {tuple(alpha_bar.shape)} for {len(x)} points; "
            "expected one time, or one for each point"
        )
    return alpha_bar


def _noisy_signal(schedule: Schedule, x: Tensor, t: Time) -> Tensor:
    """The same, at times that have noise."""
    alpha_bar = _signal(schedule, x, t)
    require(
        float(alpha_bar.max()) < 1,
        "t is 0, where there is no noise to be told from the data; "
        f"expected 0 < t <= T = {schedule.T}",
    )
    return alpha_bar


def _amplitudes(alpha_bar: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t, shaped to multiply x of shape (B, *d)."""
    alpha_bar = alpha_bar.to(x.device)
    if alpha_bar.ndim:
        alpha_bar = alpha_bar.reshape(-1, *[1] * (x.ndim - 1))
    return alpha_bar.sqrt().to(x.dtype), (1 - alpha_bar).sqrt().to(x.dtype)


def _require_answer(eps: object, x: Tensor, model: str) -> None:
    """Require one value for each of x, for others would be broadcast without a word."""
    require_type(eps, Tensor, f"the answer of the {model}", "a tensor of the shape of x")
    if eps.shape != x.shape:
        raise ValueError(
            f"the answer of the {model} has shape {tuple(eps.shape)} for x of shape "
            f"{tuple(x.shape)}; expected the same"
        )


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
        alpha, sigma = _amplitudes(_noisy_signal(self.schedule, x, t), x)
        return (x - sigma * self(x, t)) / alpha


class ExactPredictor(NoisePredictor):
    """The best possible noise predictor for data drawn from a Gaussian mixture.

    The denoised point at t = 0 is x itself.
    """

    def __init__(self, mixture: GaussianMixture, schedule: Schedule):
        require_type(mixture, GaussianMixture, "mixture", "a GaussianMixture")
        require_type(schedule, Schedule, "schedule", "a Schedule")
        self.mixture, self.schedule = mixture, schedule

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        return self.mixture.noise_mean(x, _noisy_signal(self.schedule, x, t))

    def denoised(self, x: Tensor, t: Time) -> Tensor:
        return self.mixture.posterior_mean(x, _signal(self.schedule, x, t))

    def prior(self) -> GaussianMixture:
        """The true law of x_T, in whose place samplers usually take N(0, I)."""
        return self.mixture.marginal(self.schedule.alpha_bar[-1])


class EmpiricalPredictor(NoisePredictor):
    r"""The best noise predictor for a finite data set, each point equally likely.

    :math:`\hat x_0 = \sum_i r_i(x) x^{(i)}` with
    :math:`r \propto \exp(-\|x - \alpha_t x^{(i)}\|^2 / 2 \sigma_t^2)`: what an infinitely
    flexible network would learn, and a sampler that can only reproduce the data. Computed in
    float64 about the mean of the points. There is no answer at t = 0, where only the points
    themselves have a probability.

    Args:
        points: shape (N, *d).
    """

    def __init__(self, points: Tensor, schedule: Schedule):
        require_batch(points, "points", "(N, *d)")
        require(
            len(points) >= 1,
            f"points has shape {tuple(points.shape)}; expected (N, *d) with N >= 1",
        )
        require_type(schedule, Schedule, "schedule", "a Schedule")
        self.points, self.schedule = points, schedule
        flat = points.flatten(1).double()
        self._mean = flat.mean(0)
        self._deviations = flat - self._mean

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        x_0, flat, alpha, sigma = self._posterior_mean(x, t)
        return ((flat - alpha * x_0) / sigma).reshape(x.shape).to(x)

    def denoised(self, x: Tensor, t: Time) -> Tensor:
        return self._posterior_mean(x, t)[0].reshape(x.shape).to(x)

    def _posterior_mean(self, x: Tensor, t: Time) -> tuple[Tensor, ...]:
        """The denoised points and x, float64 of shape (B, d), with alpha and sigma."""
        require_batch(x)
        require(
            x.shape[1:] == self.points.shape[1:],
            f"x has shape {tuple(x.shape)}; expected (B, *d) with "
            f"d = {tuple(self.points.shape[1:])}, the shape of the points",
        )
        flat = x.flatten(1).to(self._mean)
        alpha, sigma = _amplitudes(_noisy_signal(self.schedule, x, t), flat)
        # |x - alpha x_i|^2 without the term that is the same for all i
        deviations = self._deviations
        products = (flat - alpha * self._mean) @ deviations.T
        squares = alpha**2 * deviations.square().sum(1) - 2 * alpha * products
        x_0 = self._mean + torch.softmax(-squares / (2 * sigma**2), 1) @ deviations
        return x_0, flat, alpha, sigma


class NetworkPredictor(NoisePredictor):
    r"""A network as a noise predictor.

    Args:
        network: a module called with x of shape (B, *d) and t/T of shape (B,) in (0, 1], and, if
            it is conditional, the labels. Times are rounded to the whole numbers that it was
            trained on, and x is handed over in the network's own type.
        prediction: what the network answers with: the noise, ``"eps"``, or ``"v"``,
            :math:`v = \alpha_t \varepsilon - \sigma_t x_0` (Salimans & Ho 2022, section 4), from
            which the clean point :math:`\alpha_t x - \sigma_t v` follows without a division.
        labels: for a conditional network, what it is told; see :meth:`condition`.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction: str = "eps",
        labels: Mapping[str, int | Tensor] | None = None,
    ):
        require_type(network, nn.Module, "network", "a torch.nn.Module")
        require(
            next(network.parameters(), None) is not None,
            "network has no parameters, whose type and device x is given; use as_predictor",
        )
        require_type(schedule, Schedule, "schedule", "a Schedule")
        require_known(prediction, "prediction", PREDICTIONS)
        self.network, self.schedule, self.prediction = network, schedule, prediction
        self.labels = {} if labels is None else self._checked(labels)

    def condition(self, labels: Mapping[str, int | Tensor]) -> NetworkPredictor:
        """The predictor of the images with these labels, of a conditional network.

        Args:
            labels: the class of each attribute, a whole number for all images or one for each,
                shape (B,), as in ``{"smile": 1}``; truth values are the classes 0 and 1. -1 and
                attributes that are left out stay free.

        Raises:
            ValueError: if the network is not conditional, for an attribute that it does not know
                and for a class out of range.
        """
        require_type(labels, Mapping, "labels", "a dict such as {'smile': 1}")
        return NetworkPredictor(self.network, self.schedule, self.prediction, labels)

    def _checked(self, labels: Mapping[str, int | Tensor]) -> dict[str, Tensor]:
        """The labels as int64, of no dimension or of shape (B,)."""
        require_type(labels, Mapping, "labels", "a dict such as {'smile': 1}")
        known = getattr(self.network, "labels", {})
        require(
            bool(known),
            "labels are given, but the network was not trained with any; leave them out",
        )
        checked = {}
        for name, value in labels.items():
            require_known(name, "label", known)
            value = torch.as_tensor(value) if isinstance(value, bool) else as_tensor(value, name)
            classes = as_classes(value.reshape(-1), f"label {name}")
            require(
                value.ndim <= 1 and bool(((classes >= -1) & (classes < known[name])).all()),
                f"label {name} is {value.tolist()}; expected whole numbers from 0 to "
                f"{known[name] - 1}, one or one for each image (-1: not said)",
            )
            checked[name] = classes.reshape(value.shape)
        return checked

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        alpha_bar = _noisy_signal(self.schedule, x, t)
        output = self._output(x, t)
        if self.prediction == "eps":
            return output
        alpha, sigma = _amplitudes(alpha_bar, x)
        return alpha * output + sigma * x

    def denoised(self, x: Tensor, t: Time) -> Tensor:
        alpha, sigma = _amplitudes(_noisy_signal(self.schedule, x, t), x)
        output = self._output(x, t)
        if self.prediction == "eps":
            return (x - sigma * output) / alpha
        return alpha * x - sigma * output

    def _output(self, x: Tensor, t: Time) -> Tensor:
        """The answer of the network at times that are in range."""
        require_batch(x)
        weight = next(self.network.parameters())
        share = torch.as_tensor(t, dtype=torch.float64).round().clamp(min=1) / self.schedule.T
        share = share.to(weight.device, weight.dtype).expand(len(x))
        inputs = [x.to(weight.device, weight.dtype), share]
        if self.labels:
            for name, value in self.labels.items():
                require(
                    value.ndim == 0 or len(value) == len(x),
                    f"label {name} has shape {tuple(value.shape)} for {len(x)} points; expected "
                    "one class, or one for each point",
                )
            inputs.append(
                {
                    name: value.to(weight.device).expand(len(x))
                    for name, value in self.labels.items()
                }
            )
        output = self.network(*inputs)
        _require_answer(output, x, "network")
        return output.to(x.device, x.dtype)


class _FunctionPredictor(NoisePredictor):
    def __init__(
        self, function: Callable[[Tensor, Time], Tensor], schedule: Schedule, first: int
    ):
        self.function, self.schedule, self.first = function, schedule, first

    def __call__(self, x: Tensor, t: Time) -> Tensor:
        _noisy_signal(self.schedule, x, t)
        require_batch(x)
        t = t if isinstance(t, (int, float)) else torch.as_tensor(t)
        eps = self.function(x, t - 1 + self.first)
        _require_answer(eps, x, "function")
        return eps.to(x)


def as_predictor(
    function: Callable[[Tensor, Time], Tensor], schedule: Schedule, first: int = 1
) -> NoisePredictor:
    r"""Lift any function ``(x, t) -> eps``, a model of another library say, to a predictor.

    Here t runs over 1, ..., T: at t = 1 the data have seen one step of noise, and
    :math:`\bar\alpha_0 = 1`. Many libraries, diffusers among them, count the same levels from 0
    to T - 1, and a model of theirs asked at t would be told too much noise by one step.

    Args:
        function: called with x of shape (B, *d) and the time; returns the noise, of the shape of
            x. Samplers hand x over in float32 or float64, which a model in bfloat16 converts.
        first: what the function calls the first noisy level: 1 as here, or 0.
    """
    require_type(function, Callable, "function", "a function (x, t) -> eps")
    require_type(schedule, Schedule, "schedule", "a Schedule")
    return _FunctionPredictor(function, schedule, as_whole_number(first, "first", 0, 1))


def score(predictor: NoisePredictor, x: Tensor, t: Time) -> Tensor:
    r"""Score :math:`\nabla \log p_t(x) = -\hat\varepsilon / \sigma_t`, of the shape of x.

    Raises:
        ValueError: at t = 0, where this is 0 / 0.
    """
    require_type(predictor, NoisePredictor, "predictor", "a NoisePredictor")
    sigma = _amplitudes(_noisy_signal(predictor.schedule, x, t), x)[1]
    return -predictor(x, t) / sigma


def velocity(predictor: NoisePredictor, x: Tensor, t: Time) -> Tensor:
    r"""Velocity :math:`v = \alpha_t \hat\varepsilon - \sigma_t \hat x_0`, of the shape of x.

    Raises:
        ValueError: at t = 0, where there is no noise.
    """
    require_type(predictor, NoisePredictor, "predictor", "a NoisePredictor")
    alpha, sigma = _amplitudes(_noisy_signal(predictor.schedule, x, t), x)
    return alpha * predictor(x, t) - sigma * predictor.denoised(x, t)
