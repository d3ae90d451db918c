"""Author and year as the labels of the bibliography, as the text cites them.

``bibtex_default_style: author_year`` in ``_config.yml`` asks for this style: the entries are
those of BibTeX's ``plain``, and their labels read "Ho et al., 2020".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from sphinx.application import Sphinx

NAME = "author_year"


class AuthorYearLabels(BaseLabelStyle):
    """Up to two names, or the first and "et al.", and the year."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        for entry in sorted_entries:
            yield f"{_names(entry)}, {entry.fields['year']}"


class AuthorYearSorting(BaseSortingStyle):
    """By what the labels say, so that 2023a stands before 2023b."""

    def sorting_key(self, entry: Entry) -> tuple[str, str]:
        return _names(entry).lower(), entry.fields["year"]


class AuthorYearStyle(Style):
    default_label_style = NAME
    default_sorting_style = NAME


def _names(entry: Entry) -> str:
    people = entry.persons.get("author") or entry.persons["editor"]
    names = [" ".join([*person.prelast_names, *person.last_names]) for person in people]
    names = [name.replace("{", "").replace("}", "") for name in names]
    return " and ".join(names) if len(names) < 3 else f"{names[0]} et al."


def setup(app: Sphinx) -> dict:
    register_plugin("pybtex.style.labels", NAME, AuthorYearLabels)
    register_plugin("pybtex.style.sorting", NAME, AuthorYearSorting)
    register_plugin("pybtex.style.formatting", NAME, AuthorYearStyle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
