"""Bilinear units on the host shim against the reference."""

import numpy as np
import pytest

from tests.cuda.host import KernelError, barriers, same_in_every_order
from tests.kernels.contract import assert_within
from varpro.kernels.scalarize.reference import bilinear_reference

PIXELS = [np.uint8, np.float32, np.float64]  # in the order of varpro::Pixel
DOUBLE, MIXED, SINGLE = (np.float64, np.float64), (np.float64, np.float32), (np.float32, np.float32)  # w and phi, d
CASES = [  # problems, n, height, width, units
    (1, 1, 1, 1, 1),
    (2, 3, 5, 3, 3),
    (1, 17, 4, 9, 2),  # one image more than a block takes
    (3, 1, 1, 6, 1),
    (2, 5, 13, 2, 7),
    (1, 3, 3, 2, 40),  # fewer threads than images times units
    (1, 2, 28, 20, 50),
    (1, 3, 7, 5, 300),  # more units than one block takes
    (1, 5, 66, 40, 2),  # X in strips of its columns, and of its rows
    (1, 3, 30, 90, 3),
]
every_case = pytest.mark.parametrize("case", CASES)
precisions = pytest.mark.parametrize("types", [DOUBLE, MIXED, SINGLE])


def problem(case, pixel=np.float64, real=np.float64):
    """Images among which each problem picks some twice and some never; weights that keep q of order one."""
    problems, n, height, width, units = case
    rng = np.random.default_rng(units + height)
    images = rng.random((n + 3, height, width)) * (256 if pixel == np.uint8 else 1)
    index = rng.integers(0, n + 3, (problems, n)).astype(np.int32)
    w = np.concatenate([rng.uniform(-1, 1, (problems, k, units)) / np.sqrt(k) for k in (height, width, 1)], axis=1)
    return images.astype(pixel), index, w.astype(real)


def run(driver, case, images, index, w, *, jacobian=np.float64, sigma="tanh", with_d=True, **more):
    problems, n, height, width, units = case
    return driver(
        "bilinear", images=images, index=index, w=w, problems=problems, n=n, planes=1, height=height, width=width,
        units=units, rows=height + width + 1, pixel=PIXELS.index(images.dtype), w_is_float=w.dtype == np.float32,
        d_is_float=jacobian == np.float32, logistic=sigma == "logistic", with_d=with_d, **more,
    )  # fmt: skip


def arrays(result, case, real, jacobian):
    problems, n, height, width, units = case
    first = problems * n * (units + 1) * np.dtype(real).itemsize
    phi = np.frombuffer(result[:first], dtype=real).reshape(problems, n, units + 1)
    d = np.frombuffer(result[first:], dtype=jacobian)
    return phi, d.reshape(problems, n, (height + width + 1) * units) if d.size else None


def assert_is_the_formula(result, case, given, types, sigma="tanh"):
    """Sums of height width + 2 terms, their magnitudes sqrt(height width) at most; a last rounding to the type of D."""
    images, index, w = given
    expected_phi, expected_d = bilinear_reference(images[:, None], index, w.astype(np.float64), sigma=sigma)
    size = case[2] * case[3]
    bound = 4 * (size + 8) * np.sqrt(size) * np.finfo(types[0]).eps
    phi, d = arrays(result, case, *types)
    assert_within(phi, expected_phi, bound)
    assert_within(d, expected_d, bound * np.sqrt(size) + 2 * np.finfo(types[1]).eps * np.abs(expected_d))


@precisions
@every_case
def test_phi_and_d_are_the_formula_in_every_order(driver, case, types):
    given = problem(case, real=types[0])
    result = same_in_every_order(run(driver, case, *given, jacobian=types[1]))
    assert_is_the_formula(result, case, given, types)


@pytest.mark.parametrize("types", [DOUBLE, SINGLE])
@pytest.mark.parametrize("sigma", ["tanh", "logistic"])
@pytest.mark.parametrize("pixel", PIXELS)
def test_every_pixel_and_sigmoid(driver, pixel, sigma, types):
    case = (2, 5, 3, 6, 7)
    given = problem(case, pixel, types[0])
    result = same_in_every_order(run(driver, case, *given, jacobian=types[1], sigma=sigma))
    assert_is_the_formula(result, case, given, types, sigma)


@every_case
def test_phi_alone_has_the_same_bits(driver, case):
    given = problem(case)
    both = arrays(run(driver, case, *given, orders=(0,))[0], case, *DOUBLE)
    alone = arrays(same_in_every_order(run(driver, case, *given, with_d=False)), case, *DOUBLE)
    np.testing.assert_array_equal(alone[0], both[0])
    assert alone[1] is None


@every_case
def test_without_an_index_images_follow_each_other(driver, case):
    images, index, w = problem(case)
    gathered = images[index].reshape(-1, *images.shape[1:])
    assert run(driver, case, gathered, None, w, orders=(0,)) == run(driver, case, images, index, w, orders=(0,))


def test_an_image_depends_on_itself_alone_bitwise(driver):
    case = (1, 5, 6, 3, 7)
    images, index, w = problem(case)
    together = arrays(run(driver, case, images, index, w, orders=(0,))[0], case, *DOUBLE)
    for n in range(5):
        alone = (1, 1, *case[2:])
        found = arrays(run(driver, alone, images, index[:, n : n + 1], w, orders=(0,))[0], alone, *DOUBLE)
        for one, other in zip(found, together, strict=True):
            np.testing.assert_array_equal(one, other[:, n : n + 1])


def test_what_is_too_large_is_named_with_its_sizes(driver):
    for height, width in [(1025, 1), (1, 1025), (0, 3)]:
        with pytest.raises(KernelError, match=rf"bilinear: images of {height} x {width}.* 1 to 1024"):
            run(driver, (1, 1, height, width, 1), np.zeros((1, 1, 1)), None, np.zeros((1, 1, 1)))


@pytest.mark.parametrize("case", [(1, 1, 1024, 1024, 2), (1, 1, 1024, 1, 3), (1, 1, 2, 1023, 1)])
@pytest.mark.parametrize("types", [DOUBLE, SINGLE])
def test_the_largest_sides_run(driver, case, types):
    given = problem(case, np.uint8, types[0])
    assert_is_the_formula(run(driver, case, *given, jacobian=types[1], orders=(2,))[0], case, given, types)


@pytest.mark.parametrize("barrier", [*barriers("scalarize", suffix="cuh"), *barriers("scalarize_bilinear")])
def test_no_barrier_can_be_left_out(driver, barrier):
    """In some order some case is wrong, differs between orders, or waits for ever."""

    def survives(case):
        given = problem(case)
        try:
            result = same_in_every_order(run(driver, case, *given, drop=barrier))
            assert_is_the_formula(result, case, given, DOUBLE)
        except (AssertionError, KernelError):
            return False
        return True

    assert not all(survives(case) for case in [(2, 5, 13, 2, 7), (1, 3, 30, 90, 3)])
