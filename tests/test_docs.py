"""The Python of the documentation runs, the blocks of a page in one namespace; what its pages name exists."""

import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = ["index.md", "fitting.md", "models.md", "coming_from.md", "losses.md", "intervals.md", "joint.md"]
ROOT = DOCS.parent
TEXTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/api/*.rst", "docs/_static/*.svg", "examples/*.rst", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
ANY_STEM = re.compile(r"<stem>|STEM|NAME")  # a kernel that has a file of every kind stands for all of them
FILE = re.compile(r"(?<![\w/.-])(?:varpro|csrc|tests|bench|examples|cmake|docs)/[\w./*-]*[\w/*]")
MODULE = re.compile(r"(?<![\w/.-])varpro(?:\.[A-Za-z_]\w*)+")


def exists(name):
    """Whether a dotted name is a module of the package, or an attribute of one."""
    *home, last = name.split(".")
    path = ROOT.joinpath(*home, last)
    if path.is_dir() or any(path.with_suffix(suffix).is_file() for suffix in (".py", ".pyi")):
        return True
    if not home:
        return False
    if ROOT.joinpath(*home).is_dir() or ROOT.joinpath(*home).with_suffix(".py").is_file():
        return "adapters" in home or hasattr(importlib.import_module(".".join(home)), last)
    return exists(".".join(home))  # an attribute of a class


@pytest.mark.parametrize("page", TEXTS)
def test_every_path_and_module_of_a_page_exists(page):
    text = ANY_STEM.sub("gauss_newton", (ROOT / page).read_text(encoding="utf-8"))
    missing = {path for path in FILE.findall(text) if not list(ROOT.glob(path))}
    missing |= {name for name in MODULE.findall(text) if not exists(name)}
    assert not missing


def test_a_name_that_is_gone_is_noticed():
    there = ["varpro._cuda", "varpro.search.loop", "varpro.models.Exponentials"]
    gone = ["varpro.solvers", "varpro.kernels.on_device", "varpro.models.Exponential"]
    assert [name for name in there + gone if exists(name)] == there


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, namespace = (DOCS / page).read_text(encoding="utf-8"), {"__name__": page}
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        code = "\n" * line + block[1]  # errors then name the line of the page
        exec(compile(code, str(DOCS / page), "exec"), namespace)


def test_every_key_of_a_fit_config_is_documented_with_its_default():
    from varpro.config.fit import MODELS, FitConfig

    page = (DOCS / "varpro_fit.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", page, re.MULTILINE))
    for name, field in FitConfig.model_fields.items():
        assert name in rows, f"docs/varpro_fit.md lacks the key {name}"
        if name not in ("model", "columns"):
            words = {"None": "null", "False": "false"}
            assert rows[name] == words.get(str(field.default), str(field.default))
    assert all(f"`{kind}`" in page for kind in MODELS)
