"""Claims: what the prose says about a result, with a bound that can fail; as readers see them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from bookkit.verdicts import VERDICTS, Prediction, verdict
from diffot.errors import as_number, as_whole_number, require, require_known, require_type

_LEAST_SHARE = 1e-3  # that the prose tells from none, where a share has no error

# Why a claim has no standard error.
ERRORLESS = {
    "exact": "not random",
    "identity": "the same for every draw, to the digits shown",
    "all": "all or none of the cases, as the bound demands",
    "extreme": "an extreme of a sample; error not estimated",
    "test": "a test statistic or p-value",
}


@dataclass(frozen=True)
class Claim:
    """A statement about a result.

    Attributes:
        name: ``experiment.what``, unique in the book, e.g. ``"L1a.same_quadrant"``.
        value: what was measured.
        says: what the value is, in one plain sentence without the number.
        at_least, at_most: the bounds; at least one of them.
        uncertainty: one standard error of the value, where it is random.
        without_error: why there is none, a key of :data:`ERRORLESS`.
        n: number of independent samples behind it.
        hypothesis: the hypothesis it bears on, e.g. ``"Hypothesis 1"``; left out for a check of
            the method.
        prediction: what the hypothesis says of the value, from which the verdict follows
            (:mod:`bookkit.verdicts`).
        verdict: a verdict typed by hand, where no prediction can be given; the page says so.
        because: why that verdict, in one sentence.
        figure: label of the figure that shows it.
        digits: significant digits in the prose, and of a value without uncertainty; few enough to
            be the same on every machine. A value with one is kept to the digit of its error. The
            bounds are compared with the value itself.
        percent: whether the value is a share, which the prose has in percent and with its error:
            ``73 ± 8 %``.
        cases: if the value is the share of so many cases, their number: the prose has it in
            percent, too, but says ``all 30`` or ``none`` where it is one of these.

    Raises:
        TypeError: for values of the wrong type.
        ValueError: if it is incomplete, or a number is NaN, infinite or out of range.
    """

    name: str
    value: float
    says: str
    at_least: float | None = None
    at_most: float | None = None
    uncertainty: float | None = None
    without_error: str | None = None
    n: int | None = None
    hypothesis: str | None = None
    prediction: Prediction | None = None
    verdict: str | None = None
    because: str = ""
    figure: str | None = None
    digits: int = 3
    percent: bool = False
    cases: int | None = None

    def __post_init__(self):
        require_type(self.name, str, "name", "the name of a claim, experiment.what")
        for field in ("says", "because", "figure"):
            text = getattr(self, field)
            require_type(text or "", str, f"{field} of claim {self.name}", "a text")
        self._set("value", as_number(self.value, f"value of claim {self.name}"))
        for field, least in (("at_least", None), ("at_most", None), ("uncertainty", 0)):
            self._set(
                field, _optional(getattr(self, field), f"{field} of claim {self.name}", least)
            )
        for field in ("n", "cases"):
            if getattr(self, field) is not None:
                what = f"{field} of claim {self.name}"
                self._set(field, as_whole_number(getattr(self, field), what, least=1))
        require(
            self.cases is None or 0 <= self.value <= 1,
            f"value of claim {self.name} is {self.value:.6g}; expected a share of its cases, "
            "from 0 to 1",
        )
        what = f"digits of claim {self.name}"
        self._set("digits", as_whole_number(self.digits, what, least=1))
        self._require_bounds()
        self._require_error()
        self._require_judgement()

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    def _require_bounds(self) -> None:
        require(
            self.at_least is not None or self.at_most is not None,
            f"claim {self.name} has no bound, so it cannot fail; pass at_least or at_most",
        )
        low, high = self._bounds()
        require(
            low <= high,
            f"claim {self.name} is to be at least {low:.6g} and at most {high:.6g}, "
            "which nothing is",
        )

    def _require_error(self) -> None:
        if self.without_error is not None:
            require_known(self.without_error, f"without_error of claim {self.name}", ERRORLESS)
            require(
                self.uncertainty is None,
                f"claim {self.name} has an uncertainty, and a reason why it has none",
            )

    def _require_judgement(self) -> None:
        if self.prediction is not None:
            what = f"prediction of claim {self.name}"
            require_type(self.prediction, Prediction, what, "a Prediction")
        if self.verdict is not None:
            require_known(self.verdict, "verdict", VERDICTS)
        given = (self.prediction is not None) + (self.verdict is not None)
        require(
            given == (self.hypothesis is not None),
            f"claim {self.name}: a hypothesis needs a prediction or a verdict (one of them), and "
            "either needs a hypothesis",
        )

    def _bounds(self) -> tuple[float, float]:
        low = -math.inf if self.at_least is None else self.at_least
        return low, math.inf if self.at_most is None else self.at_most

    def holds(self) -> bool:
        """Whether the value is within its bounds."""
        low, high = self._bounds()
        return low <= self.value <= high

    def record(self) -> dict:
        """The claim as it is kept in ``data/results``: numbers rounded, the verdict judged."""
        prediction, judged, degree = None, self.verdict, None
        if self.prediction is not None:
            prediction = asdict(self.prediction)
            prediction |= {end: _rounded(prediction[end], 4) for end in ("exact", "chance")}
            judged = verdict(self.prediction, self.value, self.uncertainty or 0.0)
            degree = round(self.prediction.degree(self.value), 3)
        error = None if self.uncertainty is None else _rounded(self.uncertainty, 1)
        value = _to_digit(self.value, error) if error else _rounded(self.value, self.digits)
        return {
            "says": self.says,
            "value": value,
            "uncertainty": error,
            "without_error": self.without_error,
            "n": self.n,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "hypothesis": self.hypothesis,
            "prediction": prediction,
            "degree": degree,
            "verdict": judged,
            "because": self.because,
            "figure": self.figure,
            "holds": self.holds(),
        }


def _optional(value: object, name: str, least: float | None) -> float | None:
    return None if value is None else as_number(value, name, at_least=least)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _exponent(value: float) -> int:
    """The power of ten of a number's first digit."""
    return math.floor(math.log10(abs(value)) + 1e-9)


