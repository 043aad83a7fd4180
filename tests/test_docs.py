"""The Python of the documentation runs: the blocks of a page, one after another, in one namespace."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = ["index.md", "fitting.md", "models.md", "coming_from.md", "losses.md"]


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
