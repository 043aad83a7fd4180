"""One fit of an xarray DataArray, with its dimensions and coordinates in the result."""

import numpy as np
import pytest

import varpro
from varpro.errors import ShapeError

xarray = pytest.importorskip("xarray", reason="xarray is not installed")

T, WAVELENGTHS = np.linspace(0.0, 8.0, 50), np.array([400.0, 450.0, 500.0])
MODEL = varpro.models.Exponentials(2)


def spectra():
    rng = np.random.default_rng(0)
    values = MODEL(T, np.array([0.7, 3.0])) @ rng.uniform(1, 4, (2, 3)) + 0.01 * rng.standard_normal((50, 3))
    return xarray.DataArray(values, dims=("time", "wavelength"), coords={"time": T, "wavelength": WAVELENGTHS})


def test_a_fit_of_a_table_keeps_its_dimensions_and_coordinates():
    y = spectra()
    fit = varpro.fit(MODEL, y.time, y)
    found = fit.to_xarray(like=y)
    assert found.linear.dims == ("amplitude", "wavelength")
    assert float(found.linear.sel(amplitude="exp_2", wavelength=450.0)) == fit.linear[1, 1]
    assert float(found.stderr_nonlinear.sel(parameter="tau_1")) == fit.stderr_nonlinear[0]
    xarray.testing.assert_allclose(found.fitted + found.residual, y)
    assert found.attrs["rss"] == fit.rss


def test_a_fit_of_a_curve_has_no_right_hand_sides():
    y = spectra().sel(wavelength=400.0)
    found = varpro.fit(MODEL, y.time, y).to_xarray(like=y)
    assert found.linear.dims == ("amplitude",)
    assert found.fitted.dims == ("time",)
    assert float(found.wavelength) == 400.0


def test_without_a_pattern_the_dimensions_have_names_of_their_own():
    y = spectra()
    fit = varpro.fit(MODEL, T, y.values)
    assert fit.to_xarray().fitted.dims == ("row", "right_hand_side")
    with pytest.raises(ShapeError, match=r"like has shape \(3, 50\); the y that was fitted has \(50, 3\)"):
        fit.to_xarray(like=y.T)


def test_a_dataset_is_refused_in_one_line():
    with pytest.raises(ShapeError, match="y is a Dataset, which is no array; give one of its variables"):
        varpro.fit(MODEL, T, xarray.Dataset({"a": spectra()}))