def _to_digit(value: float, last: float) -> float:
    """A number, rounded to the digit that ``last`` begins with."""
    return round(value, -_exponent(last)) + 0.0  # no minus before a zero


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number_text(value: float, uncertainty: float | None = None) -> str:
    """A number as readers like it: ``0.178``, ``52 ± 1``, ``0.70 ± 0.02``, ``200,000``,
    ``(7.7 ± 0.7) × 10⁻⁵``, with blanks at which no line breaks."""
    return _written(value, uncertainty, uncertainty)


def prose_text(claim: Claim) -> str:
    """The value as the prose has it: with so many digits as the claim says, and no more than its
    error leaves; a share in percent, or as all or none of its cases."""
    if claim.cases is not None and claim.value in (0, 1):
        return f"all\u00a0{claim.cases:,}" if claim.value else "none"
    if claim.percent or claim.cases is not None:
        return f"{_percent_text(claim)}\u00a0%"
    if not claim.uncertainty:
        return number_text(claim.record()["value"])
    last = 10.0 ** (_exponent(claim.value or 1.0) + 1 - claim.digits)
    last = max(last, _rounded(claim.uncertainty, 1))
    return _written(_to_digit(claim.value, last), None, last)


def _percent_text(claim: Claim) -> str:
    """The value in percent, with its error; shares that nobody could tell from none as such."""
    if claim.uncertainty:
        error = 100 * _rounded(claim.uncertainty, 1)
        return number_text(_to_digit(100 * claim.value, error), error)
    if 0 < claim.value < _LEAST_SHARE:
        return f"below\u00a0{number_text(100 * _LEAST_SHARE)}"
    return number_text(_rounded(100 * claim.value, claim.digits))


def _written(value: float, error: float | None, last: float | None) -> str:
    """A number, to the digit that ``last`` begins with, all that it has if that is None or 0."""
    largest = max(abs(value), last or 0.0)
    exponent = _exponent(largest) if largest else 0
    scale = 1.0 if -4 < exponent < 7 else 10.0**exponent
    form = f",.{max(-_exponent(last / scale), 0)}f" if last else ",.10g"
    text = f"{value / scale:{form}}"
    if error is not None:
        text += f"\u00a0±\u00a0{error / scale:{form}}"
    if scale != 1:
        power = str(exponent).translate(_SUPERSCRIPT)
        text = f"{text if error is None else f'({text})'}\u00a0×\u00a010{power}"
    return text.replace("-", "−")


def claim_text(claim: dict) -> dict[str, str]:
    """Value, number of samples and bound of a recorded claim as readers see them."""
    low, high = claim["at_least"], claim["at_most"]
    if low is None:
        bound = f"at most {number_text(high)}"
    elif high is None:
        bound = f"at least {number_text(low)}"
    else:
        bound = f"{number_text(low)} to {number_text(high)}"
    return {
        "value": number_text(claim["value"], claim["uncertainty"]),
        "n": "" if claim["n"] is None else f"n\u00a0=\u00a0{claim['n']:,}",
        "bound": bound,
    }
