"""Kinds of units by their import path, such as mypackage.units:Ridge, and what must hold before one is trained."""

import inspect
import os
import sys
from importlib import import_module
from types import ModuleType

from varpro.errors import ConfigError
from varpro.models.units.interface import UNITS, Units

EXAMPLE = "mypackage.units:Ridge"


def is_path(name: object) -> bool:
    """Whether a name is an import path."""
    return isinstance(name, str) and ":" in name


def find_kind(name: str, *, running: bool = True) -> type[Units]:
    """The kind with this name, or at this import path, in a config or a model file.  Raises ConfigError.

    running : whether a module may be imported, which runs it; opening a file must not.
    """
    if not is_path(name):
        return UNITS[name]
    try:
        return import_kind(name) if running else imported_kind(name)
    except ValueError as error:
        raise ConfigError(f"{UNITS.option} is {name!r}; it {error}") from None


def import_kind(path: str) -> type[Units]:
    """The kind at an import path.  Raises ValueError, whose words follow "it" in a sentence."""
    module, name = _parted(path)
    return _kind(import_units(module), path, name)


def import_units(module: str) -> ModuleType:
    """A module of units by its full name, looked for in the working folder, too.  Raises ValueError, as above."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise ValueError(
                f"cannot be imported: there is no module {error.name}; install it, put its folder on PYTHONPATH, or "
                "run from the folder that holds it"
            ) from None
        raise ValueError(f"cannot be imported: {module} needs {error.name}, which is missing; install it") from None
    except Exception as error:  # a module may raise anything
        raise ValueError(f"cannot be imported: {_said(error)} in {module}; mend the module") from None


def imported_kind(path: str) -> type[Units]:
    """The same without running anything: the module must have been imported.  Raises ValueError."""
    module, name = _parted(path)
    if module not in sys.modules:
        raise ValueError(
            f"is code, which opening a file does not run; import {module} first, or varpro-predict --import {module}"
        )
    return _kind(sys.modules[module], path, name)


def _parted(path: str) -> tuple[str, str]:
    module, _, name = path.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"must be the name of a kind, or module:class, such as {EXAMPLE}")
    return module, name


def _kind(holder: ModuleType, path: str, name: str) -> type[Units]:
    kind = getattr(holder, name, None)
    if kind is None:
        classes = [key for key, value in vars(holder).items() if _is_kind(value) and not inspect.isabstract(value)]
        there = f"its units are {', '.join(classes)}" if classes else "it holds no units"
        raise ValueError(f"does not exist: {holder.__name__} has no {name}; {there}")
    if not _is_kind(kind):
        raise ValueError("is no kind of unit; derive the class from varpro.models.OwnUnits")
    if inspect.isabstract(kind):
        raise ValueError(f"lacks {', '.join(sorted(kind.__abstractmethods__))}; define what is missing")
    kind.kind = path  # what a model file stores, whatever else the class is registered as
    found: type[Units] = kind
    return found


def _is_kind(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Units)


def _said(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__} ({' '.join(str(error).split())})"
