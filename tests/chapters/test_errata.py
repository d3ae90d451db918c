"""Printed formulas are off by far, and corrected ones hold."""

import re
from dataclasses import dataclass
from types import ModuleType

import pytest

from chapters.errata import (
    adversarial,
    bounds,
    equations,
    guidance,
    latent_codes,
    point_paths,
    processes,
    review,
    scores,
    steps,
    thesis,
    tokens,
    unified,
    variances,
)
from diffot.paths import ROOT


@dataclass(frozen=True)
class Section:
    """A section of the page: where its formulas are measured, and by how much the printed ones
    miss at least."""

    module: ModuleType
    printed: float = 0.02


SECTIONS = {
    "Topics on diffusion generative models": Section(guidance, 0.2),
    "Scores": Section(scores, 0.2),
    "Steps and equations": Section(equations),
    "The thesis": Section(thesis),
    "More steps": Section(steps),
    "Variances": Section(variances),
    "One framework": Section(unified),
    "Other processes": Section(processes, 0.1),
    "Tokens": Section(tokens, 0.1),
    "Paths": Section(point_paths),
    "A bound on the distance": Section(bounds),
    "Adversarial training": Section(adversarial),
    "The review": Section(review),
    "Latent codes": Section(latent_codes),
}
ROWS = [(title, place) for title, section in SECTIONS.items() for place in section.module.CHECKS]
# Corrected to approximations, with what they miss by at most.
APPROXIMATE = {"(9.7)": 0.15, "notes, after (1.18)": 0.02, "notes, (19.11)": 1e-3}


def test_the_page_has_these_sections():
    page = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", page, re.M) == list(SECTIONS)


@pytest.mark.parametrize(("title", "place"), ROWS)
def test_the_corrected_formula_holds_and_the_printed_one_does_not(title, place):
    section = SECTIONS[title]
    errors = section.module.CHECKS[place]()
    assert abs(errors.corrected) < APPROXIMATE.get(place, 1e-9)
    assert errors.printed > max(section.printed, 2 * errors.corrected)


@pytest.mark.parametrize("title", SECTIONS)
def test_every_row_of_the_page_names_its_function(title):
    page = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    section = page.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| (?!Printed).*`(\w+)` \|$", section, re.M)
    checks = SECTIONS[title].module.CHECKS
    assert dict(rows) == {place: check.__name__ for place, check in checks.items()}
