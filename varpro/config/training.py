"""Configs of trainings: the file is read once, and its keys say which kind of run it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from varpro.config.layered import LayeredConfig
from varpro.config.scalarized import ScalarizedConfig
from varpro.config.source import ConfigSource


def sort_of_run(tree: Mapping[str, object]) -> type[ScalarizedConfig] | type[LayeredConfig]:
    """The kind of config that a tree is: of a layered network if it has the key `network`."""
    return LayeredConfig if "network" in tree else ScalarizedConfig


def load_config(source: str | Path, overrides: Sequence[str] = (), **fixed: object) -> ScalarizedConfig | LayeredConfig:
    """A config from a path or a shipped name, with `key.path=value` overrides and fixed top-level values.

    fixed : seed, backend, output; None is left out, and backend sets the key that chooses it.
    Raises ConfigError: one line with the key, the value and the remedy, which begins with the origin of the value.
    """
    given = ConfigSource.read(source)
    sort = sort_of_run(given.tree)
    given.override(overrides, {sort.backend_key if key == "backend" else key: v for key, v in fixed.items()}, sort)
    config = given.validated(sort)
    config.check_without_data()
    config.check_effect(given.origins)
    return config if config.output else config.model_copy(update={"output": f"runs/{given.path.stem}"})
