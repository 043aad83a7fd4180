"""Convolutional units against the formula written out, and against finite differences."""

import numpy as np
import pytest

from varpro.errors import ConfigError, ShapeError
from varpro.kernels import convolve
from varpro.kernels.convolve import SQUASHES, Patches
from varpro.kernels.convolve.reference import jacobian_reference, values_reference

CASES = {  # planes, height, width of the images, filters, patches
    "one cell, sides that differ, padding": (1, 11, 9, 5, {"height": 4, "width": 3, "padding": (2, 1)}),
    "colours mixed, rank two": (
        *(3, 12, 12, 19),
        {"height": 3, "width": 5, "mixed": True, "cells": (2, 2), "padding": (1, 2), "terms": 2},
    ),
    "a form for each plane, strides": (
        *(2, 13, 13, 33),
        {"height": 5, "width": 5, "terms": 4, "stride": 2, "cells": (3, 3), "padding": (1, 1)},
    ),
    "one pixel": (1, 8, 8, 1, {"height": 1, "width": 1, "cells": (4, 4)}),
    "as large as the image": (1, 7, 7, 16, {"height": 7, "width": 7, "padding": (3, 3), "cells": (7, 7)}),
    "more cells across than down": (1, 12, 20, 6, {"height": 5, "width": 3, "padding": (2, 1), "cells": (3, 5)}),
    "more cells down than across, colours mixed": (
        *(3, 9, 14, 5),
        {"height": 3, "width": 3, "padding": (1, 1), "mixed": True, "cells": (9, 2)},
    ),
    "all places down in one cell, colours apart": (
        *(2, 9, 14, 4),
        {"height": 3, "width": 4, "terms": 2, "padding": (1, 0), "cells": (1, 11)},
    ),
    "strides that leave rows and columns over": (2, 12, 11, 5, {"height": 4, "width": 3, "stride": 3, "cells": (3, 3)}),
    "a mix at strides, a border on two sides only": (
        *(3, 8, 9, 3),
        {"height": 3, "width": 2, "mixed": True, "stride": 2, "padding": (0, 1)},
    ),
    "more places and taps than registers": (1, 14, 40, 2, {"height": 12, "width": 11, "cells": (3, 3)}),
}
TOLERANCE = {np.float64: 1e-13, np.float32: 3e-5}


@pytest.fixture(params=[3, 18], ids=["fewer images than lanes", "more"])
def n_images(request):
    """Never a multiple of the lanes, whose rest hold images of before or nothing."""
    return request.param


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request, n_images):
    """Images, a function that draws a table of a dtype, and the other arguments."""
    planes, height, width, filters, patches = request.param
    rng = np.random.default_rng(7)
    if planes == 2:
        images = rng.standard_normal((n_images, planes, height, width))
    else:
        images = rng.integers(0, 256, (n_images, planes, height, width), dtype=np.uint8)

    def table(dtype, patches):
        return (0.5 * rng.standard_normal((patches.rows(planes), filters))).astype(dtype)

    return images, table, patches


