"""The config of a training run: what it may hold, and what contradicts itself.

Reading files and overrides is in config_file, the wording of complaints in config_errors.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from varpro.config_errors import explain
from varpro.config_file import apply_override, find_config, list_configs, read_tree, shown_path
from varpro.errors import ConfigError

__all__ = ["RunConfig", "check_partition", "find_config", "list_configs", "load_config", "parse_config"]


M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", bound="HasData")


class Section(BaseModel):
    """A part of a config: frozen, no unknown keys, docstrings below the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


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


def _label(value: Any) -> Any:
    """A label as text: 3 may stand for '3'."""
    return str(value) if isinstance(value, int) else value


Label = Annotated[str, BeforeValidator(_label), Field(min_length=1)]


class Data(Section):
    """Which images."""

    source: Annotated[str, Field(min_length=1)]
    """A data set's name, or the path of a .npz or .h5 with arrays images and labels."""
    validation: Annotated[Int, Field(ge=0)] | None = None
    """Images held out from the end of the training part; null = 10,000 of MNIST, Fashion-MNIST, CIFAR-10, else 1/6."""
    train: Annotated[Int, Field(ge=1)] | None = None
    """At most so many training images, from the beginning; null = all."""
    test: Annotated[Int, Field(ge=1)] | None = None
    """At most so many test images, from the beginning; null = all."""
    classes: Annotated[list[Label], Field(min_length=2)] | None = None
    """Labels of your own data in the order of the classes; null = all that occur, sorted."""


class HasData(Section):
    """Any config of a training."""

    data: Data


class Model(Section):
    """The units: Phi = [sigma(q) | 1]."""

    unit: Literal["quadratic", "bilinear", "local-bilinear"] = "quadratic"
    """q = w^T X w + b, q = u^T X v + b, or u^T X v + b with u and v nonzero on a random window only."""
    sigma: Literal["tanh", "logistic"] = "tanh"
    """tanh(q), or 1 / (1 + exp(-q))."""
    window: tuple[Annotated[Int, Field(ge=1)], Annotated[Int, Field(ge=1)]] = (6, 14)
    """Smallest and largest side of a window, pixels; for local-bilinear units."""

    @field_validator("window")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError("must be [smallest, largest]")
        return value


class Search(Section):
    """Levenberg-Marquardt on each sub-network."""

    iterations: Annotated[Int, Field(ge=0)] = 15
    """At most so many Gauss-Newton matrices a sub-network."""
    cost_tolerance: Annotated[Float, Field(ge=0)] = 3e-3
    """Stop when (f_old - f_new) / f_old falls below."""
    jacobian: Literal["golub-pereyra", "kaufman"] = "golub-pereyra"
    """The full derivative of the projected residual, or without its part in range(Phi)."""
    gn_precision: Literal["fp64", "fp32", "tf32"] = "fp64"
    """Precision of D and D^T D; values, residual, gradient sums and the acceptance test are fp64 always.  tf32, factors
    of D^T D rounded to ten bits, on a GPU only."""
    ridge: Annotated[Float, Field(ge=0)] = 0.0
    """mu in 1/2 ||Y - Phi A||^2 + mu/2 ||A||^2."""
    rank_tolerance: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """Singular values of Phi below this times the largest count as zero; null = max(N, I) eps."""
    initial_damping: Annotated[Float, Field(gt=0)] = 0.1
    """lambda of the first step, in units of diag(H)."""


def _auto_or_number(value: Any) -> Any:
    if value == "auto":
        return value
    number = _strict_float(value)
    if not (isinstance(number, int | float) and 0 <= number < float("inf")):
        raise ValueError("must be auto or a number >= 0")
    return float(number)


class Glue(Section):
    """The global linear layer.  The plain word tsqr or gram stands for {method: tsqr} or {method: gram}."""

    method: Literal["gram", "tsqr"] = "gram"
    """Cholesky of Phi^T Phi, or orthogonal factorisation and a truncated SVD for ill-conditioned Phi."""
    ridge: Annotated[Literal["auto"] | float, BeforeValidator(_auto_or_number)] = "auto"
    """mu in 1/2 ||Y - Phi A||^2 + mu/2 ||A||^2; auto = chosen on the validation images."""
    block_rows: Annotated[Int, Field(ge=1)] = 2000
    """Images held as rows of Phi at a time: memory is this times all units times 8 bytes."""


