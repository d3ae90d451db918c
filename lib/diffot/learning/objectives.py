r"""What training minimizes: the mean over examples of a loss, with what is random in it.

An :class:`Objective` first draws everything random for a whole batch and then gives the loss of
each example. The two are apart so that several processes draw the same and share the examples.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffot.denoisers.parametrization import PARAMETRIZATIONS
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_known,
    require_same_shape,
    require_type,
)
from diffot.laws.law import beside
from diffot.processes.schedules import Rectified, Schedule
from diffot.transport.assignment import optimal_assignment

Examples = tuple[Tensor, Mapping[str, Tensor]]  # points, shape (n, *d), and their labels
Inputs = Any  # nested tuples and dicts of tensors, each of shape (n, ...)

COUPLINGS = ("independent", "optimal")
LEVELS = 10  # of noise, equal stretches of time, whose losses are recorded apart


class Objective(ABC):
    """A loss for each example of a batch."""

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        """The examples with whatever random is drawn for them."""
        return examples

    @abstractmethod
    def __call__(self, network: Any, inputs: Inputs) -> Tensor:
        """The losses of examples that were prepared, shape (n,), float32."""

    def new_sums(self) -> Tensor:
        """Zeros, shape (2, groups): what :meth:`add` adds losses and their numbers to."""
        return torch.zeros(2, 1, dtype=torch.float64)

    def add(self, sums: Tensor, inputs: Inputs, losses: Tensor) -> None:
        """Add the losses of a batch to those of batches before; by default its mean, once."""
        sums += torch.stack([losses.mean(), losses.new_ones(())])[:, None]

    def record(self, sums: list[list[float]]) -> dict[str, float | None]:
        """What is recorded of such sums, ``loss`` at least."""
        totals, counts = sums
        return {"loss": sum(totals) / sum(counts)}


class DenoisingLoss(Objective):
    r"""How well a network finds the noise in noisy data (Ho et al. 2020, algorithm 1; thesis
    algorithm 1), or another of its parametrizations.

    The loss of :math:`x_0` is :math:`\|\varepsilon - \varepsilon_\theta(\alpha_t x_0 + \sigma_t
    \varepsilon, t)\|^2 / d` with :math:`\varepsilon \sim N(0, I)` and t from the schedule's
    ``draw_times`` (Ho et al. 2020, eq. 14; thesis eq. 3.42; without its factor, Su & Yang 2025,
    eq. 5.23); for other predictions with their target in the place of the noise. With
    ``"flow"`` on a :class:`~diffot.processes.schedules.Rectified` schedule this is flow matching
    (Lipman et al. 2023, eq. 23). Networks are called as
    :class:`~diffot.denoisers.network.NetworkDenoiser` calls them. Recorded are the mean loss and,
    as ``level_1`` to ``level_10``, that of each tenth of the network's time, None where none was
    drawn.

    Args:
        prediction: what the network learns to answer with, a name in
            :data:`~diffot.denoisers.parametrization.PARAMETRIZATIONS`.
        coupling: which noise goes with which data: ``"independent"``; or ``"optimal"``, the same
            noise dealt out within each batch so that the mean squared distance of data and noise
            is least (Pooladian et al. 2023, section 4; Tong et al. 2024, section 4.2). Then
            what the network learns is no score of the data.
        label_dropout: probability with which an example hides all its labels, and with which it
            hides each, so that a conditional network also learns to do without.

    Raises:
        TypeError: for values of other types. ValueError: for values out of range, and if the
            network's answers have another shape than the data.
    """

    def __init__(
        self,
        schedule: Schedule,
        prediction: str = "eps",
        label_dropout: float = 0.0,
        coupling: str = "independent",
    ) -> None:
        require_type(schedule, Schedule, "schedule", "a Schedule")
        require_known(prediction, "prediction", PARAMETRIZATIONS)
        require_known(coupling, "coupling", COUPLINGS)
        self.schedule, self.prediction, self.coupling = schedule, prediction, coupling
        self.label_dropout = as_number(label_dropout, "label_dropout", at_least=0, below=1)

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        x_0, labels = examples
        labels = self._partly_hidden(labels, len(x_0), generator)
        t = self.schedule.draw_times(len(x_0), generator)
        eps = torch.randn(x_0.shape, generator=generator)
        if self.coupling == "optimal":
            eps = _dealt(x_0, eps)
        return self._inputs(x_0, eps, t, labels)

    def _inputs(self, x_0: Tensor, eps: Tensor, t: Tensor, labels: Mapping) -> Inputs:
        """What the network is shown, and is to answer."""
        levels = self.schedule.levels(t)
        alpha, sigma = (beside(level, x_0) for level in levels)
        time = self.schedule.network_time(t)
        target = PARAMETRIZATIONS[self.prediction].target(self.schedule, x_0, eps, t)
        return {
            "x": (alpha * x_0 + sigma * eps) / beside(torch.hypot(*levels), x_0),
            "time": time.float(),
            "labels": labels,
            "target": target,
            # rounding must not lead over the upper end of a stretch
            "level": (time * LEVELS - 1e-9).long().clamp(max=LEVELS - 1),
        }

    def __call__(self, network: nn.Module, inputs: Inputs) -> Tensor:
        labels = [inputs["labels"]] if inputs["labels"] else []
        output = network(inputs["x"], inputs["time"], *labels).float()
        target = inputs["target"]
        require_same_shape(output, target, ("what the network answers", "the training data"))
        return (output - target).square().flatten(1).mean(1)

    def new_sums(self) -> Tensor:
        return torch.zeros(2, LEVELS)

    def add(self, sums: Tensor, inputs: Inputs, losses: Tensor) -> None:
        sums.index_add_(1, inputs["level"], torch.stack([losses, torch.ones_like(losses)]))

    def record(self, sums: list[list[float]]) -> dict[str, float | None]:
        levels = {
            f"level_{i + 1}": total / count if count else None
            for i, (total, count) in enumerate(zip(*sums))
        }
        return {**super().record(sums), **levels}

    def _partly_hidden(
        self, labels: Mapping[str, Tensor], n: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The labels, some of them -1."""

        def chosen() -> Tensor:
            return torch.rand(n, generator=generator) < self.label_dropout

        if not labels:
            return {}
        all_hidden = chosen()
        hidden = {name: all_hidden | chosen() for name in labels}
        return {name: values.masked_fill(hidden[name], -1) for name, values in labels.items()}