def apart(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sigma", SQUASHES)
def test_values_and_derivatives_are_those_of_the_formula(case, sigma, dtype):
    images, table, patches = case
    patches = Patches(sigma=sigma, **patches)
    w, dw = table(dtype, patches), table(dtype, patches)
    d = jacobian_reference(images, w, patches)
    phi = convolve.values(images, w, patches)
    b = np.random.default_rng(3).standard_normal(phi.shape).astype(dtype)
    assert apart(phi, values_reference(images, w, patches)) < TOLERANCE[dtype]
    assert apart(convolve.jacobian(images, w, patches), d) < TOLERANCE[dtype]
    layer = np.random.default_rng(4).standard_normal((*phi.shape[1:], 3)).astype(dtype)
    j = convolve.layer_jacobian(images, w, layer, patches)
    assert apart(j, np.einsum("ncrf,fck->nkrf", d, layer)) < TOLERANCE[dtype]
    shared = np.full((len(images), 3, w.size + 5), 7.0, dtype)
    assert convolve.layer_jacobian(images, w, layer, patches, into=(shared, slice(2, 2 + w.size))) is shared
    np.testing.assert_array_equal(shared[..., 2 : 2 + w.size], j.reshape(len(images), 3, -1))
    assert (shared[..., :2] == 7).all()
    assert (shared[..., 2 + w.size :] == 7).all()
    assert apart(convolve.tangent(images, w, dw, patches), np.einsum("ncrf,rf->nfc", d, dw)) < TOLERANCE[dtype]
    assert apart(convolve.contract(images, w, b, patches), np.einsum("ncrf,nfc->rf", d, b)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("outputs", [1, 2, 4, 7])
def test_a_layer_of_any_number_of_outputs_meets_the_jacobian(outputs, dtype):
    rng, patches = np.random.default_rng(8), Patches(3, 2, cells=(2, 2), sigma="square")
    images = rng.standard_normal((9, 1, 8, 7))
    w = (0.5 * rng.standard_normal((patches.rows(1), 5))).astype(dtype)
    layer = rng.standard_normal((5, 4, outputs)).astype(dtype)
    expected = np.einsum("ncrf,fck->nkrf", jacobian_reference(images, w, patches), layer)
    assert apart(convolve.layer_jacobian(images, w, layer, patches), expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sigma", SQUASHES)
def test_far_out_values_and_slopes_are_those_of_the_formula(sigma, dtype):
    """Where exponentials over- and underflow, at zero, and on both sides: each value by itself, to its own size."""
    patches = Patches(1, 1, cells=(4, 4), sigma=sigma, smoothing=0.01)
    q = np.array([-300.0, -40.0, -9.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1.0, 3.0, 9.0, 20.0, 40.0, 88.0, 150.0, 300.0])
    images = q.astype(dtype).reshape(1, 1, 4, 4)
    w = np.array([[1.0], [1.0], [0.0]], dtype=dtype)
    with np.errstate(over="ignore"):
        value, d = values_reference(images, w, patches), jacobian_reference(images, w, patches)
    close = {
        "rtol": 8 * TOLERANCE[dtype],
        "atol": 8 * TOLERANCE[dtype] * (1e-3 if sigma in ("tanh", "logistic") else 1.0),
    }
    np.testing.assert_allclose(convolve.values(images, w, patches), value, **close)
    found = convolve.jacobian(images, w, patches)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[..., -1, :], d[..., -1, :], rtol=8 * TOLERANCE[dtype], atol=8 * TOLERANCE[dtype])


@pytest.mark.parametrize("sigma", SQUASHES)
def test_derivatives_are_those_of_differences(case, sigma):
    images, table, patches = case
    patches = Patches(sigma=sigma, **patches)
    w, dw = table(np.float64, patches), table(np.float64, patches)
    h = 1e-6
    above, below = (convolve.values(images, w + s * h * dw, patches) for s in (1, -1))
    assert apart(convolve.tangent(images, w, dw, patches), (above - below) / (2 * h)) < 1e-8


@pytest.mark.parametrize(
    ("shape", "first"),
    [((2, 3, 4), 0), ((1, 3, 400), 0), ((2, 2, 400), 0), ((2, 3, 400), 390)],
)
def test_a_jacobian_that_does_not_fit_where_it_is_to_go_is_refused(shape, first):
    patches, rng = Patches(5, 5, cells=(4, 4), padding=(2, 2)), np.random.default_rng(0)
    w = rng.standard_normal((patches.rows(1), 6))
    layer, into = rng.standard_normal((6, 16, 3)), np.zeros(shape)
    with pytest.raises(ValueError, match=rf"columns {first} to {first + w.size} of an array"):
        convolve.layer_jacobian(
            rng.random((2, 1, 12, 12)), w, layer, patches, into=(into, slice(first, first + w.size))
        )


def test_no_images_have_no_jacobian():
    patches = Patches(5, 5, cells=(4, 4), padding=(2, 2))
    w, layer = np.ones((patches.rows(1), 6)), np.ones((6, 16, 3))
    assert convolve.layer_jacobian(np.zeros((0, 1, 12, 12)), w, layer, patches).shape == (0, 3, *w.shape)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("lit", [(0, 0), (0, 2), (5, 6), (9, 11), (3, 10)], ids=lambda rows: f"rows {rows}")
@pytest.mark.parametrize("stride", [1, 2])
def test_rows_that_are_dark_in_all_images_are_left_out_without_a_trace(lit, stride, dtype):
    """An odd number of filters, on images of which only some rows, or none, hold anything."""
    rng, patches = np.random.default_rng(5), Patches(3, 5, cells=(1, 2), padding=(1, 2), terms=2, stride=stride)
    images = np.zeros((21, 1, 11, 8))
    images[:20, :, slice(*lit)] = rng.standard_normal((20, 1, lit[1] - lit[0], 8))  # the last one is all dark
    w = (0.5 * rng.standard_normal((patches.rows(1), 3))).astype(dtype)
    assert apart(convolve.values(images, w, patches), values_reference(images, w, patches)) < TOLERANCE[dtype]
    assert apart(convolve.jacobian(images, w, patches), jacobian_reference(images, w, patches)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_filter_has_the_same_bits_alone_and_beside_others(dtype):
    """Two filters share what is loaded of an image; neither knows of the other."""
    rng, patches = np.random.default_rng(6), Patches(5, 3, cells=(3, 3), padding=(2, 1))
    images = rng.integers(0, 256, (5, 1, 9, 9), dtype=np.uint8)
    w = rng.standard_normal((patches.rows(1), 3)).astype(dtype)
    alone = [convolve.values(images, w[:, f : f + 1], patches) for f in range(3)]
    np.testing.assert_array_equal(convolve.values(images, w, patches), np.concatenate(alone, axis=1))


def test_an_image_does_not_depend_on_its_neighbours():
    images = np.random.default_rng(0).integers(0, 256, (19, 1, 9, 9), dtype=np.uint8)
    patches = Patches(3, 3, cells=(3, 3), padding=(1, 1))
    w = np.random.default_rng(1).standard_normal((patches.rows(1), 7)).astype(np.float32)
    together = convolve.values(images, w, patches)
    alone = np.concatenate([convolve.values(images[k : k + 1], w, patches) for k in range(19)])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_images_of_any_type_are_read_alike(dtype):
    """Bytes, and floats of both precisions under tables of both, on two planes with a border and several cells."""
    rng, patches = np.random.default_rng(2), Patches(3, 2, cells=(2, 2), terms=2, padding=(1, 0), sigma="tanh")
    images = rng.integers(0, 256, (11, 2, 6, 7), dtype=np.uint8)
    w = (0.5 * rng.standard_normal((patches.rows(2), 3))).astype(dtype)
    found = [
        convolve.jacobian(images if kind is np.uint8 else (images / 255).astype(kind), w, patches)
        for kind in (np.uint8, np.float32, np.float64)
    ]
    for other in found[1:]:
        assert apart(other, found[0]) < 3 * TOLERANCE[np.float32]
    assert apart(found[2], found[0]) < TOLERANCE[dtype]


def test_bytes_are_read_as_parts_of_255():
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    patches = Patches(1, 1, cells=(16, 16), sigma="square")
    w = np.array([[1.0], [1.0], [0.0]])
    assert convolve.values(images, w, patches).ravel() == pytest.approx((np.arange(256) / 255) ** 2, rel=1e-14)


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (Patches(9, 3), "a filter of 9 x 3 is larger than the images, 8 x 8"),
        (
            Patches(3, 3, cells=(4, 3), padding=(0, 3)),
            r"4 x 3 cells do not divide the 6 x 12 places .* 1, 2, 3, 6 down and 1, 2, 3, 4, 6, 12 across",
        ),
        (Patches(70, 3, padding=(40, 0)), "the kernel takes sides up to 64"),
    ],
)
def test_geometry_that_fails_names_what_would_do(patches, message):
    w = np.zeros((patches.rows(1), 2))
    with pytest.raises(ConfigError, match=message):
        convolve.values(np.zeros((2, 1, 8, 8)), w, patches)


def test_arrays_that_do_not_fit_are_named():
    patches = Patches(3, 3)
    with pytest.raises(ShapeError, match=r"need \(7, F\)"):
        convolve.values(np.zeros((2, 1, 8, 8)), np.zeros((6, 2)), patches)
    with pytest.raises(ShapeError, match="float32 or float64"):
        convolve.values(np.zeros((2, 1, 8, 8)), np.zeros((7, 2), dtype=int), patches)
    with pytest.raises(ShapeError, match=r"needs \(2, 2, 1\)"):
        convolve.contract(np.zeros((2, 1, 8, 8)), np.zeros((7, 2)), np.zeros((2, 2, 4)), patches)
