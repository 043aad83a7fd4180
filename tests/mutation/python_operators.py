"""Small faults in Python source: an operator looks at a node of the syntax tree and proposes replacements.

A fault replaces the text of one node, so that the rest of the file, its lines and its comments stay as they are.
Docstrings, annotations, decorators and the wording of errors are left alone: no behaviour depends on them.
"""

import ast
import copy
from collections.abc import Callable, Iterator

from tests.mutation.mutant import Mutant

Operator = Callable[[ast.AST], Iterator[ast.AST | str]]
"""What may stand in the place of a node: other nodes, or source text."""
OPERATORS: dict[str, Operator] = {}

COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
}  # fmt: skip
OTHER_NAMES = {
    "max": "min", "min": "max", "argmax": "argmin", "argmin": "argmax", "any": "all", "all": "any", "zeros": "ones",
    "ones": "zeros", "maximum": "minimum", "minimum": "maximum", "empty": "zeros", "sum": "prod", "mean": "sum",
    "ceil": "floor", "float64": "float32",
}  # fmt: skip
SYMMETRIC = {"max", "min", "maximum", "minimum", "add", "multiply", "hypot", "logaddexp", "vdot", "isclose", "allclose"}
"""Exchanging their arguments changes nothing."""
NEUTRAL = {"copy", "check_finite", "overwrite", "overwrite_a", "overwrite_b", "optimize", "strict", "n_jobs"}
"""Named arguments that save time or guard against what cannot happen: no result hangs on them."""


def operator(function: Operator) -> Operator:
    """Register under its own name."""
    OPERATORS[function.__name__] = function
    return function


def changed(node: ast.AST, **parts: object) -> ast.AST:
    """A copy with other parts."""
    other = copy.deepcopy(node)
    for name, value in parts.items():
        setattr(other, name, value)
    return other


@operator
def comparison(node: ast.AST) -> Iterator[ast.AST]:
    """< by <= and >, == by !=, is by is not, in by not in, and back."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield changed(node, ops=[other()])


@operator
def arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    """+ by -, * by /, a power by a product, and back."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield changed(node, op=ARITHMETIC[type(node.op)]())


@operator
def constant(node: ast.AST) -> Iterator[ast.AST]:
    """n by n + 1, a fraction by twice itself, True by False."""
    if not isinstance(node, ast.Constant) or isinstance(node.value, str | bytes | complex | type(None) | type(...)):
        return
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    else:
        yield ast.Constant(2 * value if value else 1.0)


@operator
def junction(node: ast.AST) -> Iterator[ast.AST]:
    """and by or, and back."""
    if isinstance(node, ast.BoolOp):
        yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


@operator
def negation(node: ast.AST) -> Iterator[ast.AST]:
    """not x, -x and ~x by x; a condition that is a plain name by its opposite."""
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.If | ast.IfExp) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield f"not {ast.unparse(node.test)}"


@operator
def alternative(node: ast.AST) -> Iterator[ast.AST]:
    """a if c else b by b if c else a."""
    if isinstance(node, ast.IfExp):
        yield changed(node, body=node.orelse, orelse=node.body)


@operator
def returned(node: ast.AST) -> Iterator[ast.AST]:
    """The first two of a returned tuple exchanged."""
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        first, second, *rest = node.value.elts
        yield changed(node, value=ast.Tuple([second, first, *rest], ast.Load()))


@operator
def arguments(node: ast.AST) -> Iterator[ast.AST]:
    """The first two arguments of a call exchanged; each named one left out."""
    if not isinstance(node, ast.Call):
        return
    plain = [not isinstance(a, ast.Starred) for a in node.args[:2]]
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if len(plain) == 2 and all(plain) and name not in SYMMETRIC:
        yield changed(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for place, named in enumerate(node.keywords):
        if named.arg is not None and named.arg not in NEUTRAL:
            yield changed(node, keywords=[k for i, k in enumerate(node.keywords) if i != place])


@operator
def function(node: ast.AST) -> Iterator[ast.AST]:
    """max by min, argmax by argmin, any by all, zeros by ones, a sum by a product, and back."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in OTHER_NAMES:
        yield changed(node, attr=OTHER_NAMES[node.attr])
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in ("max", "min", "any", "all"):
        yield changed(node, id=OTHER_NAMES[node.id])


@operator
def statement(node: ast.AST) -> Iterator[str]:
    """A call for its effect, a change in place, or an error, left out; break by continue."""
    in_place = isinstance(node, ast.Assign) and any(isinstance(t, ast.Subscript | ast.Attribute) for t in node.targets)
    effect = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield)
    if in_place or effect or isinstance(node, ast.AugAssign | ast.Raise | ast.Delete | ast.Continue):
        yield "pass"
    if isinstance(node, ast.Break):
        yield "continue"


def mutants(path: str, source: str) -> list[Mutant]:
    """Every fault that the operators know for a file, in the order of the text."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    raw, found = source.encode(), []
    for node in _walk(ast.parse(source)):
        for name, apply in OPERATORS.items():
            for other in apply(node):
                target = node.test if name == "negation" and isinstance(node, ast.If | ast.IfExp) else node
                begin = starts[target.lineno - 1] + target.col_offset
                end = starts[target.end_lineno - 1] + target.end_col_offset
                text = other if isinstance(other, str) else ast.unparse(ast.fix_missing_locations(other))
                if isinstance(target, ast.Compare | ast.BinOp | ast.BoolOp | ast.IfExp):
                    text = f"({text})"
                if "\n" in text or raw[begin:end].decode() == text:
                    continue
                found.append(Mutant(path, name, target.lineno, begin, end, text, lines[target.lineno - 1].strip()))
    return sorted(found, key=lambda m: (m.begin, m.end, m.operator, m.text))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that no behaviour hangs on."""
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Raise) and field == "exc":
            continue  # the statement is left out as a whole; its words are not touched
        if isinstance(node, ast.AnnAssign) and field == "target":
            continue
        if isinstance(node, ast.keyword) and node.arg in NEUTRAL:
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from _walk(part)
