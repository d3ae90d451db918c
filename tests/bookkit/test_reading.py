"""Words of prose are counted."""

import pytest

from bookkit.reading import words


@pytest.mark.parametrize(
    ("markdown", "count"),
    [
        ("Two words.", 2),
        ("# A **head**, and a [link](../far/away.md#there).", 5),
        ("The cost $c = |x - y|^2$ is {glue:text}`V1.cost.text` percent.", 6),
        ("as {cite:t}`ho2020` say, an {term}`excess` or {term}`excesses <excess>`", 6),
        ("before\n\n$$\nx = y\n$$ (eq-one)\n\nafter", 2),
        (":::{admonition} Result\n:class: tip\nIt is so.\n:::", 3),
        ("{claim}`V1.a` and {percent}`V1.b` percent", 4),
    ],
)
def test_words(markdown, count):
    assert words(markdown) == count
