"""The documentation site: `make docs` builds it into build/docs, warnings as errors."""

import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from saved_figures import example_arguments, saved_figures  # noqa: E402
from stand_in import StandIn  # noqa: E402

import varpro  # noqa: E402

project = "varpro"
author = "the varpro developers"
copyright = f"2026, {author}"
version = release = varpro.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "plain_docstrings",  # before numpydoc, so that it sees the docstrings first
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_templates", "_extensions", "gallery/*.ipynb"]

# The pages are Markdown as it is read on a code host, too.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# The reference: one page for each public name.  Docstrings tell shapes and units; annotations would only repeat them.
autosummary_generate = True
autodoc_mock_imports = ["jax"]  # its adapter has a page without it
autodoc_typehints = "none"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
if find_spec("torch") is None:  # its adapter is described all the same
    sys.meta_path.append(StandIn("torch"))

# The gallery: the scripts of examples/ in their quick form, which takes seconds.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "image_scrapers": (saved_figures,),
    "reset_argv": example_arguments,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "default_thumb_file": None,
}

html_theme = "pydata_sphinx_theme"
html_title = "varpro"
html_static_path = ["_static"]
html_css_files = ["varpro.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "varpro"},
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": {"**": ["page-toc"], "mathematics": []},  # its formulas are long
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "tango",
}
html_sidebars = {"index": [], "changelog": [], "gallery/*": []}
