"""One rule by which a measured number speaks for or against a hypothesis.

A claim that bears on a hypothesis says what the number would be if the hypothesis were true to
the letter, and what it would be if there were nothing in it. Where the measured number lies
between the two is its *degree*; the verdict follows from the degree and its error. The thresholds
below are the only ones, for all claims of the book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffot.errors import as_number, require, require_known

HOLDS = 0.95
APPROXIMATELY = 0.5
SOMETIMES = 0.05
ERRORS = 2  # standard errors that the degree is given on either side

VERDICTS = ("holds", "holds approximately", "not resolved", "refuted")
ASKS = ("always", "sometimes")


@dataclass(frozen=True)
class Prediction:
    r"""What a hypothesis says of a number.

    Attributes:
        exact: the number if the hypothesis is true to the letter.
        chance: the number if there is nothing in it: for images that have nothing to do with
            their latents, for a manipulation that was not made, or for half of all cases.
        asks: ``"always"`` if the number is to *be* ``exact``, ``"sometimes"`` if the hypothesis
            says no more than that something can happen, or happens more often than by chance.

    Raises:
        ValueError: if ``exact`` and ``chance`` are the same, so that nothing lies between them.
    """

    exact: float
    chance: float
    asks: str = "always"

    def __post_init__(self):
        for name in ("exact", "chance"):
            object.__setattr__(self, name, as_number(getattr(self, name), name))
        require(
            self.exact != self.chance,
            f"exact and chance are both {self.exact:.6g}; expected two numbers that differ",
        )
        require_known(self.asks, "asks", ASKS)

    def degree(self, value: float) -> float:
        r"""How far a value has come from chance to what the hypothesis says.

        :math:`1 - |v - e| / |c - e|` if it asks for always, so that a value beyond ``exact`` is
        off too; :math:`(v - c) / (e - c)` if it asks for sometimes.
        """
        way = self.exact - self.chance
        if self.asks == "sometimes":
            return (value - self.chance) / way
        return 1 - abs(value - self.exact) / abs(way)


def verdict(prediction: Prediction, value: float, error: float = 0.0) -> str:
    """The verdict of one number on a hypothesis, by the rule of :func:`rule`.

    Args:
        error: standard error of the value, 0 if it has none.
    """
    value, error = as_number(value, "value"), as_number(error, "error", at_least=0)
    degree = prediction.degree(value)
    margin = ERRORS * error / abs(prediction.exact - prediction.chance)
    if prediction.asks == "sometimes":
        steps = [(SOMETIMES, "holds")]
    else:
        steps = [(HOLDS, "holds"), (APPROXIMATELY, "holds approximately")]
    for threshold, reached in steps:
        if degree - margin >= threshold:
            return reached
    return "refuted" if degree + margin < steps[-1][0] else "not resolved"


def overall(verdicts: Sequence[str]) -> str:
    """The verdict that several add up to: a hypothesis holds no better than the least of
    what it says. One refuted claim refutes it; else one that is not resolved leaves it open.

    Raises:
        ValueError: for no verdicts, or an unknown one.
    """
    require(len(verdicts) > 0, "verdicts is empty; expected at least one")
    for each in verdicts:
        require_known(each, "verdict", VERDICTS)
    return max(verdicts, key=VERDICTS.index)


def rule() -> str:
    """The rule in words, for the page of claims (Markdown)."""
    return f"""\
A claim that bears on a hypothesis says what the number would be if the hypothesis were true to
the letter (**exact**), and what it would be if there were nothing in it (**chance**: images that
have nothing to do with their latents, a manipulation that was not made, one half of all cases).
How far the measured number has come from chance (0) to exact (1) is its **degree**, which is
given {ERRORS} standard errors on either side. Some hypotheses say that something is *always* so;
others, that something *can* happen, or happens more often than by chance.

| | always | can, or more often |
|---|---|---|
| *holds* | the whole interval is at {HOLDS:g} or above | at {SOMETIMES:g} or above |
| *holds approximately* | it is at {APPROXIMATELY:g} or above, but not at {HOLDS:g} | |
| *refuted* | the whole interval is below {APPROXIMATELY:g} | below {SOMETIMES:g} |
| *not resolved* | otherwise | otherwise |

In a chapter, a hypothesis gets the weakest verdict of its claims there: it is refuted if one of
them refutes it, and not resolved if none does but one leaves it open. Chapters on points (of a
line, a plane or more dimensions), on drawn images (with handwritten digits) and on photographs
are judged apart, each kind again by the weakest."""


def chip(verdict: str, where: str = "") -> str:
    """A verdict in a colored frame, HTML of the book's pages."""
    kind = verdict.replace(" ", "-")
    return f'<span class="chip chip-{kind}"><b>{verdict}</b>{where}</span>'
