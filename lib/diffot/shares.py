"""Shares of a number of cases, and how far they can be trusted."""

from __future__ import annotations

from scipy.stats import binomtest

from diffot.errors import as_number, as_whole_number, require


def share_error(share: float, n: int) -> float:
    r"""Standard error of a share p of n independent cases, :math:`\sqrt{p (1 - p) / n}`.

    Of none or all, which has the error 0, it is 1/n.

    Args:
        share: from 0 to 1.
        n: number of cases, at least 1; 20.0 will do, for rows of tables hold floats.
    """
    share, n = as_number(share, "share", at_least=0, at_most=1), as_number(n, "n", at_least=1)
    require(n.is_integer(), f"n is {n}; expected a whole number of cases")
    return max(share * (1 - share) / n, 1 / n**2) ** 0.5


def share_interval(hits: int, n: int) -> tuple[float, float]:
    """The ends of the 95 % interval of a share of n cases (Wilson 1927); of none, 0 and 1.

    Args:
        hits: number of the cases that count, from 0 to n.
    """
    n = as_whole_number(n, "n", least=0)
    hits = as_whole_number(hits, "hits", least=0, most=n)
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
