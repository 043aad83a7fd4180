"""Options of a kind of unit: the keys that a config may have besides `model.unit` and `model.sigma`.

Each option checks its own value, so a config, a model file and a call from Python get the same complaints:

    @dataclass(frozen=True, kw_only=True)
    class WindowOptions(UnitOptions):
        window: tuple[int, int] = option((6, 14), check=two_sides)
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any


class OptionError(ValueError):
    """A value that an option does not accept; `words` follow "it" in a sentence: "must be a whole number"."""

    def __init__(self, name: str, value: object, words: str) -> None:
        super().__init__(f"{name} is {value!r}; it {words}")
        self.name, self.value, self.words = name, value, words


def option(default: object, *, check: Callable[[object], object]) -> Any:
    """A field with a default; check(value) returns the value to keep, or raises ValueError with the words of
    `OptionError`."""
    return field(default=default, metadata={"check": check})


def whole(least: int) -> Callable[[object], int]:
    """A check for whole numbers from `least` on."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"must be a whole number >= {least}")
        return value

    return check


@dataclass(frozen=True, kw_only=True)
class UnitOptions:
    """No options; a kind of unit that has options derives from this.  Raises OptionError when built."""

    def __post_init__(self) -> None:
        for name, check in ((f.name, f.metadata.get("check")) for f in fields(self)):
            value = getattr(self, name)
            try:
                kept = check(value) if check else value
            except ValueError as error:
                raise OptionError(name, value, str(error)) from None
            object.__setattr__(self, name, kept)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The keys of these options in a config."""
        return tuple(f.name for f in fields(cls))
