"""What the real CuPy says of itself, readable without a GPU: names, parameters, and the names that varpro uses."""

import ast
import inspect
import re
from pathlib import Path

ROOTS = ("xp", "cupy")
"""Variables that hold the module, also as attributes (device.xp)."""
CALLS = ("namespace", "device_namespace")
"""Functions that return it."""


def parameters(function):
    """Names of the parameters, "*" for any number of them; from the docstring where a compiled function has no more."""
    try:
        given = inspect.signature(function).parameters.values()
        names = ["*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else p.name for p in given]
    except (TypeError, ValueError):
        text = re.search(r"\((.*)\)", (function.__doc__ or "").partition("\n")[0])
        assert text, f"{function} tells no parameters"
        words = [part.partition("=")[0].split()[-1].replace("\\", "") for part in text[1].split(",") if part.strip()]
        names = ["*" if len(word) > 1 and word[0] == "*" else word for word in words if word not in ("/", "*")]
    return [name for name in names if name != "self"]


def reached(tree):
    """(dotted name, node, whether it is called) for every attribute of CuPy that a source reaches."""
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        parts, base = [], node
        while isinstance(base, ast.Attribute):
            parts.insert(0, base.attr)
            base = base.value
        known = isinstance(base, ast.Name) and base.id in ROOTS
        made = isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id in CALLS
        if known or made:
            yield ".".join(parts), node, called.get(id(node))
        elif "xp" in parts[:-1]:
            yield ".".join(parts[parts.index("xp") + 1 :]), node, called.get(id(node))


def uses(*folders):
    """{dotted name: [(place, call or None)]} over the sources of some folders."""
    found = {}
    for folder in folders:
        for source in sorted(Path(folder).rglob("*.py")):
            for name, node, call in reached(ast.parse(source.read_text())):
                found.setdefault(name, []).append((f"{source.name}:{node.lineno}", call))
    return found
