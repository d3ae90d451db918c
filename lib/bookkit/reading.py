"""How long a page is to read."""

from __future__ import annotations

import re

_LEFT_OUT = (
    (r"\$\$.*?\$\$(\s*\(eq-[\w-]+\))?", re.DOTALL),  # displayed formulas
    (r"\{cite:[pt]\}`[^`]*`", 0),
    (r"^(:::|```).*$|^:\w+:.*$", re.MULTILINE),  # marks of directives, and their options
)
_ONE_WORD = (r"\$[^$\n]+\$", r"\{glue:text\}`[^`]*`", r"\{claim\}`[^`]*`", r"\{percent\}`[^`]*`")
_ROLE = r"\{[\w:-]+\}`([^`<]*)(<[^>]*>)?`"
_WORD = r"\w[\w'’.,%±/-]*"


def words(markdown: str) -> int:
    """Number of words of prose: a formula in the text is one word and so is a number, displayed
    formulas, citations and marks are none."""
    for pattern, flags in _LEFT_OUT:
        markdown = re.sub(pattern, " ", markdown, flags=flags)
    for pattern in _ONE_WORD:
        markdown = re.sub(pattern, " x ", markdown)
    markdown = re.sub(_ROLE, r"\1", markdown)
    markdown = re.sub(r"\]\([^)]*\)", "]", markdown)  # addresses of links
    return len(re.findall(_WORD, re.sub(r"[#*|`\[\]>-]+", " ", markdown)))
