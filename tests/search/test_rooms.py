"""Which room of the fits may call which: every import follows an arrow, and none runs back.

    fitting -> search -> problems -> gauss_newton -> linalg -> kernels -> arrays -> errors

An import under TYPE_CHECKING counts for nothing: it names a type, and calls nothing.  One inside a function counts.
"""

import ast
from pathlib import Path

import pytest

import varpro

ROOT = Path(varpro.__file__).parent
LEAVES = {"errors", "arrays", "result", "registry"}
ARROWS = {
    "errors": set(),
    "arrays": {"errors"},
    "result": {"arrays"},
    "registry": {"errors"},
    "linalg": {"kernels", *LEAVES},
    "gauss_newton": {"linalg", "kernels", *LEAVES},
    "projected_jacobian": {"linalg", *LEAVES},
    "statistics": {"projected_jacobian", "linalg", *LEAVES},
    "search": {"problems", "gauss_newton", "linalg", "kernels", *LEAVES},
    "fitting": {"search", "problems", "models", "statistics", "gauss_newton", "linalg", "kernels", "report", *LEAVES},
    "dmd": {"fitting", "models", "linalg", *LEAVES},
}
"""What each room may import beside itself; rooms that are not named have arrows of their own elsewhere."""
CURVES = ("interface", "separable", "general", "small", "separate", "compressed", "curves", "columns", "active_sets",
          "bounded_amplitudes")  # fmt: skip
OF_CURVES = {"problems", "gauss_newton", "linalg", "kernels", *LEAVES}
"""What the problems of fits may import: neither models nor the search."""
PUBLIC = {"varpro", "arrays", "errors", "fitting"}
"""What adapters to SciPy and scikit-learn see."""


def imported(path):
    """The rooms that a module imports, "varpro" for the package itself."""

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "varpro":
            rest = node.module.split(".")[1:]
            rooms.update([rest[0]] if rest else [a.name if (ROOT / a.name).exists() else "varpro" for a in node.names])
        if isinstance(node, ast.Import):
            rooms.update([*a.name.split("."), "varpro"][1] for a in node.names if a.name.split(".")[0] == "varpro")
        for child in ast.iter_child_nodes(node):
            visit(child)

    rooms = set()
    visit(ast.parse(path.read_text()))
    return rooms


def modules(room):
    return [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_what_lies_behind_it_only(room):
    assert modules(room)
    for path in modules(room):
        assert imported(path) - {room} <= ARROWS[room], path.name


def test_problems_of_curves_know_neither_models_nor_the_search():
    for name in CURVES:
        assert imported(ROOT / "problems" / f"{name}.py") <= OF_CURVES, name


@pytest.mark.parametrize("name", ["scipy", "sklearn"])
def test_adapters_of_fits_are_imported_by_none_and_see_the_door(name):
    assert imported(ROOT / "adapters" / f"{name}.py") <= PUBLIC
    for path in ROOT.rglob("*.py"):
        if "adapters" not in path.parts:
            assert f"adapters.{name}" not in path.read_text(), path


def test_an_arrow_that_runs_back_is_seen(tmp_path):
    lines = ("def f():", "    from varpro.fitting.api import fit", "    import varpro.train.glue")
    (tmp_path / "back.py").write_text("\n".join(lines))
    assert imported(tmp_path / "back.py") == {"fitting", "train"}
