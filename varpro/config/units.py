"""The section `model` of a scalarized run: the kind of unit, together with that kind's own options."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, LiteralString

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from varpro.config.sections import Section, Tree, known_name
from varpro.errors import ConfigError
from varpro.models.units import UNITS, OptionError, UnitOptions, Units, find_kind, import_kind, is_path


def _unit(value: object) -> object:
    """A name in the registry, or the import path of a kind."""
    if isinstance(value, str) and is_path(value):
        import_kind(value)
        return value
    return known_name(UNITS, value)


class ModelSection(Section):
    """The units: Phi = [sigma(q) | 1].  Further keys are options of the kind of unit, which checks them itself."""

    model_config = ConfigDict(extra="allow")

    unit: Annotated[str, BeforeValidator(_unit)] = "quadratic"
    """The kind of unit, which turns an image into a number; mypackage.units:Ridge is a class of your own."""
    sigma: Annotated[str, Field(min_length=1)] = "tanh"
    """The activation; tanh is tanh(q), logistic is 1 / (1 + exp(-q))."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_kind_says(cls, given: Any) -> Any:
        """Let the kind of unit decide what concerns it; its options join the section, with their defaults."""
        unit = given.get("unit", cls.model_fields["unit"].default) if isinstance(given, dict) else None
        try:
            kind, options = find_kind(str(unit)), {}
        except ConfigError:
            return given  # pydantic will complain about it
        complaints = list(_misplaced(given, kind))
        if "sigma" in given and given["sigma"] not in kind.sigmas:
            expected = ", ".join(repr(sigma) for sigma in kind.sigmas)
            complaints.append(_complaint("literal_error", "sigma", given["sigma"], expected=expected))
        try:
            options = asdict(kind.Options(**{key: given[key] for key in kind.Options.names() if key in given}))
        except OptionError as error:
            complaints.append(_complaint("value_error", error.name, error.value, error=error.words))
        if complaints:
            raise ValidationError.from_exception_data("model", complaints)
        return {**given, **options}

    @classmethod
    def further_keys(cls) -> list[str]:
        """The options of all kinds of units."""
        return list(dict.fromkeys(key for name in UNITS for key in find_kind(name).Options.names()))

    @property
    def kind(self) -> type[Units]:
        """The kind of unit."""
        return find_kind(self.unit)

    @property
    def options(self) -> UnitOptions:
        """The options of the kind of unit."""
        return self.kind.Options(**(self.model_extra or {}))


def _misplaced(given: Tree, kind: type[Units]) -> Iterator[InitErrorDetails]:
    """Complaints about keys that are options of other kinds only, or of none."""
    for key in given:
        if key in ModelSection.model_fields or key in kind.Options.names():
            continue
        owners = [name for name in UNITS if key in find_kind(name).Options.names()]
        words = f"is an option of {' and '.join(owners)} units, and model.unit is {kind.kind}: leave it out"
        yield _complaint("value_error" if owners else "extra_forbidden", key, given[key], error=words)


def _complaint(sort: LiteralString, key: str, value: object, **context: str) -> InitErrorDetails:
    """What pydantic would say about a key of the section."""
    return InitErrorDetails(type=PydanticCustomError(sort, "refused", context), loc=(key,), input=value)
