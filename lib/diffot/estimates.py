"""Estimates: a value and its error, and shares of a number of cases.

Wherever a number is estimated, it is an :class:`Estimate` or a :class:`Share`, and
:func:`columns` writes it into the row of a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from diffot.errors import (
    as_number,
    as_whole_number,
    require,
    require_array,
    require_generator,
    require_tensor,
    require_type,
)

GROUPS = 10  # of images, for the standard errors


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error over images."""

    value: float
    error: float


@dataclass(frozen=True)
class Share:
    """A share of a number of cases, with its 95 % interval (Wilson 1927).

    Of no cases, the share is NaN and the interval from 0 to 1.
    """

    value: float
    low: float
    high: float


def columns(name: str, estimate: object) -> dict[str, float]:
    """An estimate as columns of a row: ``NAME`` is its value, ``NAME_FIELD`` any other field.

    An :class:`Estimate` thus has ``NAME_error``, a :class:`Share` the ends of its interval in
    ``NAME_low`` and ``NAME_high``.

    Args:
        estimate: a dataclass of numbers, one of which is its ``value``.
    """
    require_type(name, str, "name", "the name of a column")
    fields = getattr(estimate, "__dict__", {})
    if "value" not in fields:
        raise TypeError(f"estimate is {estimate!r}; expected one with a value, as an Estimate")
    return {
        name if field == "value" else f"{name}_{field}": float(number)
        for field, number in fields.items()
    }


def mean(values: Tensor) -> Estimate:
    """Mean and standard error of numbers, shape (n,); NaN where there are too few of them."""
    require_tensor(values, "values", "a floating-point tensor of shape (n,)")
    require(values.ndim == 1, f"values has shape {tuple(values.shape)}; expected (n,)")
    n = len(values)
    return Estimate(
        float(values.mean()) if n else np.nan,
        float(values.std() / n**0.5) if n > 1 else np.nan,
    )


def share(cases: Tensor | np.ndarray) -> Share:
    """The share of cases that are true.

    Args:
        cases: truth values, shape (n,).
    """
    require_type(cases, (Tensor, np.ndarray), "cases", "a tensor of truth values")
    cases = np.asarray(cases)
    if cases.dtype != bool:
        raise TypeError(f"cases holds {cases.dtype}; expected truth values")
    require(cases.ndim == 1, f"cases has shape {cases.shape}; expected (n,)")
    n, hits = len(cases), int(cases.sum())
    if n == 0:
        return Share(np.nan, 0.0, 1.0)
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return Share(hits / n, float(interval.low), float(interval.high))


def share_error(share: float, n: float) -> float:
    r"""Standard error of a share p of n independent cases, :math:`\sqrt{p (1 - p) / n}`.

    Of none or all, which has the error 0, it is 1/n.

    Args:
        share: from 0 to 1.
        n: number of cases, at least 1; 20.0 will do, for rows of tables hold floats.
    """
    share, n = as_number(share, "share", at_least=0, at_most=1), as_number(n, "n", at_least=1)
    require(n.is_integer(), f"n is {n}; expected a whole number of cases")
    return max(share * (1 - share) / n, 1 / n**2) ** 0.5


def true_share(
    read: float, n: int, sensitivity: tuple[float, int], false_alarms: tuple[float, int]
) -> Estimate:
    r"""The share of cases that are so, from the share that is read so by an imperfect reader.

    With the share t of the cases that are so and f of those that are not which the reader says
    are, it reads q = t p + f (1 - p) in the mean, so that

    .. math:: p = \frac{q - f}{t - f}, \qquad \operatorname{var} p = \frac{\operatorname{var} q +
              p^2 \operatorname{var} t + (1 - p)^2 \operatorname{var} f}{(t - f)^2}

    (Rogan & Gladen 1978). It may lie outside of [0, 1] by a few errors. The reader
    is supposed to err on these cases as often as on those that t and f were measured on.

    Args:
        read: q, of so many cases n.
        sensitivity: t, and the number of cases that it was measured on.
        false_alarms: f, and their number.

    Raises:
        ValueError: for shares outside of [0, 1], and unless t is above f.
    """
    shares = {}
    for name, (value, count) in (
        ("read", (read, n)), ("sensitivity", sensitivity), ("false_alarms", false_alarms)
    ):  # fmt: skip
        value = as_number(value, name, at_least=0, at_most=1)
        shares[name] = value, share_error(value, count)
    (q, of_q), (t, of_t), (f, of_f) = shares.values()
    require(
        t > f,
        f"sensitivity is {t:.4g} and false_alarms {f:.4g}; expected the first to be larger, or "
        "the reader tells nothing",
    )
    p = (q - f) / (t - f)
    return Estimate(p, float(np.hypot(of_q, np.hypot(p * of_t, (1 - p) * of_f)) / (t - f)))


