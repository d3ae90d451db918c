r"""Guidance: denoisers that are steered toward a class, or toward a reference.

With a weight w, the expected clean point given noise is replaced by

.. math:: \hat x_0^w = \hat x_0 + w\, \frac{\sigma_t^2}{\alpha_t} \nabla \log p(y \mid x_t)
                     = (1 - w)\, \hat x_0 + w\, \hat x_0^y ,

where y is the class and :math:`\hat x_0^y = E[x_0 \mid x_t, y]`. The first form asks a classifier
of noisy points (Dhariwal & Nichol 2021, algorithm 2), the second two denoisers (Ho & Salimans
2022, eq. 6, whose weight is w - 1). For exact denoisers and an exact classifier they are the same
by Bayes' rule. The law is that of all classes at w = 0 and that of the class at w = 1. In
:math:`z = x_t / \sigma_t, r = \alpha_t / \sigma_t` deterministic samplers follow
:math:`dz/dr = \hat x_0^w`: a combination of two posterior means.

What is wrapped and what wraps it are denoisers, so that every sampler and every flow takes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from diffot.denoisers.denoiser import Denoiser, amplitudes, levels
from diffot.denoisers.network import NetworkDenoiser
from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_batch,
    require_points,
    require_tensor,
    require_type,
)
from diffot.laws.law import beside
from diffot.laws.mixtures import GaussianMixture
from diffot.processes.schedules import Schedule, Time

LogPotential = Callable[[Tensor, Time], Tensor]  # of noisy points (B, *d) and times, shape (B,)

_ONE = "a Denoiser; as_denoiser makes one"


class GuidedDenoiser(Denoiser):
    r"""Classifier-free guidance: :math:`(1 - w)\, \hat x_0 + w\, \hat x_0^y`.

    (Ho & Salimans 2022, eq. 6; Su & Yang 2025, eq. 9.24; their weight is w - 1.)

    Args:
        unconditional: of the whole law, :math:`\hat x_0`.
        conditional: of the class, :math:`\hat x_0^y`, with the same schedule.
        weight: w, any finite number; 0 is the first denoiser, 1 the second.

    Raises:
        TypeError, ValueError: for other arguments, or schedules that differ.
    """

    def __init__(self, unconditional: Denoiser, conditional: Denoiser, weight: float):
        missing = "; a network has one if labels were left out in training (label_dropout)"
        require_type(unconditional, Denoiser, "unconditional", _ONE + missing)
        require_type(conditional, Denoiser, "conditional", _ONE)
        _require_same_schedule(unconditional, conditional, ("unconditional", "conditional"))
        self.weight = as_number(weight, "weight")
        self.unconditional, self.conditional = unconditional, conditional
        self.schedule = unconditional.schedule

    def denoise(self, x: Tensor, t: Time) -> Tensor:
        return self._combined(self.unconditional.denoise(x, t), self.conditional.denoise(x, t))

    def at(self, t: float) -> Callable[[Tensor], Tensor]:
        free, told = self.unconditional.at(t), self.conditional.at(t)
        return lambda x: self._combined(free(x), told(x))

    def noise(self, x: Tensor, t: Time) -> Tensor:
        require_tensor(x, "x")
        return self._combined(self.unconditional.noise(x, t), self.conditional.noise(x, t))

    def _combined(self, free: Tensor, told: Tensor) -> Tensor:
        return (1 - self.weight) * free + self.weight * told


def classifier_free(
    denoiser: NetworkDenoiser, labels: Mapping[str, int | Tensor], weight: float
) -> GuidedDenoiser:
    """Classifier-free guidance of a conditional network toward labels.

    Args:
        denoiser: told no labels, which is the unconditional branch; see the recipe's
            ``label_dropout``.
        labels: as in :meth:`~diffot.denoisers.network.NetworkDenoiser.condition`.
        weight: see :class:`GuidedDenoiser`.

    Raises:
        TypeError, ValueError: for another denoiser, one that is told labels already, or labels
            and classes that do not exist.
    """
    wanted = "a NetworkDenoiser, such as of registry.load"
    require_type(denoiser, NetworkDenoiser, "denoiser", wanted)
    require(
        not denoiser.labels,
        f"denoiser is told {', '.join(denoiser.labels)} already, which leaves no unconditional "
        "branch; expected the one that is told nothing",
    )
    return GuidedDenoiser(denoiser, denoiser.condition(labels), weight)


class GradientGuidedDenoiser(Denoiser):
    r"""Guidance along a gradient: :math:`\hat\varepsilon - w\, \sigma_t \nabla s(x_t, t)`.

    With :math:`s = \log p(y \mid x_t)` this is classifier guidance (Su & Yang 2025, eq. 9.19, for
    w = 1); with any other s, such as the similarity to a reference, it is similarity guidance
    (Liu et al. 2023).

    Args:
        denoiser: what is guided.
        potential: s, a function of points (B, *d) and times that gives one number for each
            point, shape (B,), differentiable by autograd. :func:`exact_classifier`,
            :func:`class_log_probability` and :func:`at_clean_point` make some.
        weight: w, any finite number.

    The clean point is :math:`\hat x_0 + w\, \sigma_t^2 \nabla s / \alpha_t`, which has no value
    where nothing is left of the data: at T of a rectified schedule samplers start a little later.

    Raises:
        TypeError, ValueError: for other arguments; of the methods, for a potential that answers
            with another shape, and where alpha is 0.
    """

    def __init__(self, denoiser: Denoiser, potential: LogPotential, weight: float):
        require_type(denoiser, Denoiser, "denoiser", _ONE)
        require_type(potential, Callable, "potential", "a function (x, t) -> numbers (B,)")
        self.weight = as_number(weight, "weight")
        self.denoiser, self.potential, self.schedule = denoiser, potential, denoiser.schedule

    def denoise(self, x: Tensor, t: Time) -> Tensor:
        alpha, sigma = levels(self.schedule, x, t)
        require(
            bool((alpha > 0).all()),
            "t is a time at which alpha is 0, where a potential has no clean point to tell of; "
            "expected an earlier one, such as 0.999 T",
        )
        push = beside(sigma**2 / alpha, x) * self._gradient(x, t)
        return self.denoiser.denoise(x, t) + self.weight * push

    def noise(self, x: Tensor, t: Time) -> Tensor:
        _, sigma = amplitudes(self.schedule, x, t)
        return self.denoiser.noise(x, t) - self.weight * sigma * self._gradient(x, t)

    def _gradient(self, x: Tensor, t: Time) -> Tensor:
        """The gradient of s, of the shape of x; itself differentiable."""
        require_batch(x)

        def total(x: Tensor) -> Tensor:
            value = self.potential(x, t)
            require_tensor(value, "the answer of the potential", "numbers of shape (B,)")
            require(
                value.shape == x.shape[:1],
                f"the answer of the potential has shape {tuple(value.shape)} for {len(x)} "
                "points; expected (B,), one number for each",
            )
            return value.sum()

        return torch.func.grad(total)(x)


class IntervalDenoiser(Denoiser):
    r"""One denoiser in an interval of noise levels, another one outside of it.

    Guidance in a limited interval (Kynkäänniemi et al. 2024) is a guided denoiser inside
    and the conditional one outside.

    Args:
        inside: where :math:`\text{low} < \sigma_t / \alpha_t \le \text{high}`.
        outside: elsewhere, with the same schedule.
        low, high: of the noise level, at least 0, low below high; high may be infinite.

    Raises:
        TypeError, ValueError: for other arguments, or schedules that differ.
    """

    def __init__(self, inside: Denoiser, outside: Denoiser, low: float, high: float):
        require_type(inside, Denoiser, "inside", _ONE)
        require_type(outside, Denoiser, "outside", _ONE)
        _require_same_schedule(inside, outside, ("inside", "outside"))
        self.low = as_number(low, "low", at_least=0)
        endless = isinstance(high, float) and high == math.inf
        self.high = high if endless else as_number(high, "high", above=self.low)
        self.inside, self.outside, self.schedule = inside, outside, inside.schedule

    def denoise(self, x: Tensor, t: Time) -> Tensor:
        return self._chosen(lambda denoiser: denoiser.denoise(x, t), x, t)

    def noise(self, x: Tensor, t: Time) -> Tensor:
        return self._chosen(lambda denoiser: denoiser.noise(x, t), x, t)

    def _chosen(self, answer: Callable[[Denoiser], Tensor], x: Tensor, t: Time) -> Tensor:
        alpha, sigma = levels(self.schedule, x, t)
        guided = (sigma / alpha > self.low) & (sigma / alpha <= self.high)
        if bool(guided.all()):
            return answer(self.inside)
        if not bool(guided.any()):
            return answer(self.outside)
        return torch.where(beside(guided, x).bool(), answer(self.inside), answer(self.outside))


def conditional_law(law: GaussianMixture, components: Sequence[int]) -> GaussianMixture:
    """The law of the points that some components of a mixture have drawn: a class.

    Args:
        components: their indices, from 0; at least one, none of them twice.

    Raises:
        TypeError, ValueError: for another law, or components that do not exist.
    """
    require_type(law, GaussianMixture, "law", "a GaussianMixture")
    chosen = _as_components(law, components)
    weights = law.weights[chosen]
    return GaussianMixture(weights / weights.sum(), law.means[chosen], law.covariances[chosen])


def exact_classifier(
    law: GaussianMixture, schedule: Schedule, components: Sequence[int]
) -> LogPotential:
    r"""The log probability :math:`\log p(y \mid x_t)` that a noisy point is one of a class.

    Args:
        law: the mixture. components: those of the class; see :func:`conditional_law`.
        schedule: of the noise.

    Returns:
        For :class:`GradientGuidedDenoiser`, a function of points (B, d) and times.
    """
    part = conditional_law(law, components)
    require_type(schedule, Schedule, "schedule", "a Schedule")
    prior = law.weights[_as_components(law, components)].sum().log()

    def log_probability(x: Tensor, t: Time) -> Tensor:
        require_points(x, law.dim)
        amplitude = levels(schedule, x, t)
        return prior.to(x) + part.log_prob(x, *amplitude) - law.log_prob(x, *amplitude)

    return log_probability


def class_log_probability(
    classifier: Callable[[Tensor, Time], Tensor], index: int
) -> LogPotential:
    """The log probability of a class by a trained classifier of noisy points.

    Args:
        classifier: called with points (B, *d) and times, answers with logits (B, K).
        index: of the class, from 0.

    Raises:
        TypeError, ValueError: for other arguments; of the function that is returned, if the
            classifier knows no such class, or answers with another shape.
    """
    require_type(classifier, Callable, "classifier", "a function (x, t) -> logits (B, K)")
    index = as_whole_number(index, "index", least=0)

    def log_probability(x: Tensor, t: Time) -> Tensor:
        require_batch(x)
        logits = classifier(x, t)
        require_tensor(logits, "the answer of the classifier", "logits of shape (B, K)")
        require(
            logits.ndim == 2 and len(logits) == len(x),
            f"the answer of the classifier has shape {tuple(logits.shape)} for {len(x)} points; "
            "expected logits of shape (B, K)",
        )
        require(
            index < logits.shape[1],
            f"index is {index}; the classifier knows the classes 0 to {logits.shape[1] - 1}",
        )
        return torch.log_softmax(logits, 1)[:, index]

    return log_probability


def at_clean_point(denoiser: Denoiser, potential: Callable[[Tensor], Tensor]) -> LogPotential:
    r"""A function of clean points, asked at the expected one: :math:`s(\hat x_0(x_t))`.

    So a classifier that has seen no noise can guide (Bansal et al. 2023; Su & Yang 2025,
    eq. 9.7). The gradient goes through the denoiser. It is that of
    :math:`\log E[e^{s(x_0)} \mid x_t]` only as far as s is linear where the clean point may be.

    Args:
        denoiser: differentiable by autograd.
        potential: a function of points (B, *d) with one number for each, shape (B,).
    """
    require_type(denoiser, Denoiser, "denoiser", _ONE)
    require_type(potential, Callable, "potential", "a function of points, with numbers (B,)")
    return lambda x, t: potential(denoiser.denoise(x, t))


def cosine_similarity(
    encode: Callable[[Tensor], Tensor], reference: Tensor
) -> Callable[[Tensor], Tensor]:
    r"""The cosine of the angle between the features of points and those of a reference.

    :math:`E(x) \cdot E(y) / (\|E(x)\| \|E(y)\|)` (Su & Yang 2025, eq. 9.15).

    Args:
        encode: the features of points (B, *d), shape (B, F), none of them all zero.
        reference: one point for all, (1, *d), or one for each, (B, *d).

    Returns:
        A function of points with numbers in [-1, 1], shape (B,); see :func:`at_clean_point`.
    """
    require_type(encode, Callable, "encode", "a function of points, with features (B, F)")
    require_batch(reference, "reference")
    with torch.no_grad():
        wanted = encode(reference)
    require_points(wanted, name="the answer of encode")

    def similarity(x: Tensor) -> Tensor:
        require(
            len(reference) in (1, len(x)),
            f"reference holds {len(reference)} points for {len(x)}; expected one, or one each",
        )
        return torch.cosine_similarity(encode(x), wanted, dim=1)

    return similarity


def _as_components(law: GaussianMixture, components: Sequence[int]) -> list[int]:
    require_type(components, (list, tuple), "components", "a list of indices of components")
    most = len(law.weights) - 1
    chosen = [
        as_whole_number(k, "an index in components", least=0, most=most) for k in components
    ]
    require(
        0 < len(chosen) == len(set(chosen)),
        f"components is {components}; expected at least one index, and none twice",
    )
    return chosen


def _require_same_schedule(first: Denoiser, second: Denoiser, names: tuple[str, str]) -> None:
    one, other = first.schedule, second.schedule
    if one is other:
        return
    times = [share * float(one.T) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    same = float(one.T) == float(other.T) and all(
        torch.equal(a, b) for t in times for a, b in zip(one.levels(t), other.levels(t))
    )
    require(
        same, f"{names[0]} and {names[1]} have different schedules; expected the same for both"
    )
