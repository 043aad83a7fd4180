"""Small faults in C++ source, token by token; those that the compiler refuses do not count.

Only code is touched: comments, strings, #-lines and static_asserts are not.  `<` and `*` mean other things in types, so
comparisons and products are recognised by the spaces that clang-format puts around them.
"""

import re
from collections.abc import Iterator

from tests.mutation.mutant import Mutant

SPACED = {  # operator between spaces: what may stand there
    "<": ("<=", ">"), "<=": ("<",), ">": (">=", "<"), ">=": (">",), "==": ("!=",), "!=": ("==",), "+": ("-",),
    "-": ("+",), "*": ("/",), "/": ("*",), "%": ("/",), "+=": ("-=",), "-=": ("+=",), "*=": ("/=",), "&&": ("||",),
    "||": ("&&",), "&": ("|",), "|": ("&",), "<<": (">>",),
}  # fmt: skip
WORDS = {"max": "min", "min": "max", "true": "false", "false": "true", "floor": "ceil", "ceil": "floor"}
NOT_CODE = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|^[ \t]*#[^\n]*(?:\\\n[^\n]*)*|static_assert[^;]*;",
                      re.DOTALL | re.MULTILINE)  # fmt: skip
OPERATOR = re.compile(r"(?<= )(<=|>=|==|!=|\+=|-=|\*=|&&|\|\||<<|[<>+\-*/%&|])(?= )")
WORD = re.compile(r"\b(max|min|true|false|floor|ceil)\b(?=\(|[^\w(])")
NUMBER = re.compile(r"(?<![\w.])(\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|\d+)(?![\w.])")
STATEMENT = re.compile(r"^[ \t]*([A-Za-z_][\w.\->]*(?:\[[^;={}]*\])?[ ]*(?:[-+*/]?=)(?!=)[^;{}]*;)", re.MULTILINE)
NEGATED = re.compile(r"!(?=[\w(])")


def mutants(path: str, source: str) -> list[Mutant]:
    """Every fault that the operators know for a file, in the order of the text."""
    code = NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)  # same places, nothing to find
    found = []
    for name, begin, end, text in _sites(code):
        line = source.count("\n", 0, begin) + 1
        first, last = (len(source[:place].encode()) for place in (begin, end))
        found.append(Mutant(path, name, line, first, last, text, source.splitlines()[line - 1].strip()))
    return sorted(found, key=lambda m: (m.begin, m.end, m.operator, m.text))


def _sites(code: str) -> Iterator[tuple[str, int, int, str]]:
    for match in OPERATOR.finditer(code):
        name = "comparison" if match[1] in ("<", "<=", ">", ">=", "==", "!=") else "arithmetic"
        if match[1] in ("&&", "||"):
            name = "junction"
        yield from ((name, *match.span(1), other) for other in SPACED[match[1]])
    for match in WORD.finditer(code):
        yield "function", *match.span(1), WORDS[match[1]]
    for match in NUMBER.finditer(code):
        whole = match[1].isdigit()
        yield "constant", *match.span(1), str(int(match[1]) + 1) if whole else f"{2 * float(match[1]) or 1.0!r}"
    for match in STATEMENT.finditer(code):
        yield "statement", *match.span(1), ";"
    for match in NEGATED.finditer(code):
        yield "negation", *match.span(), ""
