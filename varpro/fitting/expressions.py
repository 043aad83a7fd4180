"""Expressions of parameters, such as "2 * tau_1 + shift": read once, evaluated for many problems, differentiated.

Numbers, names of parameters, + - * / ** and signs, nothing else: Python's parser reads the text, and its tree is walked
here, so that nothing is called or looked up.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError

Slopes = dict[int, Array]
"""(b,) the derivative by each parameter that an expression names."""
Node = tuple[Any, ...]
"""("number", v), ("name", p), or (operator, Node, Node)."""

SIGNS: dict[type[ast.AST], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
VALUES: dict[str, Callable[[Array, Array], Array]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
EXAMPLE = "write it with numbers, parameters, + - * / ** and parentheses"


@dataclass(frozen=True)
class Expression:
    """One expression; pickles."""

    text: str
    node: Node

    @property
    def names(self) -> set[int]:
        """The parameters in it."""
        return _names(self.node)

    def at(self, w: Array) -> tuple[Array, Slopes]:
        """The value (b,) and its derivatives at w (b, P)."""
        with np.errstate(all="ignore"):  # the status says which problems are not finite
            return _evaluated(self.node, w)


def read(text: str, labels: Sequence[str], owner: str) -> Expression:
    """The expression of a text for the parameters `labels`.  Raises ConfigError, which begins with `owner`."""
    known = {_written(label): p for p, label in enumerate(labels)}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return Expression(text, _node(tree, known, text, owner, labels))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        _require_words(labels, text, owner)
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{owner}: {text!r} is no expression; {EXAMPLE}") from error


def _require_words(labels: Sequence[str], text: str, owner: str) -> None:
    """Raise ConfigError for a parameter in the text whose name is no word, and so reads as arithmetic."""
    for label in labels:
        if label not in text:
            continue
        try:
            word = isinstance(ast.parse(label, mode="eval").body, ast.Name | ast.Attribute | ast.Subscript)
        except SyntaxError:
            word = False
        if not word:
            raise ConfigError(
                f"{owner}: {label!r} cannot stand in an expression; give it a name, or its set a label, of letters, "
                "digits and _ that Python has no use for"
            )


def expressions_among(
    rules: Mapping[int, object], labels: Sequence[str], fixed: Array
) -> tuple[tuple[int, Expression], ...]:
    """The rules of `tied` that are text other than a name, in the order of their evaluation.  Raises ConfigError.

    fixed : (P,) bool, the parameters that are fixed as well, which is a mistake.
    """
    found = {}
    for p, rule in rules.items():
        if isinstance(rule, str) and rule not in labels:
            found[p] = read(rule, labels, f"tied: {labels[p]}")
            if fixed[p]:
                raise ConfigError(f"tied: {labels[p]} is fixed, too; choose one")
    return in_order(found, labels)


def require_unbounded(
    expressions: Sequence[tuple[int, Expression]], limits: tuple[Array, Array], labels: Sequence[str]
) -> None:
    """Raise ConfigError for bounds (P,) twice on a parameter that follows an expression."""
    for p, _ in expressions:
        if np.isfinite(limits[0][p]) or np.isfinite(limits[1][p]):
            raise ConfigError(f"bounds of {labels[p]}, which follows an expression; bound the parameters in it instead")


def require_values(expressions: Sequence[tuple[int, Expression]], w: Array, labels: Sequence[str]) -> None:
    """Raise ConfigError unless each parameter has a value and a derivative at the starts w (B, P), which are filled
    in."""
    for p, expression in expressions:
        w[:, p], slopes = expression.at(w)
        usable = np.isfinite(w[:, p])
        for slope in slopes.values():
            usable = usable & np.isfinite(slope)
        if not usable.all():
            b = int(np.argmin(usable))
            at = ", ".join(f"{labels[q]} = {w[b, q]:g}" for q in sorted(expression.names))
            what = "derivative" if np.isfinite(w[b, p]) else "value"
            raise ConfigError(
                f"tied: {labels[p]} follows {expression.text!r}, which has no finite {what}"
                f"{f' where {at}' if at else ''}; mend it, or start elsewhere"
            )


def in_order(expressions: Mapping[int, Expression], labels: Sequence[str]) -> tuple[tuple[int, Expression], ...]:
    """Each expression after those that it names.  Raises ConfigError for a circle."""
    out: dict[int, Expression] = {}

    def add(p: int, way: tuple[int, ...]) -> None:
        if p in way:
            circle = " -> ".join(labels[q] for q in (*way[way.index(p) :], p))
            raise ConfigError(f"tied: {circle} is circular; leave one of them free")
        for q in sorted(expressions[p].names & expressions.keys()):
            if q not in out:
                add(q, (*way, p))
        out[p] = expressions[p]

    for p in expressions:
        if p not in out:
            add(p, ())
    return tuple(out.items())


def _written(label: str) -> str:
    """A label as an expression would write it; itself if it cannot stand in one."""
    try:
        return ast.unparse(ast.parse(label, mode="eval"))
    except (SyntaxError, ValueError):
        return label


def _node(tree: ast.AST, known: Mapping[str, int], text: str, owner: str, labels: Sequence[str]) -> Node:
    def inner(part: ast.AST) -> Node:
        return _node(part, known, text, owner, labels)

    if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float) and not isinstance(tree.value, bool):
        return "number", float(tree.value)
    if isinstance(tree, ast.Name | ast.Attribute | ast.Subscript):
        name = ast.unparse(tree)
        if name not in known:
            raise ConfigError(f"{owner}: no parameter is called {name!r}; there are {', '.join(labels)}")
        return "name", known[name]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.UAdd | ast.USub):
        sign = -1.0 if isinstance(tree.op, ast.USub) else 1.0
        return "*", ("number", sign), inner(tree.operand)
    if isinstance(tree, ast.BinOp) and type(tree.op) in SIGNS:
        return SIGNS[type(tree.op)], inner(tree.left), inner(tree.right)
    what = "calls a function" if isinstance(tree, ast.Call) else f"holds {ast.unparse(tree)!r}"
    raise ConfigError(f"{owner}: {text!r} {what}; {EXAMPLE}")


def _names(node: Node) -> set[int]:
    if node[0] == "name":
        return {node[1]}
    return set() if node[0] == "number" else _names(node[1]) | _names(node[2])


def _evaluated(node: Node, w: Array) -> tuple[Array, Slopes]:
    """The value (b,) and the derivatives by the chain rule."""
    kind = node[0]
    if kind == "number":
        return np.full(len(w), node[1]), {}
    if kind == "name":
        return w[:, node[1]], {node[1]: np.ones(len(w))}
    (a, by_a), (b, by_b) = _evaluated(node[1], w), _evaluated(node[2], w)
    value, zero = VALUES[kind](a, b), np.zeros(len(w))
    if kind == "**":  # a^b: b a^(b - 1) da + a^b log(a) db, the second only where the exponent moves
        outer = b * np.where(b == 0, 0.0, a ** np.where(b == 0, 1.0, b - 1.0)), value * np.log(a) if by_b else zero
    else:
        outer = {
            "+": (1.0 + zero, 1.0 + zero),
            "-": (1.0 + zero, zero - 1.0),
            "*": (b, a),
            "/": (1.0 / b, -value / b),
        }[kind]
    slopes = {p: outer[0] * slope for p, slope in by_a.items()}
    for p, slope in by_b.items():
        slopes[p] = slopes.get(p, zero) + outer[1] * slope
    return value, slopes