def root_mean(squares: Tensor) -> Estimate:
    r"""Root of the mean of squares, shape (n,): :math:`s / (2 \sqrt{n}\, \text{root})` is its
    standard error, with s the standard deviation of the squares (delta method)."""
    square = mean(squares)
    require(
        not square.value < 0, f"squares has the mean {square.value:.6g}; expected squared numbers"
    )
    root = square.value**0.5
    return Estimate(root, square.error / (2 * root) if root else square.error)


def quantile(values: Tensor, level: float = 0.5) -> Estimate:
    r"""A quantile of numbers, shape (n,), and half the way between those at
    :math:`q \pm \sqrt{q (1 - q) / n}`: where the number of values below it lies one standard
    deviation to either side (order statistics; Wilks 1948).

    Args:
        level: q, above 0 and below 1; the median by default.
    """
    require_tensor(values, "values", "a floating-point tensor of shape (n,)")
    require(
        values.ndim == 1 and len(values) > 0,
        f"values has shape {tuple(values.shape)}; expected (n,) with at least one value",
    )
    level = as_number(level, "level", above=0, below=1)
    away = (level * (1 - level) / len(values)) ** 0.5
    levels = torch.tensor([level - away, level, level + away], dtype=values.dtype).clamp(0, 1)
    low, middle, high = (float(q) for q in values.quantile(levels))
    return Estimate(middle, (high - low) / 2)


def bootstrap(
    statistic: Callable[[Tensor], Tensor | float],
    cases: Tensor,
    generator: torch.Generator,
    draws: int = 200,
) -> Estimate:
    """A statistic of independent cases, and its standard deviation over samples that are drawn
    from them with replacement (Efron & Tibshirani 1993, chapter 6).

    Args:
        statistic: of cases, to a number; smooth in them, so not a largest or smallest one.
        cases: one for each entry of the first axis, shape (n, ...), at least two.
        draws: number of samples; the error is known to a share of 1 / sqrt(2 draws).
    """
    require_type(statistic, Callable, "statistic", "a function of cases")
    require_tensor(cases, "cases", "a floating-point tensor of shape (n, ...)")
    n = len(cases) if cases.ndim else 0
    require(n >= 2, f"cases has {n} rows; expected at least two, for an error")
    require_generator(generator)
    draws = as_whole_number(draws, "draws", least=2)
    chosen = torch.randint(n, (draws, n), generator=generator)
    again = torch.tensor([float(statistic(cases[rows])) for rows in chosen])
    return Estimate(float(statistic(cases)), float(again.std()))


def jackknife(statistic: Callable[..., float], *samples: np.ndarray) -> Estimate:
    r"""A statistic of samples with its standard error, by leaving out a tenth of each.

    :math:`\sqrt{\frac{9}{10} \sum_g (\theta_g - \bar\theta)^2}`, the delete-a-group jackknife
    (Efron & Tibshirani 1993, section 11.5). For distances between sets of images, which are not
    linear in the data, it errs on the safe side: over independent sets of 250 faces it was 1.3 to
    2 times their standard deviation.

    Args:
        statistic: a function of as many arrays as there are samples.
        samples: one row for each image, at least ten each; they are independent of each other.
    """
    require_type(statistic, Callable, "statistic", "a function of arrays")
    require(len(samples) > 0, "there are no samples; expected at least one array")
    for name, rows in zip("xyzuvw", samples):
        require_array(rows, name)
        require_groups(rows, name)
    groups = [np.arange(len(rows)) % GROUPS for rows in samples]
    without = [
        statistic(*(rows[of != g] for rows, of in zip(samples, groups))) for g in range(GROUPS)
    ]
    return Estimate(float(statistic(*samples)), float(np.std(without) * np.sqrt(GROUPS - 1)))


def require_groups(x: np.ndarray | Tensor, name: str) -> None:
    """Require enough rows for :func:`jackknife`."""
    n = len(x) if x.ndim else 0
    require(
        n >= GROUPS,
        f"{name} has {n} rows; expected at least {GROUPS}, for the standard errors",
    )


def of_sums(function: Callable[..., Tensor], *terms: Tensor) -> Estimate:
    """A function of sums over latents, of terms of shape (n,), with the jackknife's error."""
    sums = [term.sum() for term in terms]
    without = function(*(total - term for total, term in zip(sums, terms)))
    return Estimate(float(function(*sums)), leave_one_out_error(without))


def leave_one_out_error(without: Tensor) -> float:
    """Standard error of a statistic from its values with each latent left out, shape (n,)
    (Efron & Tibshirani 1993, section 11.2)."""
    return float(without.std(correction=0)) * (len(without) - 1) ** 0.5
