"""What every config is made of: frozen sections, strict scalar types, and choices from a registry."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from varpro.registry import Registry

T = TypeVar("T")
Tree = dict[str, Any]
"""A mapping as YAML gives it."""


class Section(BaseModel):
    """A part of a config: frozen, without unknown keys, described by the docstrings below its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @classmethod
    def further_keys(cls) -> list[str]:
        """Keys that the section accepts besides its fields."""
        return []


def _strict_bool(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _strict_int(value: object) -> object:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("must be a whole number")
    return value


def strict_float(value: object) -> object:
    """A number unchanged, or from text, since YAML 1.1 reads 1e-3 as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError("must be a number") from None
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Bool = Annotated[bool, BeforeValidator(_strict_bool)]
Int = Annotated[int, BeforeValidator(_strict_int)]
Float = Annotated[float, BeforeValidator(strict_float)]


def _label(value: object) -> object:
    """A label as text: 3 may stand for '3'."""
    return str(value) if isinstance(value, int) else value


Label = Annotated[str, BeforeValidator(_label), Field(min_length=1)]


def name_in(kinds: Registry[T]) -> BeforeValidator:
    """Validate a key whose value is the name of a kind: `Annotated[str, name_in(NETWORKS)]`.

    The registry is asked when a config is read, so the modules that fill it may be above this one.
    """

    return BeforeValidator(lambda value: known_name(kinds, value))


def known_name(kinds: Registry[T], value: object) -> object:
    """The value, if it is the name of a kind."""
    if not isinstance(value, str) or value not in kinds:
        expected = ", ".join(repr(name) for name in kinds)
        raise PydanticCustomError("literal_error", "must be one of {expected}", {"expected": expected})
    return value


class Data(Section):
    """The images to use."""

    source: Annotated[str, Field(min_length=1)]
    """The name of a data set, or the path of a .npz or .h5 with arrays images and labels."""
    validation: Annotated[Int, Field(ge=0)] | None = None
    """The number of images held out from the end of the training part; null = 10,000 of MNIST, Fashion-MNIST and
    CIFAR-10, else 1/6."""
    train: Annotated[Int, Field(ge=1)] | None = None
    """The most training images to use, from the beginning; null = all."""
    test: Annotated[Int, Field(ge=1)] | None = None
    """The most test images to use, from the beginning; null = all."""
    classes: Annotated[list[Label], Field(min_length=2)] | None = None
    """The labels of your own data in the order of the classes; null = all that occur, sorted."""


class TrainingConfig(Section):
    """What the configs of all trainings share."""

    data: Data
    backend_key: ClassVar[str] = "backend"
    """The key that --backend sets."""

    def as_dict(self) -> Tree:
        """The config in plain values, ready for YAML; loads back to an equal config."""
        return self.model_dump(mode="json")

    def with_classes(self, class_names: Sequence[str]) -> Self:
        """The config with the labels found in the user's own data; unchanged if they are 0..K-1."""
        if list(class_names) == [str(k) for k in range(len(class_names))]:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"classes": list(class_names)})})

    def check_without_data(self) -> None:
        """Raise ConfigError for contradictions that show before any data are read."""

    def check_effect(self, overridden: Mapping[str, str]) -> None:
        """Raise ConfigError for an overridden key (with its origin) that changes nothing."""

    def check_with_data(self, n_train: int, n_classes: int, shape: tuple[int, ...]) -> None:
        """Raise ConfigError for anything that n_train images of a shape, (planes, rows, columns) or that of a tensor of
        higher order, do not allow."""