class Bootstrap(Section):
    """Guessing the test labels and training on them, section 5 of the paper.  true, false stand for {enabled: ...}."""

    enabled: Bool = True
    """Whether to do it."""
    variant: Literal["paper", "argmax", "confident-only"] = "paper"
    """Ambiguous images: a random label, the largest output, or left out of the training."""
    margin: Annotated[Float, Field(ge=0, lt=1)] = 0.2
    """A guess is sure where v1 - v2 > margin v1, v1 and v2 the largest outputs."""


class Refine(Section):
    """Gauss-Newton-CG on the whole network.  true, false stand for {enabled: ...}; a key below it turns it on."""

    enabled: Bool = True
    """Whether to do it; a config without `refine` does not."""
    iterations: Annotated[Int, Field(ge=1)] = 10
    """Accepted steps, at most."""
    first_rows: Annotated[Int, Field(ge=1)] = 15000
    """Images in the first step's sample."""
    growth: Annotated[Float, Field(ge=1)] = 1.5
    """Factor on the sample after each accepted step, until it holds every image."""
    products: Annotated[Int, Field(ge=1)] = 10
    """Conjugate-gradient products a step, at most."""
    ridge: Annotated[Float, Field(gt=0)] = 1e-5
    """mu for each image in the sample."""
    jacobian: Literal["golub-pereyra", "kaufman"] = "kaufman"
    """Kaufman's matrix costs K image passes a step less and gets as far."""
    precision: Literal["fp32", "fp64"] = "fp32"
    """Precision of the products; Gram matrix and sums are fp64 always."""
    damping_floor: Annotated[Float, Field(gt=0)] = 1e-4
    """lambda never falls below: without a floor each step on a sample fits that sample."""


class RunConfig(HasData):
    """A whole run.  `subnetworks` x (`units`, `samples`) is the partition."""

    model: Model = Model()
    subnetworks: Annotated[Int, Field(ge=0)] = 104
    """Independent networks, trained, then glued; 0 = one network of `units` random units, which needs `refine`."""
    units: Annotated[Int, Field(ge=1)] = 50
    """Units in each sub-network."""
    samples: Annotated[Int, Field(ge=2)] = 2000
    """Images in each sub-network's mini-batch, drawn at random."""
    search: Search = Search()
    glue: Glue = Glue()
    bootstrap: Bootstrap = Bootstrap()
    refine: Refine = Refine(enabled=False)
    control: Bool = True
    """Glue the same units untrained and report them beside the trained ones."""
    reproducible: Bool = False
    """Sums over rows are bitwise the same for any number of ranks."""
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 0
    """Of every random draw: mini-batches, starts, windows, guesses."""
    backend: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = on a GPU where one can be used and the units have a kernel there."""
    device: Annotated[Int, Field(ge=0)] | None = None
    """Number of the GPU; null = the ranks of a node take its GPUs in turn."""
    output: str | None = None
    """Output folder; null = runs/<name of the config>."""

    @field_validator("glue", "bootstrap", "refine", mode="before")
    @classmethod
    def _shorthand(cls, value: Any, info: Any) -> Any:
        """A plain word or boolean may stand for a section."""
        words = ("gram", "tsqr") if info.field_name == "glue" else (True, False)
        if isinstance(value, bool | str) and value in words:
            return {"method" if info.field_name == "glue" else "enabled": value}
        if value is None or isinstance(value, dict | Section):
            return value
        raise ValueError(f"must be one of {', '.join(str(w).lower() for w in words)}, or a mapping of keys to values")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML; loads back to an equal config."""
        return self.model_dump(mode="json")


