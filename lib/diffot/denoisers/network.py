"""Networks, and functions of any kind, as denoisers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffot.denoisers.denoiser import Denoiser, noisy_levels, require_noise
from diffot.denoisers.parametrization import PARAMETRIZATIONS, Parametrization
from diffot.errors import (
    as_classes,
    as_number,
    as_tensor,
    as_whole_number,
    require,
    require_batch,
    require_known,
    require_type,
)
from diffot.laws.law import beside
from diffot.processes.schedules import Schedule, Time


class _Answering(Denoiser):
    """What answers in a parametrization."""

    parametrization: Parametrization

    @abstractmethod
    def _answer(self, x: Tensor, t: Time, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The answer at x, of its shape and type."""

    def denoise(self, x: Tensor, t: Time) -> Tensor:
        return self._read(self.parametrization.clean, x, t)

    def noise(self, x: Tensor, t: Time) -> Tensor:
        return self._read(self.parametrization.noise, x, t)

    def _read(self, reading: Callable, x: Tensor, t: Time) -> Tensor:
        alpha, sigma = noisy_levels(self.schedule, x, t)
        require_batch(x)
        output = self._answer(x, t, alpha, sigma)
        of_x, of_output = reading(self.schedule, t, alpha, sigma)
        return beside(of_x, x) * x + beside(of_output, x) * output


