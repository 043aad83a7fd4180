"""The config of varpro-fit: the model, the columns of the data, and the options of `varpro.fit`."""

import difflib
from collections.abc import Sequence
from dataclasses import fields
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from varpro import models
from varpro.config.errors import explain
from varpro.config.file import read_tree
from varpro.config.sections import Bool, Float, Int, Section, Tree, name_in
from varpro.config.source import ConfigSource
from varpro.errors import ConfigError
from varpro.fitting.options import CommonOptions, Jacobian, Loss
from varpro.models.ready import MODELS
from varpro.tables.options import DELIMITERS, TextOptions, line_range

EXAMPLE = "model: [{kind: exponentials, n: 2}, {kind: constant}]"


def _one_of(kinds: Any, words: str) -> BeforeValidator:
    """A type with several branches and a single complaint for all of them."""
    adapter = TypeAdapter[object](kinds)

    def check(value: object) -> object:
        try:
            return adapter.validate_python(value)
        except ValidationError:
            raise ValueError(f"must be {words}") from None

    return BeforeValidator(check)


def _no_text(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


def _delimiter(value: object) -> object:
    if not isinstance(value, str) or not (len(value) == 1 or value in DELIMITERS):
        raise ValueError(f"must be one character, or one of {', '.join(DELIMITERS)}")
    return value


Delimiter = Annotated[str, BeforeValidator(_delimiter)]
Column = Int | Annotated[str, Field(min_length=1)]
_End = Float | list[Float] | None
_Tie = str | tuple[str, Float] | tuple[str, Float, Float]
_Linear = Literal["free", "nonnegative"] | tuple[_End, _End]
_Ridge = Literal["gcv"] | Annotated[Float, Field(ge=0)]
_Fixed = dict[str, Float] | list[str] | None
Ends = Annotated[object, _one_of(tuple[Float | None, Float | None], "[lower, upper], null where there is none")]
Tie = Annotated[object, _one_of(_Tie, "the other's name, [name, factor], [name, factor, offset] or an expression")]
Linear = Annotated[Any, _one_of(_Linear, "free, nonnegative or [lower, upper]")]
Ridge = Annotated[object, _one_of(_Ridge, "gcv or a number >= 0")]
Fixed = Annotated[object, _one_of(_Fixed, "a list of names, or a mapping name: value")]
_Skip = Annotated[Int, Field(ge=0)] | list[Int | str]
SkipRows = Annotated[Any, _one_of(_Skip, "a number of lines, or a list of lines from 1 and ranges such as '40-99'")]
Texts = tuple[Annotated[str, Field(min_length=1)], ...]
_Missing = tuple[Annotated[float, BeforeValidator(_no_text)] | str, ...] | None
Missing = Annotated[Any, _one_of(_Missing, "a list of words or numbers")]


class Part(Section):
    """One summand of the model."""

    kind: Annotated[str, name_in(MODELS)]
    n: Annotated[Int, Field(ge=1)] | None = None
    """The number of shapes of this kind; null = 1."""
    offset: Bool | None = None
    """Whether to append a column of ones; null = false."""
    rates: Bool | None = None
    """Whether exponentials are exp(-k t) instead of exp(-t / tau)."""
    shared_width: Bool | None = None
    """Whether all peaks share one width."""
    magnitude: Bool | None = None
    """Whether a recovery is given by its absolute value."""
    p: Annotated[Int, Field(ge=0)] | None = None
    """The degree of a rational's numerator."""
    q: Annotated[Int, Field(ge=1)] | None = None
    """The degree of a rational's denominator."""
    degree: Annotated[Int, Field(ge=0)] | None = None
    """The degree of a polynomial."""

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> "Part":
        keys = self._keys()
        for name in self.given:
            if name not in keys:
                raise ValueError(f"has {name}, which {self.kind} does not take (it takes {', '.join(keys) or 'none'})")
        for name, key in keys.items():
            if name != "n" and key.default is Parameter.empty and name not in self.given:
                raise ValueError(f"needs {name}, such as {{kind: {self.kind}, {name}: 2}}")
        return self

    def _keys(self) -> dict[str, Parameter]:
        """The arguments of the kind's class that a config can set."""
        arguments = signature(MODELS[self.kind]).parameters
        return {name: argument for name, argument in arguments.items() if name in Part.model_fields}

    @property
    def given(self) -> Tree:
        """The keys that are set, without the kind."""
        return {name: value for name, value in self if name != "kind" and value is not None}

    def build(self) -> models.Model:
        """The summand as a model of `varpro.models`."""
        defaults = {"n": 1} if "n" in self._keys() else {}
        return MODELS[self.kind](**defaults | self.given)


class Columns(Section):
    """Where t and y are: columns of a text file by name or by number from 0, arrays of a .npz or .h5 by name."""

    t: Column | Annotated[list[Column], Field(min_length=2, max_length=2)] | None = None
    """The column or array of t; two columns are a date and a time of day; null = the first column of numbers or time
    stamps, or the array t."""
    y: list[Column] | None = None
    """The columns or the array of y; null = all columns except t and the weights, or the array y."""

    @field_validator("y", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, str | int) else value


class FitConfig(Section):
    """A whole fit: a model, data, and the options of `varpro.fit`, which describes each of them."""

    model: Annotated[list[Part], Field(min_length=1)]
    """The summands of the model."""
    start: list[Float] | None = None
    """The nonlinear parameters to begin with, in the order that --dry-run shows; null = guessed from the data."""
    bounds: dict[str, Ends] | None = None
    """Bounds of nonlinear parameters, as name: [lower, upper]; null = none."""
    fixed: Fixed = None
    """Nonlinear parameters that stay at their start, by name, or at a value, as name: value."""
    tied: dict[str, Tie] | None = None
    """Nonlinear parameters that follow another, as name: other, [other, factor] or [other, factor, offset]."""
    linear: Linear = "free"
    """Limits on the amplitudes: free, nonnegative or [lower, upper], each a number for all, one for each, or null."""
    ridge: Ridge = 0.0
    """The mu of mu ||A||^2; gcv chooses it, for a single fit."""
    loss: Loss = "linear"
    """How large residuals count."""
    loss_scale: Annotated[Float, Field(gt=0)] | None = None
    """The residual beyond which the loss differs from squares; null = from the median residual."""
    jacobian: Jacobian = "golub-pereyra"
    """Whether the Gauss-Newton matrix uses the full derivative of the projected residual or omits its part in
    range(Phi)."""
    max_iterations: Annotated[Int, Field(ge=1)] | None = None
    """The most linearisations; null = 200 for a single fit, 100 in a batch."""
    multistart: Annotated[Int, Field(ge=0)] = 0
    """The number of further starts to try, for a single fit."""
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 0
    """The seed of the further starts."""
    columns: Columns = Columns()
    weights: Column | list[Column] | None = None
    """The column or array that multiplies the residual (1 / error); several columns are one for each of y."""
    absolute_sigma: Bool = False
    """Whether the weights are 1 / known errors, so that standard errors are not scaled with the residual."""
    shared: Bool = False
    """Whether several y share the nonlinear parameters (one fit of y (N, K)); false = each has a fit of its own."""
    skip_rows: SkipRows = 0
    """The lines of a text file to skip: how many at the beginning, or a list of numbers from 1 and ranges like 40-99,
    40-."""
    decimal: Literal[".", ","] | None = None
    """The decimal sign of a text file; the other sign then separates thousands; null = found in the file."""
    delimiter: Delimiter | None = None
    """The separator of columns: one character, or tab, semicolon, comma, bar, space; null = found in the file."""
    comment: Texts | None = None
    """The beginnings of lines to skip, besides # % // ! and ;."""
    encoding: Annotated[str, Field(min_length=1)] | None = None
    """The encoding of a text file, such as utf-8, latin-1, utf-16; null = found in the file."""
    missing: Missing = None
    """Further cells or numbers that mean a missing value, such as [-999, LOW]."""
    time_format: Annotated[str, Field(min_length=1)] | None = None
    """The format of time stamps, in the letters of strftime; null = found if there is no doubt."""
    output: str | None = None
    """The output folder; null = runs/<name of the config>."""

    @field_validator("comment", "missing", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        """Accept a single entry without the list."""
        return value if value is None or isinstance(value, list | tuple) else [value]

    @field_validator("model", mode="before")
    @classmethod
    def _summands(cls, value: object) -> object:
        """Accept a single summand without the list, and a kind without keys as a word."""
        listed = value if isinstance(value, list) else [value]
        return [{"kind": part} if isinstance(part, str) else part for part in listed]

    def as_dict(self) -> Tree:
        """The config in plain values, ready for YAML; loads back to an equal config."""
        tree = self.model_dump(mode="json")
        tree["model"] = [{"kind": part.kind, **part.given} for part in self.model]
        return tree

    @field_validator("skip_rows")
    @classmethod
    def _ranges(cls, value: object) -> object:
        for entry in value if isinstance(value, list) else ():
            line_range(entry)
        return value

    def text_options(self) -> TextOptions:
        """How to read a text file."""
        skip = tuple(self.skip_rows) if isinstance(self.skip_rows, list) else self.skip_rows
        return TextOptions(
            skip_rows=skip, decimal=self.decimal, encoding=self.encoding, missing=tuple(self.missing or ()),
            delimiter=self.delimiter, comment=self.comment or (), time_format=self.time_format,
        )  # fmt: skip

    def build(self) -> models.Model:
        """The model, which is a sum if there are several summands."""
        parts = [part.build() for part in self.model]
        return parts[0] if len(parts) == 1 else models.Sum(parts)

    def options(self) -> Tree:
        """The keyword arguments common to `varpro.fit` and `varpro.fit_batch`."""
        options = {name: getattr(self, name) for name in SHARED if name != "max_iterations"}
        if self.max_iterations is not None:
            options["max_iterations"] = self.max_iterations
        linear = self.linear
        if not isinstance(linear, str):
            linear = tuple(
                sign * float("inf") if end is None else end for sign, end in zip((-1, 1), linear, strict=True)
            )
        return options | {"linear": linear}


SHARED = tuple(f.name for f in fields(CommonOptions) if f.name in FitConfig.model_fields and f.name != "weights")
"""The options of `varpro.fit` that a config has unchanged; weights are given by their column instead."""


def load_fit_config(source: str | Path, overrides: Sequence[str] = (), output: str | None = None) -> FitConfig:
    """A config from a file, with `key.path=value` overrides.  Raises ConfigError: one line with the remedy."""
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"{source}: no such file; name a YAML file that holds at least {EXAMPLE}")
    given = ConfigSource(path, read_tree(path, example=EXAMPLE))
    given.override(overrides, {"output": output}, FitConfig)
    config = given.validated(FitConfig, _explain)
    return config if config.output else config.model_copy(update={"output": f"runs/{path.stem}"})


def _explain(error: ValidationError, tree: Tree, config: type[BaseModel]) -> tuple[str, str]:
    """`explain`, with wording of its own for the summands of the model, which form a list."""
    found = error.errors(include_url=False)
    unknown = [e for e in found if e["type"] == "extra_forbidden"]
    first = unknown[0] if unknown else found[0]
    place = first["loc"]
    if place[0] != "model":
        return explain(error, tree, config)
    if first["type"] == "missing" and len(place) == 1:
        return "model", f"model is missing; add it, for example {EXAMPLE}"
    where = f"model, summand {int(place[1]) + 1}" if len(place) > 1 else "model"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), Part.model_fields, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"keys are {', '.join(Part.model_fields)}"
        return "model", f"{where}: unknown key {place[-1]}; {hint}"
    if first["type"] == "missing":
        return "model", f"{where}: kind is missing; choose one of {', '.join(MODELS)}"
    if first["type"] == "literal_error":
        near = difflib.get_close_matches(str(first["input"]).lower(), MODELS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return "model", f"{where}: kind is {first['input']!r}; choose one of {', '.join(MODELS)}{hint}"
    if first["type"] == "value_error":
        return "model", f"{where} {first['ctx']['error']}" if len(
            place
        ) == 2 else f"{where}: {place[-1]} {_words(first)}"
    if len(place) < 3:
        return "model", f"{where} is {first['input']!r}; a mapping is needed, for example {EXAMPLE}"
    return "model", f"{where}: {place[-1]} is {first['input']!r}; {_words(first)}"


def _words(found: ErrorDetails) -> str:
    text = str(found.get("ctx", {}).get("error", found["msg"]))
    return text[0].lower() + text[1:]
