"""report.html: one self-contained page."""

import base64
from importlib import resources

import jinja2
import yaml

from varpro import __version__
from varpro.report.record import Record

TEMPLATES = resources.files("varpro.report").joinpath("templates")


def render(name: str, record: Record, plots: dict[str, bytes], alternatives: dict[str, str], **values: object) -> str:
    """The page of a template as a string.

    plots : PNG bytes by name; alternatives : what each shows, in words; values : what else this kind of page has.
    """
    return _template(name).render(
        version=__version__,
        metrics=record.metrics,
        config=yaml.safe_dump(record.config, sort_keys=False),
        plots=_embedded(plots),
        alternatives=alternatives,
        **values,
    )


def _template(name: str) -> jinja2.Template:
    """A page without its values; a missing value is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: TEMPLATES.joinpath(file).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _embedded(plots: dict[str, bytes]) -> dict[str, str]:
    """Addresses that contain the images themselves."""
    return {name: "data:image/png;base64," + base64.b64encode(png).decode("ascii") for name, png in plots.items()}
