"""The figures of an example for the gallery: the scripts save them, so they are taken from where they were saved."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

FOLDER = Path(tempfile.mkdtemp(prefix="varpro-gallery-"))


class _Arguments:
    """The command line of an example; sphinx-gallery wants something that it can call and that has a fixed repr."""

    def __call__(self, gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
        return ["--quick", "--output", str(FOLDER)]

    def __repr__(self) -> str:
        return "example_arguments"


class _SavedFigures:
    """A scraper: every PNG that the block of code before has saved."""

    def __call__(self, block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
        taken = []
        for saved in sorted(FOLDER.glob("*.png")):
            place = Path(next(block_vars["image_path_iterator"]))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(saved, place)
            taken.append(str(place))
        return figure_rst(taken, gallery_conf["src_dir"])

    def __repr__(self) -> str:
        return "saved_figures"


example_arguments, saved_figures = _Arguments(), _SavedFigures()
