"""The rule for verdicts: where its thresholds lie, and what does not matter to it."""

import pytest

from bookkit import verdicts
from bookkit.verdicts import VERDICTS, Prediction, overall, rule, verdict

SHARE = Prediction(exact=1, chance=0)
MAY = Prediction(exact=1, chance=0, asks="sometimes")


@pytest.mark.parametrize(
    ("prediction", "value", "error", "expected"),
    [
        (SHARE, 1.0, 0, "holds"),
        (SHARE, 0.95, 0, "holds"),
        (SHARE, 0.949, 0, "holds approximately"),
        (SHARE, 0.96, 0.004, "holds"),
        (SHARE, 0.96, 0.006, "holds approximately"),  # its lower end is at 0.948
        (SHARE, 0.5, 0, "holds approximately"),
        (SHARE, 0.499, 0, "refuted"),
        (SHARE, 0.55, 0.02, "holds approximately"),
        (SHARE, 0.55, 0.03, "not resolved"),
        (SHARE, 0.45, 0.03, "not resolved"),
        (SHARE, 0.45, 0.02, "refuted"),
        (SHARE, 0.9, 1.0, "not resolved"),  # an error as large as that says nothing
        (SHARE, 1.06, 0, "holds approximately"),  # beyond is off, too
        (SHARE, 1.6, 0, "refuted"),
        (SHARE, -3.0, 0.1, "refuted"),
        (MAY, 0.225, 0.003, "holds"),
        (MAY, 0.06, 0.004, "holds"),
        (MAY, 0.06, 0.006, "not resolved"),
        (MAY, 0.04, 0.004, "refuted"),
        (MAY, 1.6, 0, "holds"),
        (MAY, -0.5, 0.1, "refuted"),
    ],
)
def test_verdict_by_degree_and_error(prediction, value, error, expected):
    assert verdict(prediction, value, error) == expected


@pytest.mark.parametrize("asks", verdicts.ASKS)
@pytest.mark.parametrize(("scale", "shift"), [(7.0, 0.0), (-2.0, 3.0), (1e-6, -40.0)])
def test_unit_origin_and_direction_of_the_number_do_not_matter(asks, scale, shift):
    """A distance of 0.2, where chance is 1, says what an agreement of 0.8 does."""
    plain = Prediction(exact=1, chance=0, asks=asks)
    other = Prediction(exact=scale + shift, chance=shift, asks=asks)
    for value in (-0.3, 0.02, 0.2, 0.47, 0.71, 0.93, 0.99, 1.2, 1.8):
        for error in (0.0, 0.01, 0.03):
            assert verdict(plain, value, error) == verdict(
                other, scale * value + shift, abs(scale) * error
            )
            assert other.degree(scale * value + shift) == pytest.approx(plain.degree(value))


def test_a_larger_error_never_makes_a_verdict_firmer():
    """With the error, holds goes to approximately, to not resolved; refuted to not resolved."""
    for prediction in (SHARE, MAY):
        for value in (0.0, 0.1, 0.3, 0.6, 0.9, 0.97, 1.0, 1.1):
            found = [verdict(prediction, value, error) for error in (0, 0.01, 0.1, 0.3, 3.0)]
            assert found[-1] == "not resolved"
            if found[0] == "refuted":
                assert set(found) == {"refuted", "not resolved"}
            else:
                assert [VERDICTS.index(v) for v in found] == sorted(map(VERDICTS.index, found))


def test_a_hypothesis_is_as_good_as_its_weakest_claim():
    assert overall(["holds"]) == "holds"
    assert overall(["holds", "holds approximately"]) == "holds approximately"
    assert overall(["not resolved", "holds", "holds approximately"]) == "not resolved"
    assert overall(["holds", "refuted", "not resolved"]) == "refuted"
    with pytest.raises(ValueError, match="verdicts is empty"):
        overall([])
    with pytest.raises(ValueError, match="unknown verdict 'proved'"):
        overall(["holds", "proved"])


def test_the_printed_rule_has_the_thresholds_that_are_applied(monkeypatch):
    for name, value in (("HOLDS", 0.91), ("APPROXIMATELY", 0.42), ("SOMETIMES", 0.13)):
        assert f"{value:g}" not in rule()
        monkeypatch.setattr(verdicts, name, value)
        assert f"at {value:g} or above" in rule()
    assert verdict(SHARE, 0.92) == "holds" and verdict(SHARE, 0.43) == "holds approximately"
    assert verdict(MAY, 0.12) == "refuted"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"chance": 1}, "exact and chance are both 1"),
        ({"exact": float("nan")}, "exact is nan"),
        ({"chance": "none"}, "chance is 'none'"),
        ({"asks": "often"}, "unknown asks 'often'"),
    ],
)
def test_what_is_no_prediction(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Prediction(**{"exact": 1, "chance": 0, **wrong})


def test_errors_are_not_negative():
    with pytest.raises(ValueError, match=r"error is -0\.1"):
        verdict(SHARE, 0.5, -0.1)
