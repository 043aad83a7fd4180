"""Where a config's text comes from: a file or a shipped name, and overrides from the command line."""

import difflib
from collections.abc import Hashable
from pathlib import Path

import yaml
from pydantic import BaseModel

from varpro.config.errors import shown
from varpro.config.sections import Tree
from varpro.errors import ConfigError

SHIPPED = Path(__file__).parents[1] / "configs"


class _Loader(yaml.SafeLoader):
    """Safe YAML that rejects a key given twice, where YAML itself would silently use the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                problem = f"the key {key.value} is given twice in the same place"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def list_configs() -> list[str]:
    """The names of the configs that come with the package."""
    return sorted(path.name for path in SHIPPED.glob("*.yaml"))


def find_config(source: str | Path) -> Path:
    """The file at a path, else the shipped config of that name, with or without .yaml.  Raises ConfigError."""
    path = Path(source)
    if path.is_file():
        return path
    for name in (path.name, path.name + ".yaml"):
        if path.parent == Path() and name and (SHIPPED / name).is_file():
            return SHIPPED / name
    names = list_configs()
    if str(source) and path.is_dir():
        raise ConfigError(f"{source}: is a folder; name a YAML file, or one of {', '.join(names)}")
    near = difflib.get_close_matches(path.name, [*names, *(n.removesuffix(".yaml") for n in names)], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{str(source) or '(empty name)'}: no such file, and no config of that name is shipped; {hint}"
        f"shipped are {', '.join(names)}"
    )


def shown_path(path: Path) -> str:
    """The name of a config in error messages: a shipped one without its folder."""
    return path.name if path.parent == SHIPPED else str(path)


def read_tree(path: Path, *, example: str = "a data source, such as data: {source: mnist}") -> Tree:
    """The mapping in a YAML file; example : what an empty file lacks.  Raises ConfigError with the line."""
    where = shown_path(path)
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        remedy = "remove one" if "twice" in str(error.problem) else "check indentation, colons, quotes and brackets"
        raise ConfigError(f"{where}, line {line}: not valid YAML ({_words(error)}); {remedy}") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); check the file's permissions") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise ConfigError(f"{where}: cannot be read as YAML: it is no text in UTF-8; name a text file") from None
    if tree is None:
        raise ConfigError(f"{where}: is empty; it needs at least {example}")
    if not isinstance(tree, dict):
        kind = {"list": "a list", "str": "plain text"}.get(type(tree).__name__, f"only {shown(tree)}")
        raise ConfigError(f"{where}: holds {kind}; a mapping of keys to values is needed, such as units: 50")
    return tree


def _words(error: yaml.MarkedYAMLError) -> str:
    """The parser's message, without its own abbreviations."""
    problem = " ".join(str(error.problem).split())
    if "'\\t'" in problem:
        return "a tab stands where spaces are needed"
    if "could not determine a constructor" in problem:
        return "tags such as !name are not allowed"
    return problem


def apply_override(tree: Tree, override: str, model: type[BaseModel]) -> str:
    """Set one key.path=value in a tree, reading the value as YAML; returns the key.  Raises ConfigError."""
    path, equals, text = override.partition("=")
    path = path.strip()
    *above, last = keys = path.split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: needs key.path=value, such as search.iterations=10")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise ConfigError(
            f"--set {override}: the value is not valid YAML; put text with colons or brackets in quotes"
        ) from None
    for depth, key in enumerate(above):
        field = model.model_fields.get(key) if depth == 0 else None
        if field is not None and not _is_section(field.annotation):
            raise ConfigError(f"--set {override}: {key} is a single value without keys below it; use --set {key}=...")
        if not isinstance(tree.get(key), dict):
            tree[key] = _expanded(key, tree.get(key))
        tree = tree[key]
    tree[last] = value
    return path


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _expanded(key: str, value: object) -> Tree:
    """The mapping that a shorthand stands for; true and false are dropped, since a key below a section turns it on."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"weight": value}
    return {"method": value} if key == "glue" and isinstance(value, str) else {}
