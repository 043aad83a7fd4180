"""Packed images and the sigmoid in place on the host shim against the references."""

import numpy as np
import pytest

from tests.cuda.host import KernelError, barriers, same_in_every_order
from tests.kernels.contract import assert_within
from varpro.kernels.scalarize import symmetric_pack_outer
from varpro.kernels.scalarize.reference import activate_reference, quadratic_reference, symmetric_pack_reference

PIXELS = [np.uint8, np.float32, np.float64]  # in the order of varpro::Pixel
PACKED = [  # problems, n, planes, side
    (1, 1, 1, 1),
    (2, 5, 1, 4),
    (1, 9, 3, 5),  # more images than a block takes
    (2, 3, 1, 28),
    (1, 2, 2, 66),  # columns in two strips, in double
    (1, 1, 1, 131),  # in many strips in both precisions
]
ACTIVATED = [(1, 1, 1), (2, 3, 2), (3, 1, 1), (2, 7, 4), (1, 5, 300), (2, 41, 50)]  # problems, n, units
precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])
pixels = pytest.mark.parametrize("pixel", PIXELS)
sigmas = pytest.mark.parametrize("sigma", ["tanh", "logistic"])


def images_of(case, pixel=np.float64):
    problems, n, planes, side = case
    rng = np.random.default_rng(side)
    images = rng.random((n + 2, planes, side, side)) * (256 if pixel == np.uint8 else 1)
    return images.astype(pixel), rng.integers(0, n + 2, (problems, n)).astype(np.int32)


def packed(driver, case, images, index, dtype=np.float64, **more):
    problems, n, planes, side = case
    return driver(
        "pack", images=images, index=index, problems=problems, n=n, planes=planes, side=side,
        pixel=PIXELS.index(images.dtype), out_is_float=dtype == np.float32, **more,
    )  # fmt: skip


def assert_is_packed(result, case, images, index, dtype):
    """Two pixels <= 1 scaled, added and rounded."""
    expected = symmetric_pack_reference(images, index, dtype=np.float64)
    found = np.frombuffer(result, dtype=dtype).reshape(expected.shape)
    assert_within(found, expected, 4 * np.finfo(dtype).eps)


@precisions
@pixels
@pytest.mark.parametrize("case", PACKED)
def test_packed_entries_are_the_reference_in_every_order(driver, case, pixel, dtype):
    given = images_of(case, pixel)
    assert_is_packed(same_in_every_order(packed(driver, case, *given, dtype)), case, *given, dtype)


@pytest.mark.parametrize("case", PACKED)
def test_without_an_index_images_follow_each_other(driver, case):
    images, index = images_of(case)
    gathered = images[index].reshape(-1, *images.shape[1:])
    assert packed(driver, case, gathered, None, orders=(0,)) == packed(driver, case, images, index, orders=(0,))


def test_packed_entries_times_outer_products_are_the_values_of_units(driver):
    case, units = (1, 4, 3, 6), 2
    images, index = images_of(case)
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((6, units)), rng.standard_normal((3, units))
    entries = np.frombuffer(packed(driver, case, images, index, orders=(0,))[0]).reshape(4, -1)
    outer = (g[:, None] * symmetric_pack_outer(w)).reshape(-1, units)
    expected, _ = quadratic_reference(images, index, np.concatenate([w, g, np.zeros((1, units))])[None], sigma="tanh")
    np.testing.assert_allclose(np.tanh(entries @ outer), expected[0, :, :units], rtol=1e-12)


def test_sizes_that_do_not_fit_are_named(driver):
    for case in [(1, 1, 1, 1025), (1, 1, 129, 1)]:
        with pytest.raises(KernelError, match=rf"pack: side {case[3]}, planes {case[2]}; side goes from 1 to 1024"):
            packed(driver, case, np.zeros((1, 1, 1, 1)), None)


@pytest.mark.parametrize("barrier", barriers("scalarize_values"))
def test_no_barrier_can_be_left_out(driver, barrier):
    case = PACKED[2]
    given = images_of(case)
    with pytest.raises((AssertionError, KernelError)):  # noqa: PT012
        result = same_in_every_order(packed(driver, case, *given, drop=barrier))
        assert_is_packed(result, case, *given, np.float64)


def q_of(case, dtype):
    """Values of q about one, and a last column that must not be read for anything."""
    problems, n, units = case
    rng = np.random.default_rng(units)
    phi = rng.standard_normal((problems, n, units + 1)).astype(dtype)
    phi[:, :, -1] = np.nan
    return phi, rng.standard_normal((problems, units)).astype(dtype)


def activated(driver, phi, bias, sigma, **more):
    problems, n, columns = phi.shape
    arguments = {"shift": 0} | more
    return driver(
        "activate", phi=phi, bias=bias, problems=problems, n=n, units=columns - 1,
        is_float=phi.dtype == np.float32, logistic=sigma == "logistic", **arguments,
    )  # fmt: skip


@precisions
@sigmas
@pytest.mark.parametrize("case", ACTIVATED)
def test_phi_is_the_reference_in_every_order(driver, case, sigma, dtype):
    phi, bias = q_of(case, dtype)
    found = np.frombuffer(same_in_every_order(activated(driver, phi, bias, sigma)), dtype=dtype).reshape(phi.shape)
    for one, other, b in zip(found, phi.astype(np.float64), bias.astype(np.float64), strict=True):
        activate_reference(other, b, sigma=sigma)
        assert_within(one[:, :-1], other[:, :-1], 16 * np.finfo(dtype).eps)
    assert (found[:, :, -1] == 1).all()


@precisions
def test_where_phi_is_not_aligned_the_bits_are_the_same(driver, dtype):
    size = np.dtype(dtype).itemsize
    for case in ACTIVATED:
        phi, bias = q_of(case, dtype)
        aligned = activated(driver, phi, bias, "tanh", orders=(0,))
        for shift in range(size, 16, size):
            assert activated(driver, phi, bias, "tanh", shift=shift, orders=(0,)) == aligned


@precisions
def test_large_arguments_saturate(driver, dtype):
    phi = np.array([[[-1e4, 1e4, 0]]], dtype=dtype)
    for sigma, low in [("logistic", 0.0), ("tanh", -1.0)]:
        found = np.frombuffer(activated(driver, phi, np.zeros((1, 2), dtype), sigma, orders=(0,))[0], dtype=dtype)
        np.testing.assert_array_equal(found, [low, 1.0, 1.0])
