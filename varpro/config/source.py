"""The way of a config from a file to validated sections: read once, overridden, validated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from varpro.config.errors import explain
from varpro.config.file import apply_override, find_config, read_tree, shown_path
from varpro.config.sections import Tree
from varpro.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
Explain = Callable[[ValidationError, Tree, type[BaseModel]], tuple[str, str]]


@dataclass(frozen=True)
class ConfigSource:
    """The tree of a config file, and the origin of each overridden key."""

    path: Path
    tree: Tree
    origins: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, source: str | Path) -> "ConfigSource":
        """The file at a path, or the shipped config with this name.  Raises ConfigError."""
        path = find_config(source)
        return cls(path, read_tree(path))

    def override(self, overrides: Sequence[str], fixed: Mapping[str, object], model: type[BaseModel]) -> None:
        """Put `key.path=value` overrides, then top-level values, into the tree; a value of None is left out."""
        for override in overrides:
            self.origins[apply_override(self.tree, override, model)] = f"--set {override}"
        for key, value in fixed.items():
            if value is not None:
                self.tree[key], self.origins[key] = value, f"--{key} {value}"

    def validated(self, model: type[M], explain: Explain = explain) -> M:
        """The tree as a config.  Raises ConfigError that begins with the override at fault, else with the file."""
        return validated(model, self.tree, shown_path(self.path), self.origins, explain)


def validated(
    model: type[M],
    tree: Tree,
    where: str,
    origins: Mapping[str, str] | None = None,
    explain: Explain = explain,
) -> M:
    """A plain mapping as a config of one kind; `where`, or the origin of the key at fault, begins an error.

    Raises ConfigError: one line with the key, the value and the remedy.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        key, complaint = explain(error, tree, model)
        heads = [origin for name, origin in (origins or {}).items() if key == name or key.startswith(f"{name}.")]
        raise ConfigError(f"{heads[-1] if heads else where}: {complaint}") from None
