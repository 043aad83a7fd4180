"""Kinds by their names in configs and files: a class registers itself, and nothing else has to know it.

UNITS = Registry("model.unit", built_in=["varpro.models.units.quadratic"])

@UNITS.register("quadratic")
class QuadraticUnits(Units): ...
"""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Generic, TypeVar

from varpro.errors import ConfigError

T = TypeVar("T")
K = TypeVar("K", bound=type)


class Registry(Generic[T]):
    """The classes (or functions) of one category, by name."""

    def __init__(self, option: str, built_in: Iterable[str] = ()) -> None:
        """option : the config key that chooses among them, for messages.

        built_in : modules that register the kinds which come with the package; they are imported at the first look-up,
        so that a registry may be below the modules that fill it.
        """
        self.option = option
        self._built_in = tuple(built_in)
        self._kinds: dict[str, T] = {}

    def register(self, name: str) -> Callable[[K], K]:
        """A decorator that registers a class under a name.  Raises ConfigError if another class has it."""

        def put(kind: K) -> K:
            present = self._kinds.get(name)
            if present is not None and getattr(present, "__qualname__", None) != kind.__qualname__:
                raise ConfigError(
                    f"{self.option}: {name!r} is registered twice, by {present!r} and {kind!r}; rename one"
                )
            self._kinds[name] = kind  # type: ignore[assignment]
            return kind

        return put

    def __getitem__(self, name: str) -> T:
        """The kind with this name.  Raises ConfigError, which lists the existing names."""
        kinds = self._filled()
        if name not in kinds:
            raise ConfigError(f"{self.option} is {name!r}; choose one of {', '.join(kinds)}")
        return kinds[name]

    def __contains__(self, name: object) -> bool:
        return name in self._filled()

    def __iter__(self) -> Iterator[str]:
        return iter(self._filled())

    def _filled(self) -> dict[str, T]:
        for module in self._built_in:
            import_module(module)
        return self._kinds
