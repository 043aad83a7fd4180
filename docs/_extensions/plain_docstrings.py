"""Docstrings in the house's dense form, for Sphinx.

    name : shape and meaning, over as many lines as it takes.  other : the next one, on the same line.

becomes a list of definitions; an indented formula becomes a literal block; `code` becomes code, and no other character
has a meaning.  Docstrings with numpydoc's sections pass untouched, and so do those of other packages.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

SECTION = re.compile(r"^(Parameters|Returns|Yields|Raises|Attributes|Methods|Notes|References|Examples|See Also)$")
NAMES = r"[A-Za-z_]\w*(?:_\w+)*(?:, (?:[A-Za-z_]\w*|\.\.\.))*"
ENTRY = re.compile(rf"^({NAMES}) : ")
NEXT_ENTRY = re.compile(rf"(?<=[.,;)])  ?(?={NAMES} : )")
CODE = re.compile(r"^[\w.]+(, [\w.]+)* = \S.*[\w)\]]$|^[\w.]+\(.*\)$|^(from|import) \w")
SENTENCE = re.compile(r"^(Returns?|Raises?|Collective|After fit|Without|Needs|Further)\b")


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process, priority=300)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn and PyTorch put into classes that derive from theirs."""
    return True if (getattr(obj, "__module__", None) or "").startswith(("sklearn", "torch")) else None


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if name.startswith("varpro") and not _has_sections(lines):
        lines[:] = list(converted(lines))


def _has_sections(lines: list[str]) -> bool:
    return any(SECTION.match(line.strip()) and set(below.strip()) == {"-"} for line, below in pairwise(lines))


def converted(lines: list[str]) -> Iterator[str]:
    """The lines of reStructuredText for those of a docstring."""
    for paragraph in _paragraphs(lines):
        if all(line.startswith("  ") or CODE.match(line) for line in paragraph):
            yield from ("::", "", *(f"    {line}" for line in paragraph), "")
        else:
            yield from _text(paragraph)


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield paragraph
            paragraph = []


def _text(paragraph: list[str]) -> Iterator[str]:
    """Sentences, then the entries between them, each a definition."""
    parts: list[list[str]] = [[]]
    for line in paragraph:
        begins = ENTRY.match(line) or line.startswith("- ")
        if begins or (SENTENCE.match(line) and parts[-1]):
            parts.append([])
        parts[-1].append(line.strip())
    for part in filter(None, parts):
        for entry in NEXT_ENTRY.split(" ".join(part)):
            yield from _one(entry.strip())


def _one(entry: str) -> Iterator[str]:
    if found := ENTRY.match(entry):
        names = ", ".join(f"``{name}``" for name in found[1].split(", "))
        yield from (names, f"    {literal(entry[found.end() :])}", "")
    elif entry.startswith("- "):
        yield from (f"- {literal(entry[2:])}", "")
    else:
        yield from (literal(entry), "")


def literal(text: str) -> str:
    """text with `code` marked as such and every other character as it stands."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one backtick without its second
        return _escaped(text)
    return "".join(f"``{piece}``" if i % 2 and piece else _escaped(piece) for i, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    return re.sub(r"([\\*|_`])", r"\\\1", text)
