"""The API reference of the site is complete: it has every public name once, and no other."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import varpro

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "varpro"
MODULES = [module.name for module in pkgutil.iter_modules([str(PACKAGE / "adapters")])]
ADAPTERS = [f"varpro.adapters.{name}" for name in MODULES if not name.startswith("_")]
PUBLIC = ("varpro", "varpro.models", "varpro.losses", "varpro.statistics", *ADAPTERS)
BLOCK = re.compile(r"^\.\. currentmodule:: (\S+)\n\n\.\. autosummary::\n(?:   :.*\n)+\n((?:   \S+\n)+)", re.MULTILINE)


def source(module):
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(module):
    """`__all__`, or what a module defines by names without an underscore; read, since its library may be missing."""
    tree = ast.parse(source(module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in defined if not name.startswith("_")}


def reference():
    """(module, name) of every entry, in the order of the pages."""
    pages = sorted((ROOT / "docs" / "api").glob("*.rst"))
    blocks = [block for page in pages for block in BLOCK.finditer(page.read_text(encoding="utf-8") + "\n")]
    return [(block[1], name) for block in blocks for name in block[2].split()]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_stands_in_the_reference(module):
    described = {name for home, name in reference() if home == module}
    submodules = {"models", "losses"} if module == "varpro" else set()  # they have pages of their own
    assert described == public_names(module) - submodules


def test_no_name_stands_there_twice_and_none_that_is_not_public():
    entries = reference()
    assert len(set(entries)) == len(entries)
    assert {home for home, _ in entries} == set(PUBLIC)


def test_every_entry_has_a_docstring():
    for module, name in reference():
        if not any(library in module for library in ("torch", "sklearn", "jax")):
            found = getattr(importlib.import_module(module), name)
            assert isinstance(found, dict) or found.__doc__, f"{module}.{name} has none"


def test_every_page_is_in_a_table_of_contents():
    docs = ROOT / "docs"
    files = [*docs.glob("*.md"), *docs.glob("api/*.rst")]
    pages = {file.relative_to(docs).with_suffix("").as_posix() for file in files}
    listed = {"index"}
    for page in pages:
        path = next(path for path in (docs / f"{page}.md", docs / f"{page}.rst") if path.exists())
        for tree in re.findall(r"toctree(?:\}|::)\n(.*?)(?:```|\Z)", path.read_text(encoding="utf-8"), re.DOTALL):
            entries = [line.strip() for line in tree.splitlines() if line.strip() and not line.strip().startswith(":")]
            listed |= {(Path(page).parent / entry).as_posix() for entry in entries}
    assert pages <= listed


def test_the_version_is_the_one_of_changelog_and_citation():
    releases = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    citation = re.search(r'^version: "(.*)"$', (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation[1] == releases[0]
    if ".dev" in varpro.__version__:
        assert _numbers(varpro.__version__) > _numbers(releases[0])
    else:
        assert varpro.__version__ == releases[0]


def _numbers(version):
    return tuple(int(part) for part in version.split(".")[:3])
