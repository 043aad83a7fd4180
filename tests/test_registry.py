"""A class registers its name; a config's choice is looked up by it."""

import pytest

from varpro.errors import ConfigError
from varpro.registry import Registry


def test_a_registered_class_is_found_by_its_name():
    kinds: Registry[type] = Registry("model.unit")

    @kinds.register("ridge")
    class Ridge:
        pass

    assert kinds["ridge"] is Ridge
    assert "ridge" in kinds
    assert "square" not in kinds
    assert list(kinds) == ["ridge"]


def test_an_unknown_name_lists_those_there_are():
    kinds: Registry[type] = Registry("model.unit")
    kinds.register("ridge")(type("Ridge", (), {}))
    kinds.register("square")(type("Square", (), {}))
    with pytest.raises(ConfigError, match=r"model\.unit is 'rigde'; choose one of ridge, square"):
        kinds["rigde"]


def test_a_name_belongs_to_one_class():
    kinds: Registry[type] = Registry("model.unit")
    kinds.register("ridge")(type("Ridge", (), {}))
    with pytest.raises(ConfigError, match="registered twice"):
        kinds.register("ridge")(type("Other", (), {}))


def test_modules_of_the_package_are_imported_at_the_first_look_up():
    kinds: Registry[type] = Registry("x", built_in=["varpro.no_such_module"])
    with pytest.raises(ModuleNotFoundError):
        list(kinds)