class NetworkDenoiser(_Answering):
    r"""A network as a denoiser.

    Args:
        network: a module called with :math:`x / \sqrt{\alpha_t^2 + \sigma_t^2}`, shape (B, *d),
            the time as :meth:`~diffot.processes.schedules.Schedule.network_time` tells it, shape
            (B,), and, if it is conditional, the labels; all in the network's own type.
        parametrization: what the network answers with, a name in
            :data:`~diffot.denoisers.parametrization.PARAMETRIZATIONS`.
        labels: for a conditional network, the classes to draw; see :meth:`condition`.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        parametrization: str = "eps",
        labels: Mapping[str, int | Tensor] | None = None,
    ):
        require_type(network, nn.Module, "network", "a torch.nn.Module")
        require(
            next(network.parameters(), None) is not None,
            "network has no parameters, whose type and device x is given; use as_denoiser",
        )
        require_type(schedule, Schedule, "schedule", "a Schedule")
        require_known(parametrization, "parametrization", PARAMETRIZATIONS)
        self.network, self.schedule = network, schedule
        self.parametrization = PARAMETRIZATIONS[parametrization]
        self.labels = {} if labels is None else self._checked(labels)

    def condition(self, labels: Mapping[str, int | Tensor]) -> NetworkDenoiser:
        """The denoiser of the images with these labels, of a conditional network.

        Args:
            labels: the class of each attribute, a whole number for all images or one for each,
                shape (B,), as in ``{"smile": 1}``; truth values are the classes 0 and 1. -1 and
                attributes that are left out stay free.

        Raises:
            ValueError: if the network is not conditional, for an attribute that it does not know
                and for a class out of range.
        """
        require_type(labels, Mapping, "labels", "a dict such as {'smile': 1}")
        return NetworkDenoiser(self.network, self.schedule, self.parametrization.name, labels)

    def _checked(self, labels: Mapping[str, int | Tensor]) -> dict[str, Tensor]:
        """The labels as int64, of no dimension or of shape (B,)."""
        require_type(labels, Mapping, "labels", "a dict such as {'smile': 1}")
        counts = getattr(self.network, "labels", {})
        require(
            bool(counts),
            "labels are given, but the network was not trained with any; leave them out",
        )
        checked = {}
        for name, value in labels.items():
            require_known(name, "label", counts)
            value = torch.as_tensor(value) if isinstance(value, bool) else as_tensor(value, name)
            classes = as_classes(value.reshape(-1), f"label {name}")
            require(
                value.ndim <= 1 and bool(((classes >= -1) & (classes < counts[name])).all()),
                f"label {name} is {value.tolist()}; expected whole numbers from 0 to "
                f"{counts[name] - 1}, one or one for each image (-1: not said)",
            )
            checked[name] = classes.reshape(value.shape)
        return checked

    def at(self, t: float) -> Callable[[Tensor], Tensor]:
        alpha, sigma = self.schedule.levels(as_number(t, "t"))
        require_noise(self.schedule, sigma)
        scale, time = float(torch.hypot(alpha, sigma)), self._told(t)
        of_x, of_output = map(float, self.parametrization.clean(self.schedule, t, alpha, sigma))

        def denoise(x: Tensor) -> Tensor:
            require_batch(x)
            return torch.add(of_x * x, self._asked(x, scale, time), alpha=of_output)

        return denoise

    def _answer(self, x: Tensor, t: Time, alpha: Tensor, sigma: Tensor) -> Tensor:
        return self._asked(x, beside(torch.hypot(alpha, sigma), x), self._told(t))

    def _told(self, t: Time) -> Tensor:
        """A time as the network is told it, in its own type and on its device."""
        return self.schedule.network_time(t).to(next(self.network.parameters()))

    def _asked(self, x: Tensor, scale: float | Tensor, time: Tensor) -> Tensor:
        """What the network answers, in the type of x."""
        inputs: list[Any] = [(x / scale).to(time), time.expand(len(x))]
        if self.labels:
            inputs.append({name: self._expanded(name, x).to(time.device) for name in self.labels})
        output = self.network(*inputs)
        _require_answer(output, x, "network")
        return output.to(x)

    def _expanded(self, name: str, x: Tensor) -> Tensor:
        """The classes of a label, one for each point."""
        classes = self.labels[name]
        require(
            classes.ndim == 0 or len(classes) == len(x),
            f"label {name} has shape {tuple(classes.shape)} for {len(x)} points; expected one "
            "class, or one for each point",
        )
        return classes.expand(len(x)).to(next(self.network.parameters()).device)


class _FunctionDenoiser(_Answering):
    def __init__(
        self, function: Callable, schedule: Schedule, parametrization: Parametrization, first: int
    ):
        self.function, self.schedule, self.first = function, schedule, first
        self.parametrization = parametrization

    def _answer(self, x: Tensor, t: Time, alpha: Tensor, sigma: Tensor) -> Tensor:
        t = t if isinstance(t, (int, float)) else torch.as_tensor(t)
        output = self.function(x, t - 1 + self.first)
        _require_answer(output, x, "function")
        return output.to(x)


def as_denoiser(
    function: Callable[[Tensor, Time], Tensor],
    schedule: Schedule,
    parametrization: str = "eps",
    first: int = 1,
) -> Denoiser:
    r"""Lift any function ``(x, t) -> answer``, a model of another library say, to a denoiser.

    On a table, t runs over 1, ..., T: at t = 1 the data have seen one step of noise, and
    :math:`\bar\alpha_0 = 1`. Many libraries, diffusers among them, count the same levels from 0
    to T - 1, and a model of theirs asked at t would be told too much noise by one step.

    Args:
        function: called with x of shape (B, *d) and the time; returns its answer, of the shape of
            x. Samplers hand x over in float32 or float64, which a model in bfloat16 converts.
        parametrization: what it answers with, a name in
            :data:`~diffot.denoisers.parametrization.PARAMETRIZATIONS`: the noise, ``"eps"``.
        first: what the function calls the first noisy level: 1 as here, or 0.
    """
    require_type(function, Callable, "function", "a function (x, t) -> answer")
    require_type(schedule, Schedule, "schedule", "a Schedule")
    require_known(parametrization, "parametrization", PARAMETRIZATIONS)
    first = as_whole_number(first, "first", 0, 1)
    return _FunctionDenoiser(function, schedule, PARAMETRIZATIONS[parametrization], first)


def _require_answer(output: Any, x: Tensor, model: str) -> None:
    """Require one value for each of x, for others would be broadcast without a word."""
    require_type(output, Tensor, f"the answer of the {model}", "a tensor of the shape of x")
    if output.shape != x.shape:
        raise ValueError(
            f"the answer of the {model} has shape {tuple(output.shape)} for x of shape "
            f"{tuple(x.shape)}; expected the same"
        )
