"""Who may import whom: the rooms of the package and its arrows, read from the sources.

An import inside a function counts too; one under TYPE_CHECKING does not, because it does nothing at run time.  Modules
that a registry names are imported at the first look-up: these arrows point from the kinds to their registry.
"""

import ast
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "varpro"
GROUND = {"errors", "arrays", "cores", "registry"}
MATHEMATICS = {"result", "statistics", "linalg", "kernels"}
SEARCH = MATHEMATICS | {"problems", "search"}

ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "arrays": {"errors"},
    "cores": set(),
    "registry": {"errors"},
    "distributed": {"errors"},
    "_cpu": set(),
    "_cuda": set(),
    "kernels": {"_cpu", "_cuda"},
    "linalg": {"kernels"},
    "result": set(),
    "statistics": {"linalg", "result"},
    "gauss_newton": {"kernels", "linalg"},
    "problems": {"gauss_newton", "kernels", "linalg"},
    "search": MATHEMATICS | {"problems", "gauss_newton"},
    "models": {"kernels"},
    "export": {"models"},
    "losses": {"kernels", "linalg"},
    "tables": set(),
    "config": {"fitting", "models", "tables"},  # of fitting, the one list of its options
    "report": {"result"},
    "fitting": SEARCH | {"models", "report"},
    "train": {"train.checkpoint", "train.data", "config", "distributed", "linalg", "models", "report"},
    "train.checkpoint": {"distributed"},
    "train.data": {"train.checkpoint", "config", "distributed", "models", "tables"},
    "train.scalarized": SEARCH | {"train", "train.checkpoint", "train.data", "config", "distributed", "models",
                                  "report"},
    "train.layered": {"train", "train.checkpoint", "train.data", "adapters.torch", "config", "distributed", "losses",
                      "models", "report"},
    "train.storage": {"train", "train.scalarized", "train.layered"},
    "adapters": {"config", "distributed", "fitting", "linalg", "report", "train", "train.scalarized"},
    "adapters.torch": {"adapters", "export", "losses", "models"},
    "cli": {"adapters.torch", "export", "fitting", "train", "train.checkpoint", "train.storage", "train.data",
            "train.scalarized", "train.layered",
            "config", "distributed", "kernels", "models", "report", "result", "tables"},
    "": {"fitting", "models", "result", "train.storage"},
}  # fmt: skip
"""The rooms that each room may import, besides itself and GROUND; "" is `varpro` itself, with the public names."""

OVER_THE_PUBLIC_NAMES = {"adapters", "cli", "export", "report"}
"""Rooms that import `varpro` itself, as a user does: for its functions, or its version."""

KNOWN_EXCEPTIONS: tuple[tuple[str, str], ...] = ()
"""Arrows that run back today and are to be mended; one that is gone must leave this list."""

THIRD_PARTIES: dict[str, tuple[str, ...]] = {
    "cupy": ("varpro/arrays/*", "varpro/kernels/*"),
    "cupy_backends": ("varpro/arrays/*", "varpro/kernels/*"),
    "mpi4py": ("varpro/distributed/*",),
    "h5py": ("varpro/train/model_file.py", "varpro/train/*/storage.py", "varpro/train/checkpoint/hdf5.py",
             "varpro/train/data/*", "varpro/tables/named_arrays.py"),
    "torch": ("varpro/adapters/torch/*", "varpro/train/layered/*"),
    "jax": ("varpro/adapters/jax.py",),
    "onnx": ("varpro/export/onnx_model.py",),
    "PIL": ("varpro/train/data/picture_files.py",),
    "pyarrow": ("varpro/train/data/parquet.py",),
    "matplotlib": ("varpro/report/*",),
    "jinja2": ("varpro/report/*",),
    "rich": ("varpro/report/*",),
    "tqdm": ("varpro/report/*",),
    "pydantic": ("varpro/config/*",),
    "pydantic_core": ("varpro/config/*",),
    "yaml": ("varpro/config/*", "varpro/report/*", "varpro/cli/*"),
    "pooch": ("varpro/train/data/*",),
    "sklearn": ("varpro/adapters/sklearn/*", "varpro/train/data/*", "varpro/train/layered/pictures.py"),
    "threadpoolctl": ("varpro/distributed/threads.py", "varpro/linalg/one_pool.py"),
}  # fmt: skip
"""Files that may import a package that is no part of Python; numpy and scipy may be imported everywhere."""


