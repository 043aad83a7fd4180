"""The options of a fit are one list: every place that repeats or derives it agrees with it."""

import ast
import inspect
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import pytest

import varpro
from varpro.adapters.sklearn import VarproRegressor
from varpro.adapters.sklearn.curves import OF_DATA
from varpro.config.fit import SHARED, FitConfig
from varpro.fitting import options
from varpro.fitting.losses_of_residuals import LOSSES
from varpro.fitting.options import DATA, BatchOptions, FitOptions

NULL_IN_CONFIG = {"max_iterations"}
"""Left out of a config, these take the default of a single fit or of a batch."""


def keywords(function):
    """Name and default of what a function takes beside the data."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name not in DATA}


def listed(cls):
    return {f.name: f.default for f in fields(cls)}


@pytest.mark.parametrize(("function", "cls"), [(varpro.fit, FitOptions), (varpro.fit_batch, BatchOptions)])
def test_the_signatures_are_the_list(function, cls):
    assert keywords(function) == listed(cls)
    for p in inspect.signature(function).parameters.values():
        assert p.name in DATA or p.kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(("function", "cls"), [(varpro.fit, FitOptions), (varpro.fit_batch, BatchOptions)])
def test_the_types_are_those_of_the_list(function, cls):
    of_function = {name: p.annotation for name, p in inspect.signature(function).parameters.items()}
    for field in fields(cls):
        assert of_function[field.name] == field.type, field.name


def test_every_option_has_a_default_and_a_documentation_that_are_its_own():
    tree = ast.parse(Path(options.__file__).read_text())
    documented = set()
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, text in zip(cls.body, cls.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                assert ast.literal_eval(text.value)[0].isupper()
                assert ast.literal_eval(text.value).endswith(".")
                documented.add(field.target.id)
    assert documented == {f.name for cls in (FitOptions, BatchOptions) for f in fields(cls)}
    assert not [f.name for cls in (FitOptions, BatchOptions) for f in fields(cls) if f.default is MISSING]


def test_the_functional_takes_options_of_a_fit_only():
    own = keywords(varpro.functional)
    assert own.items() <= listed(FitOptions).items()


def test_the_regressor_has_every_option_that_is_none_of_the_data():
    expected = {name: default for name, default in listed(FitOptions).items() if name not in OF_DATA}
    params = VarproRegressor(None).get_params()
    assert {name: value for name, value in params.items() if name not in ("model", "w0")} == expected
    with pytest.raises(TypeError, match="step_bond"):
        VarproRegressor(None, step_bond=1.0)


def test_the_config_takes_its_options_from_the_list():
    assert set(SHARED) >= {"bounds", "fixed", "tied", "linear", "ridge", "loss", "jacobian", "max_iterations"}
    config = FitConfig(model="exponentials")
    for name in set(SHARED) - NULL_IN_CONFIG:
        assert getattr(config, name) == listed(FitOptions)[name], name
    given = config.options()
    assert given == {name: listed(FitOptions)[name] for name in set(SHARED) - NULL_IN_CONFIG}
    for name in ("loss", "jacobian"):
        assert FitConfig.model_fields[name].annotation == getattr(options, name.capitalize())


def test_losses_are_those_that_there_are():
    assert get_args(options.Loss) == LOSSES
