"""Deterministic samplers as maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from diffot.denoisers.denoiser import Denoiser
from diffot.errors import require_batch, require_type
from diffot.flows.maps import Map
from diffot.samplers.ddim import ddim, invert


class SampledMap(Map):
    """The map from latents to points that a sampler makes of a denoiser.

    Latents stand for N(0, I); the sampler starts from them times the schedule's
    :attr:`~diffot.processes.schedules.Schedule.prior_scale`. With ever more steps this is
    :class:`~diffot.flows.probability.ProbabilityFlow`.

    Args:
        denoiser: differentiable by autograd where Jacobians are wanted.
        steps: as in :func:`~diffot.samplers.ddim.ddim`, from T down to 0.
        sampler: any deterministic one, called as ``sampler(denoiser, x_T, steps)``.

    Raises:
        TypeError: for arguments of other types.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        steps: int | Sequence[float] = 30,
        sampler: Callable[[Denoiser, Tensor, int | Sequence[float]], Tensor] = ddim,
    ):
        require_type(denoiser, Denoiser, "denoiser", "a Denoiser; as_denoiser makes one")
        require_type(sampler, Callable, "sampler", "a sampler such as ddim or heun")
        self.denoiser, self.steps, self.sampler = denoiser, steps, sampler

    def decode(self, z: Tensor) -> Tensor:
        require_batch(z, "z")
        return self.sampler(self.denoiser, self.denoiser.schedule.prior_scale * z, self.steps)

    def encode(self, x: Tensor) -> Tensor:
        """The latents of points by DDIM inversion on the same times, whatever the sampler; the
        inverse of :meth:`decode` in the limit of many steps."""
        start = invert(self.denoiser, x, self.steps)
        return start / self.denoiser.schedule.prior_scale
