"""A network at chosen steps of its training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from diffot.errors import as_whole_number, require, require_type


class Snapshots:
    """Keeps the weights that a training has after chosen numbers of steps.

    Both sets of them are kept, since they are different networks. The ``"network"`` is what the
    optimizer moves and what the loss is of; at a constant learning rate it goes on to jump about.
    The ``"average"`` is the moving average of its weights, which a training returns; it trails
    behind at first, and is smoother in the end. What is said along a training has to say of
    which of the two. Where the decay of the average is 0, they are the same.

    Args:
        steps: from 0, for the fresh network, to the number of iterations; strictly increasing.

    Attributes:
        weights: by step, the state dicts of the two networks, by the names above.

    Raises:
        TypeError: for anything but whole numbers. ValueError: if they do not increase from 0 on.
    """

    def __init__(self, steps: Sequence[int]):
        require_type(steps, (list, tuple, range), "steps", "a list of whole numbers")
        self.steps = tuple(as_whole_number(step, "one of the steps", least=0) for step in steps)
        require(
            all(a < b for a, b in zip(self.steps, self.steps[1:])),
            f"steps are {list(self.steps)}; expected them to increase strictly",
        )
        self.weights: dict[int, dict[str, dict]] = {}

    def require_within(self, iterations: int) -> None:
        """Require a training of so many steps to have those that are to be kept."""
        last = max(self.steps, default=0)
        require(
            last <= iterations,
            f"snapshots are to be kept up to step {last}, and training ends at {iterations}; "
            "choose earlier steps, or train for longer",
        )

    def record(self, step: int, network: nn.Module, average: nn.Module) -> None:
        """Keep copies of the weights, if the step is one of those chosen."""
        if step in self.steps:
            both = {"network": network, "average": average}
            self.weights[step] = {
                name: {key: value.detach().cpu().clone() for key, value in n.state_dict().items()}
                for name, n in both.items()
            }

    def state_dict(self) -> dict:
        """What is needed to go on: the weights kept so far."""
        return {"weights": dict(self.weights)}

    def load_state_dict(self, state: dict) -> None:
        """Go on from there."""
        self.weights = dict(state["weights"])