class FlowMatchingLoss(DenoisingLoss):
    r"""How well a network finds the velocity along straight lines between pairs of points.

    The loss of a pair of a data point :math:`x_0` and its latent :math:`\varepsilon` is
    :math:`\|\varepsilon - x_0 - v_\theta((1 - t) x_0 + t \varepsilon, t)\|^2 / d`, t being
    uniform (Liu et al. 2023, eq. 1; Lipman et al. 2023, eq. 23, with
    :math:`\sigma_{\min} = 0`; Su & Yang 2025, eq. 15.15). Latents may have any law and depend on
    the data in any way: independent pairs of noise and data give :class:`DenoisingLoss` on a
    :class:`~diffot.processes.schedules.Rectified` schedule, pairs of latents and their points
    under a map its reflow (Liu et al. 2023, section 2.1). What is learned is read as a
    :class:`~diffot.denoisers.network.NetworkDenoiser` on that schedule with the parametrization
    ``"flow"``. Examples are pairs, shape (n, 2, *d): the data point, then the latent.

    Args:
        group: number of pairs in a batch among which the latents are dealt out anew, so that
            the mean squared distance is least (Pooladian et al. 2023; Tong et al. 2024);
            it must divide the size of the batch. With 1 the pairs are left
            as they are.

    Raises:
        TypeError, ValueError: for another group, and for examples that are no pairs.
    """

    def __init__(self, group: int = 1) -> None:
        super().__init__(Rectified(), "flow")
        self.group = as_whole_number(group, "group", least=1)

    def prepare(self, examples: Examples, generator: torch.Generator) -> Inputs:
        pairs, labels = examples
        require(
            pairs.ndim >= 3 and pairs.shape[1] == 2,
            f"the training data has shape {tuple(pairs.shape)}; expected (n, 2, *d): pairs of a "
            "data point and its latent",
        )
        n = len(pairs)
        require(
            n % self.group == 0,
            f"group is {self.group} for a batch of {n} pairs; expected a number that divides it",
        )
        t = self.schedule.draw_times(n, generator)
        x_0, eps = pairs[:, 0], pairs[:, 1]
        if self.group > 1:
            eps = torch.cat([_dealt(*both) for both in zip(*self._groups(x_0, eps))])
        return self._inputs(x_0, eps, t, dict(labels))

    def _groups(self, *points: Tensor) -> list[tuple[Tensor, ...]]:
        return [part.split(self.group) for part in points]


def _dealt(x_0: Tensor, eps: Tensor) -> Tensor:
    """The latents in the order that is nearest to the data."""
    return eps[optimal_assignment(x_0.flatten(1), eps.flatten(1))]


class BestWeights:
    """Keeps the weights with the lowest validation loss among those of all records.

    Args:
        loss: the validation loss of a network.
    """

    def __init__(self, loss: Callable[[Any], float]):
        self._loss, self._least = loss, math.inf
        self.weights: Any = None  # as a state_dict

    def record(self, network: nn.Module) -> dict[str, float]:
        """Look at a network; returns its loss, to be recorded."""
        with torch.no_grad():
            loss = self._loss(network)
        if loss < self._least:
            self._least, self.weights = loss, copy.deepcopy(network.state_dict())
        return {"validation_loss": loss}

    def state_dict(self) -> dict:
        """What is needed to go on."""
        return {"least": self._least, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        """Go on from there."""
        self._least, self.weights = state["least"], state["weights"]