def imports_of(text: str) -> set[str]:
    """Full names of what a source imports; `from varpro.x import y` as varpro.x.y, which may be a module."""
    tree = ast.parse(text)
    unseen = {id(node) for block in ast.walk(tree) if _is_typing_block(block) for node in ast.walk(block)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def _is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room_of(module: str) -> str:
    """The room that a full name below varpro lies in: the longest that ARROWS has."""
    parts = module.split(".")[1:]
    for length in (2, 1):
        room = ".".join(parts[:length])
        if len(parts) >= length and room in ARROWS:
            return room
    return parts[0] if parts and parts[0] in GROUND else ""


@cache
def modules() -> dict[str, set[str]]:
    """What each module imports, by its full name."""
    return {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): imports_of(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(ROOT.rglob("*.py"))
    }


def arrows() -> dict[tuple[str, str], list[str]]:
    """The rooms on both ends of each import that leaves its room, with the modules that it stands in."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, names in modules().items():
        for name in names:
            ends = room_of(module), room_of(name)
            if name.split(".")[0] == "varpro" and ends[0] != ends[1]:
                found.setdefault(ends, []).append(module)
    return found


def allowed(source: str, target: str) -> bool:
    """Whether a room may import another."""
    if target == "":
        return source.split(".")[0] in OVER_THE_PUBLIC_NAMES
    if target in GROUND and source not in GROUND:
        return True
    return target in ARROWS[source] or (source, target) in KNOWN_EXCEPTIONS


def test_rooms_import_only_what_their_arrows_point_at():
    backward = {ends: modules for ends, modules in arrows().items() if not allowed(*ends)}
    assert backward == {}


def test_every_known_exception_is_still_there():
    assert {ends for ends in KNOWN_EXCEPTIONS if ends not in arrows()} == set()


def test_the_arrows_have_no_circle():
    """Rooms in an order in which each imports only earlier ones; exceptions are not counted."""
    left, done = dict(ARROWS), set()
    while left:
        free = {room for room, targets in left.items() if targets - {room} <= done}
        assert free, f"the arrows of {sorted(left)} run in circles"
        done |= free
        left = {room: targets for room, targets in left.items() if room not in free}


def test_every_module_lies_in_a_room():
    homeless = [module for module in modules() if room_of(module) == "" and module != "varpro"]
    assert homeless == []


@pytest.mark.parametrize("package", THIRD_PARTIES)
def test_a_third_party_is_imported_in_its_place_only(package):
    strangers = [
        module
        for module, names in modules().items()
        if any(name.split(".")[0] == package for name in names)
        and not any(fnmatch(_path_of(module), pattern) for pattern in THIRD_PARTIES[package])
    ]
    assert strangers == []


def test_nothing_else_is_imported():
    known = set(THIRD_PARTIES) | {"varpro", "numpy", "scipy"} | sys.stdlib_module_names
    found = {name.split(".")[0] for names in modules().values() for name in names}
    assert found - known == set()


def _path_of(module: str) -> str:
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT.parent / path).is_dir() else f"{path}.py"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import torch", {"torch"}),
        ("def f():\n    from varpro.train import job", {"varpro.train.job"}),
        ("if TYPE_CHECKING:\n    import torch\nimport yaml", {"yaml"}),
        ("from varpro.cli import fit, train", {"varpro.cli.fit", "varpro.cli.train"}),
    ],
)
def test_imports_are_found_wherever_they_stand(text, found):
    assert imports_of(text) == found


@pytest.mark.parametrize(
    ("source", "target"),
    [("config", "train"), ("kernels", "linalg"), ("losses", "fitting"), ("models", "config"), ("search", "train"),
     ("problems", "search"), ("linalg", ""), ("linalg", "_cpu"), ("errors", "arrays")],
)  # fmt: skip
def test_an_arrow_that_runs_back_is_not_allowed(source, target):
    assert not allowed(source, target)
