"""The page of licenses: complete, and as the packages and the cards of the networks say."""

import json
import re
from importlib.metadata import distribution

import pytest

from diffot.paths import ROOT

PAGE = (ROOT / "book" / "licenses.md").read_text(encoding="utf-8")
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
PACKAGES = dict.fromkeys(re.findall(r"^([\w-]+)[\[=]", REQUIREMENTS, re.M))
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", PAGE, re.M))
# How packages without an expression put it: a classifier, a name, or the text itself.
WORDS = {
    "BSD-3-Clause": "BSD License",
    "BSD-2-Clause": "BSD 2-Clause",
    "MIT": r"\bMIT\b|Permission is hereby granted, free of charge",
    "Apache-2.0": "Apache Software License",
    "Matplotlib": "Python Software Foundation License",
    "MPL-2.0": "MPL-2.0 AND MIT",
}


def said(package):
    """All that an installed package says about its license."""
    found = distribution(package)
    classifiers = found.metadata.get_all("Classifier", [])
    named = [line for line in classifiers if line.startswith("License")]
    files = [path.read_text() for path in found.files or [] if "LICENSE" in path.name]
    return "\n".join([found.metadata.get("License", ""), *named, *files])


def test_every_package_has_a_row():
    assert list(ROWS) == list(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_under_that_license(package):
    expression = distribution(package).metadata.get("License-Expression")
    if expression:
        assert ROWS[package] == expression
    else:
        name = re.match(r"[\w.-]+", ROWS[package]).group()
        assert re.search(WORDS[name], said(package))


def test_networks_with_terms_are_on_the_page():
    cards = [json.loads(path.read_text()) for path in (ROOT / "data/checkpoints").glob("*.json")]
    restricted = [card for card in cards if "terms" in card]
    assert len(restricted) > 3
    for card in restricted:
        (row,) = [line for line in PAGE.splitlines() if f"`{card['name']}`" in line]
        assert card["terms"].split(",")[0].split(";")[0] in row
