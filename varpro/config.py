"""The config of a training run: what it may hold, and one-line answers when it holds something else."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from varpro.errors import ConfigError

SHIPPED = Path(__file__).parent / "configs"


class Section(BaseModel):
    """A part of a config: frozen, no unknown keys, docstrings below the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _strict_bool(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _strict_int(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("must be a whole number")
    return value


def _strict_float(value: Any) -> Any:
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-3 as text
            return float(value)
        except ValueError:
            raise ValueError("must be a number") from None
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Bool = Annotated[bool, BeforeValidator(_strict_bool)]
Int = Annotated[int, BeforeValidator(_strict_int)]
Float = Annotated[float, BeforeValidator(_strict_float)]


class Data(Section):
    """Which images."""

    source: str
    """A data set's name, or the path of a .npz or .h5 with images and labels."""
    validation: Annotated[Int, Field(ge=0)] | None = None
    """Images held out from the end of the training part; null = the data set's own rule."""
    train: Annotated[Int, Field(ge=1)] | None = None
    """At most so many training images, from the beginning; null = all."""
    test: Annotated[Int, Field(ge=1)] | None = None
    """At most so many test images; null = all."""


class Model(Section):
    """The units."""

    unit: Literal["quadratic", "bilinear", "local-bilinear"] = "quadratic"
    sigma: Literal["tanh", "logistic"] = "tanh"
    window: tuple[Annotated[Int, Field(ge=1)], Annotated[Int, Field(ge=1)]] = (6, 14)
    """Smallest and largest side of a window, pixels; for local-bilinear units."""

    @field_validator("window")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError(f"must be [smallest, largest], got {list(value)}")
        return value


class Search(Section):
    """Levenberg-Marquardt on each sub-network."""

    iterations: Annotated[Int, Field(ge=0)] = 15
    cost_tolerance: Annotated[Float, Field(ge=0)] = 3e-3
    """Stop when (f_old - f_new) / f_old falls below."""
    jacobian: Literal["golub-pereyra", "kaufman"] = "golub-pereyra"
    gn_precision: Literal["fp64", "fp32"] = "fp64"
    """Precision of D and D^T D; values, residual, gradient sums and the acceptance test are fp64 always."""
    ridge: Annotated[Float, Field(ge=0)] = 0.0
    """mu in 1/2 ||Y - Phi A||^2 + mu/2 ||A||^2"""
    rank_tolerance: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """Relative to the largest singular value of Phi; null = max(N, I) eps."""
    initial_damping: Annotated[Float, Field(gt=0)] = 0.1
    """lambda of the first step, in units of diag(H)."""


def _auto_or_number(value: Any) -> Any:
    number = None if value == "auto" else _strict_float(value)
    if number is not None and not (isinstance(number, int | float) and 0 <= number < float("inf")):
        raise ValueError("must be auto or a number >= 0")
    return value if number is None else float(number)


class Glue(Section):
    """The global linear layer."""

    method: Literal["gram", "tsqr"] = "gram"
    ridge: Annotated[Literal["auto"] | float, BeforeValidator(_auto_or_number)] = "auto"
    """mu, or auto = chosen on the validation images."""
    block_rows: Annotated[Int, Field(ge=1)] = 2000
    """Images held as rows of Phi at a time: memory is this times units times 8 bytes."""


class Bootstrap(Section):
    """Guessing the test labels and training on them, section 5 of the paper."""

    enabled: Bool = True
    variant: Literal["paper", "argmax", "confident-only"] = "paper"
    margin: Annotated[Float, Field(ge=0, lt=1)] = 0.2
    """A guess is sure where v1 - v2 > margin v1."""


class Refine(Section):
    """Gauss-Newton-CG on the whole network."""

    enabled: Bool = True
    iterations: Annotated[Int, Field(ge=1)] = 20
    first_rows: Annotated[Int, Field(ge=1)] = 5000
    """Images in the first step's sample."""
    growth: Annotated[Float, Field(ge=1)] = 1.3
    """Factor on the sample after each accepted step, until it holds every image."""
    products: Annotated[Int, Field(ge=1)] = 10
    """Conjugate-gradient products a step, at most."""
    ridge: Annotated[Float, Field(gt=0)] = 1e-5
    """mu for each image in the sample."""
    precision: Literal["fp32", "fp64"] = "fp32"
    """Precision of the products; Gram matrix and sums are fp64 always."""
    damping_floor: Annotated[Float, Field(gt=0)] = 1e-3
    """lambda never falls below: without a floor each step on a sample fits that sample."""


def _shorthand(model: type[Section], **words: dict[Any, dict[str, Any]]) -> Any:
    """Let a plain word or boolean stand for a section."""
    table = words["words"]

    def expand(value: Any) -> Any:
        if isinstance(value, bool | str):
            if value in table:
                return table[value]
            raise ValueError("must be a mapping or one of " + ", ".join(str(w).lower() for w in table))
        return value

    return Annotated[model, BeforeValidator(expand)]


class RunConfig(Section):
    """A whole run.  `subnetworks` x (`units`, `samples`) is the partition."""

    data: Data
    model: Model = Model()
    subnetworks: Annotated[Int, Field(ge=0)] = 104
    """0 = none: one network of `units` random units, which needs `refine`."""
    units: Annotated[Int, Field(ge=1)] = 50
    samples: Annotated[Int, Field(ge=2)] = 2000
    search: Search = Search()
    glue: _shorthand(Glue, words={"gram": {"method": "gram"}, "tsqr": {"method": "tsqr"}}) = Glue()  # type: ignore[valid-type]
    bootstrap: _shorthand(Bootstrap, words={True: {}, False: {"enabled": False}}) = Bootstrap()  # type: ignore[valid-type]
    refine: _shorthand(Refine, words={True: {}, False: {"enabled": False}}) = Refine(enabled=False)  # type: ignore[valid-type]
    control: Bool = True
    """Glue the same units untrained and report them beside the trained ones."""
    reproducible: Bool = False
    """Sums over rows are bitwise the same for any number of ranks."""
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 0
    backend: Literal["auto", "cpu", "cuda"] = "auto"
    output: str | None = None
    """Output folder; null = runs/<name of the config>."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML; loads back to an equal config."""
        return self.model_dump(mode="json")


def load_config(source: str | Path, overrides: Sequence[str] = (), **fixed: Any) -> RunConfig:
    """A config from a path or a shipped name, with `key.path=value` overrides and fixed top-level values.

    fixed values that are None are left out.  Raises ConfigError: one line with the key, the value and the remedy.
    """
    path = find_config(source)
    tree = _read_yaml(path)
    for override in overrides:
        _apply(tree, override)
    tree.update({key: value for key, value in fixed.items() if value is not None})
    config = parse_config(tree, str(path))
    check_without_data(config)
    return config if config.output else config.model_copy(update={"output": f"runs/{path.stem}"})


def parse_config(tree: dict[str, Any], where: str) -> RunConfig:
    """Validate a plain mapping; `where` names it in errors."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from None


def list_configs() -> list[str]:
    """Names of the configs that come with the package."""
    return sorted(path.name for path in SHIPPED.glob("*.yaml"))


def find_config(source: str | Path) -> Path:
    """The file at a path, else the shipped config of that name, with or without .yaml."""
    path = Path(source)
    if path.is_file():
        return path
    for name in (path.name, path.name + ".yaml"):
        if path.parent == Path() and (SHIPPED / name).is_file():
            return SHIPPED / name
    names = list_configs()
    near = difflib.get_close_matches(path.name, [*names, *(n[:-5] for n in names)], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"{source}: no such file, and no config of that name is shipped; {hint}shipped are {', '.join(names)}")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(f"{path}, line {line}: not valid YAML ({error.problem}); check indentation and colons") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: holds a {type(tree).__name__}, a mapping of keys to values is needed")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one key.path=value; the value is read as YAML."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: needs key.path=value, such as search.iterations=10")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML; put text with colons or brackets in quotes") from None
    for key in keys[:-1]:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            inner = _expanded(key, inner)
        tree[key] = inner
        tree = inner
    tree[keys[-1]] = value


def _expanded(key: str, value: Any) -> dict[str, Any]:
    """The mapping that a shorthand stands for, so that a key inside it can be set."""
    if isinstance(value, bool):
        return {"enabled": value}
    return {"method": value} if key == "glue" and isinstance(value, str) else {}


def _explain(error: ValidationError) -> str:
    """The first complaint, as one line that tells what to do."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "literal", "constrained")))
    value, context = first.get("input"), first.get("ctx", {})
    match first["type"]:
        case "extra_forbidden":
            return f"unknown key {key}; {_nearest(key)}"
        case "missing" if key.startswith("model.window"):
            return f"model.window is {value!r}; it needs two sides, [smallest, largest]"
        case "missing":
            return f"{key} is missing; add it, for example {_example(key)}"
        case "literal_error":
            return f"{key} is {value!r}; choose one of {context['expected'].replace(' or ', ', ')}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            sign = {"greater_than_equal": ">=", "greater_than": ">", "less_than_equal": "<=", "less_than": "<"}[first["type"]]
            limit = next(iter(context.values()))
            return f"{key} is {value}; it needs a value {sign} {limit}"
        case "value_error":
            return f"{key} is {value!r}; it {context['error']}"
        case "dict_type" | "model_type":
            return f"{key} is {value!r}; a mapping of keys to values is needed"
        case "finite_number":
            return f"{key} is {value}; it needs a finite number"
        case _:
            return f"{key} is {value!r}; {first['msg'][0].lower()}{first['msg'][1:]}"


_SECTIONS: dict[str, type[Section]] = {
    "data": Data,
    "model": Model,
    "search": Search,
    "glue": Glue,
    "bootstrap": Bootstrap,
    "refine": Refine,
}


def _all_keys() -> list[str]:
    keys = []
    for name in RunConfig.model_fields:
        keys.append(name)
        section = _SECTIONS.get(name)
        keys += [f"{name}.{inner}" for inner in section.model_fields] if section else []
    return keys


def _nearest(key: str) -> str:
    """The right word at the wrong place, else the nearest spelling of the whole path, else of its last part."""
    keys = _all_keys()
    leaves = [k.rsplit(".", 1)[-1] for k in keys]
    last = key.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(last, leaves, n=1, cutoff=0.7)
    found = [k for k, leaf in zip(keys, leaves, strict=True) if leaf == last]
    found = found or difflib.get_close_matches(key, keys, n=1, cutoff=0.7)
    found = found or [k for k, leaf in zip(keys, leaves, strict=True) if near and leaf == near[0]]
    return f"did you mean {found[0]}?" if found else f"keys are {', '.join(RunConfig.model_fields)}"


def _example(key: str) -> str:
    return {"data": "data: {source: mnist}", "data.source": "source: mnist"}.get(key, f"{key}: ...")


def check_without_data(config: RunConfig) -> None:
    """Contradictions that show before any data are read."""
    if config.subnetworks == 0 and not config.refine.enabled:
        raise ConfigError("subnetworks is 0 and refine is off: nothing would be trained; set refine: true or subnetworks >= 1")
    if config.subnetworks and config.units + 1 > config.samples:
        raise ConfigError(
            f"units is {config.units} and samples {config.samples}: a sub-network needs more images than units "
            f"(with the constant, at least {config.units + 1}); lower units or raise samples"
        )


def check_partition(config: RunConfig, n_train: int, n_classes: int, shape: tuple[int, int, int]) -> None:
    """Whether the partition can be made on these data: n_train images of shape (planes, rows, columns)."""
    _, rows, columns = shape
    if config.subnetworks and config.samples > n_train:
        raise ConfigError(f"samples is {config.samples}, but there are {n_train} training images; set samples <= {n_train}")
    if config.subnetworks and config.samples < n_classes:
        raise ConfigError(f"samples is {config.samples}, fewer than the {n_classes} classes; raise samples")
    if config.model.unit == "quadratic" and rows != columns:
        raise ConfigError(f"model.unit is quadratic, but the images are {rows} x {columns}; w^T X w needs square images: set model.unit: bilinear")
    if config.model.unit == "local-bilinear" and config.model.window[1] > min(rows, columns):
        raise ConfigError(
            f"model.window is {list(config.model.window)}, but the images are {rows} x {columns}; "
            f"set the largest side <= {min(rows, columns)}"
        )
