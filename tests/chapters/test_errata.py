"""Printed formulas are off by far, and corrected ones hold."""

import re

import pytest

from chapters.errata import (
    bounds,
    guidance,
    latent_codes,
    point_paths,
    review,
    steps,
    thesis,
    unified,
    variances,
)
from diffot.paths import ROOT

APPROXIMATE = {"9.7"}


@pytest.mark.parametrize("place", sorted(set(guidance.CHECKS) - APPROXIMATE))
def test_the_corrected_formula_holds_and_the_printed_one_does_not(place):
    errors = guidance.CHECKS[place]()
    assert errors.corrected < 1e-12
    assert errors.printed > 0.2


@pytest.mark.parametrize("place", sorted(APPROXIMATE))
def test_the_corrected_approximation_is_the_better_one(place):
    errors = guidance.CHECKS[place]()
    assert 0 < errors.corrected < 0.5 * errors.printed


def test_every_row_of_the_page_names_its_function():
    page = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| (?:\((9\.\d+)\)|(after) \((9\.\d+)\)).*`(\w+)` \|$", page, re.M)
    rows = {place or f"{after} {later}": function for place, after, later, function in named}
    assert rows == {place: check.__name__ for place, check in guidance.CHECKS.items()}


@pytest.mark.parametrize("place", thesis.CHECKS)
def test_the_corrected_formula_of_the_thesis_holds_and_the_printed_one_does_not(place):
    errors = thesis.CHECKS[place]()
    assert errors.corrected < 1e-9
    assert errors.printed > 0.02


def test_every_row_of_the_thesis_names_its_function():
    page = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    section = page.split("## The thesis\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| (?!Printed).*`(\w+)` \|$", section, re.M)
    assert dict(rows) == {place: check.__name__ for place, check in thesis.CHECKS.items()}


SECTIONS = {
    "More steps": steps,
    "Variances": variances,
    "One framework": unified,
    "Paths": point_paths,
    "A bound on the distance": bounds,
    "The review": review,
    "Latent codes": latent_codes,
}
ROWS = [(module, place) for module in SECTIONS.values() for place in module.CHECKS]


@pytest.mark.parametrize(("module", "place"), ROWS)
def test_the_corrected_formula_of_a_source_holds_and_the_printed_one_does_not(module, place):
    errors = module.CHECKS[place]()
    approximate = module is steps and place == "notes, after (1.18)"
    assert errors.corrected < (0.02 if approximate else 1e-9)
    assert errors.printed > 0.02


@pytest.mark.parametrize("title", SECTIONS)
def test_every_row_of_a_section_names_its_function(title):
    page = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    section = page.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| (?!Printed).*`(\w+)` \|$", section, re.M)
    checks = SECTIONS[title].CHECKS
    assert dict(rows) == {place: check.__name__ for place, check in checks.items()}
