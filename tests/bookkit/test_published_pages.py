"""Links and descriptions that a published book has."""

import importlib.util

import pytest
import yaml
from docutils import nodes
from pybtex.database import Entry, Person

from diffot.paths import ROOT


def load(name):
    path = ROOT / "book" / "_ext" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


published, bibliography = load("published"), load("bibliography")


def test_one_address_makes_all_links():
    before = {"repository_url": "", "launch_buttons": {"thebe": False}}
    assert published.linked(before) == before
    after = published.linked(before | {"repository_url": "https://example.org/a/b"})
    assert after["use_repository_button"] and not after["launch_buttons"]["thebe"]
    assert {"binderhub_url", "colab_url"} <= set(after["launch_buttons"])


def test_the_address_has_its_place_in_the_configuration():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert set(config["repository"]) == {"url", "branch"}
    assert (ROOT / published.PICTURE.replace("_static", "book/_static")).exists()


def page(*texts):
    document = nodes.document(None, None)
    document += [nodes.paragraph(text=text) for text in texts]
    return document


def test_a_description_is_the_first_sentences():
    assert published.described(page("Question. Is it so? It is.", "More.")) == "Is it so? It is."
    long = f"{'word ' * 30}end. {'other ' * 30}end."
    assert published.described(page(long)).endswith("word end.")
    assert len(published.described(page("word " * 100))) <= published.LONGEST
    assert published.described(page()) == ""


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["Ho, J."], "Ho, 2020a"),
        (["Su, J.", "{Yang}, Z."], "Su and Yang, 2020a"),
        (["de Bortoli, V.", "Thornton, J.", "Doucet, A."], "de Bortoli et al., 2020a"),
    ],
)
def test_labels_are_authors_and_year(names, label):
    entry = Entry("article", {"year": "2020a"}, {"author": [Person(name) for name in names]})
    assert list(bibliography.AuthorYearLabels().format_labels([entry])) == [label]