def load_config(source: str | Path, overrides: Sequence[str] = (), **fixed: Any) -> RunConfig:
    """A config from a path or a shipped name, with `key.path=value` overrides and fixed top-level values.

    fixed values that are None are left out.  Raises ConfigError: one line with the key, the value and the remedy,
    headed by where the value came from.
    """
    path, tree, origins = read_overridden(source, overrides, fixed, RunConfig)
    config = parse_config(tree, shown_path(path), origins)
    check_without_data(config)
    for key, origin in origins.items():
        section, _, inner = key.partition(".")
        if inner not in ("", "enabled") and getattr(getattr(config, section), "enabled", True) is False:
            raise ConfigError(f"{origin}: has no effect, as {section}.enabled is false; set that to true too")
    return config if config.output else config.model_copy(update={"output": f"runs/{path.stem}"})


def parse_config(tree: dict[str, Any], where: str, origins: dict[str, str] | None = None) -> RunConfig:
    """Validate a plain mapping; `where` heads an error, or the origin of the key it is about (--set, --seed)."""
    return validated(RunConfig, tree, where, origins)


def read_overridden(
    source: str | Path, overrides: Sequence[str], fixed: Mapping[str, Any], model: type[BaseModel]
) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """The file of a config, its tree with the overrides in it, and where the overridden keys came from."""
    path = find_config(source)
    tree, origins = read_tree(path), dict[str, str]()
    for override in overrides:
        origins[apply_override(tree, override, model)] = f"--set {override}"
    for key, value in fixed.items():
        if value is not None:
            tree[key], origins[key] = value, f"--{key} {value}"
    return path, tree, origins


def validated(model: type[M], tree: dict[str, Any], where: str, origins: Mapping[str, str] | None) -> M:
    """A plain mapping as a config of one kind.  Raises ConfigError."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        key, complaint = explain(error, tree, model)
        heads = [origin for name, origin in (origins or {}).items() if key == name or key.startswith(f"{name}.")]
        raise ConfigError(f"{heads[-1] if heads else where}: {complaint}") from None


def with_classes(config: C, class_names: Sequence[str]) -> C:
    """The config with the labels that were found in the user's own data; unchanged where they are 0..K-1."""
    if list(class_names) == [str(k) for k in range(len(class_names))]:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"classes": list(class_names)})})


def check_without_data(config: RunConfig) -> None:
    """Contradictions that show before any data are read.  Raises ConfigError."""
    if config.subnetworks == 0 and not config.refine.enabled:
        raise ConfigError(
            "subnetworks is 0 and refine is off: nothing would be trained; set refine: true or subnetworks >= 1"
        )
    if config.subnetworks and config.units + 1 > config.samples:
        raise ConfigError(
            f"units is {config.units} and samples {config.samples}: a sub-network needs more images than units "
            f"(with the constant, at least {config.units + 1}); lower units or raise samples"
        )


def check_partition(config: RunConfig, n_train: int, n_classes: int, shape: tuple[int, int, int]) -> None:
    """Whether the partition can be made on these data: n_train images of shape (planes, rows, columns).

    Raises ConfigError.
    """
    _, rows, columns = shape
    if config.subnetworks and config.samples > n_train:
        remedy = (
            f"set samples <= {n_train}"
            if n_train > config.units
            else (f"use more images, or fewer units: units < {n_train}, and samples <= {n_train}")
        )
        raise ConfigError(f"samples is {config.samples}, but there are {n_train} training images; {remedy}")
    if config.subnetworks and config.samples < n_classes:
        raise ConfigError(
            f"samples is {config.samples}, fewer than the {n_classes} classes; raise it to several times {n_classes}"
        )
    if config.model.unit == "quadratic" and rows != columns:
        raise ConfigError(
            f"model.unit is quadratic, but the images are {rows} x {columns}; w^T X w needs square images: "
            "set model.unit: bilinear"
        )
    if config.model.unit == "local-bilinear" and config.model.window[1] > min(rows, columns):
        raise ConfigError(
            f"model.window is {list(config.model.window)}, but the images are {rows} x {columns}; "
            f"set the largest side <= {min(rows, columns)}"
        )
