"""Quadratic units on the host shim against the reference."""

import numpy as np
import pytest

from tests.cuda.host import ORDERS, KernelError, barriers, same_in_every_order
from tests.kernels.contract import assert_within
from varpro.kernels.scalarize.reference import quadratic_reference

PIXELS = [np.uint8, np.float32, np.float64]  # in the order of varpro::Pixel
DOUBLE, MIXED, SINGLE = (np.float64, np.float64), (np.float64, np.float32), (np.float32, np.float32)  # w and phi, d
CASES = [  # problems, n, planes, side, units
    (1, 1, 1, 1, 1),
    (2, 3, 1, 5, 3),
    (1, 17, 1, 4, 2),  # one image more than a block takes
    (3, 1, 3, 1, 1),
    (2, 5, 3, 6, 7),
    (1, 3, 1, 3, 40),  # fewer threads than images times units
    (1, 2, 1, 28, 50),
    (1, 3, 1, 7, 300),  # more units than one block takes
    (1, 3, 1, 66, 2),  # S in strips
    (1, 2, 2, 50, 3),  # S in strips, two planes
    (1, 3, 3, 32, 64),  # sums of three planes leave shared memory for fewer units than threads would
]
every_case = pytest.mark.parametrize("case", CASES)
precisions = pytest.mark.parametrize("types", [DOUBLE, MIXED, SINGLE])


def problem(case, pixel=np.float64, real=np.float64):
    """Images among which each problem picks some twice and some never; weights that keep q of order one."""
    problems, n, planes, side, units = case
    rng = np.random.default_rng(units + side)
    images = rng.random((n + 3, planes, side, side)) * (256 if pixel == np.uint8 else 1)
    index = rng.integers(0, n + 3, (problems, n)).astype(np.int32)
    sides = [side, planes if planes > 1 else 0, 1]
    w = np.concatenate([rng.uniform(-1, 1, (problems, k, units)) / max(k, 1) for k in sides], axis=1)
    return images.astype(pixel), index, w.astype(real)


def run(driver, case, images, index, w, *, jacobian=np.float64, sigma="tanh", with_d=True, **more):
    problems, n, planes, side, units = case
    results = driver(
        "quadratic", images=images, index=index, w=w, problems=problems, n=n, planes=planes, height=side, width=side,
        units=units, rows=w.shape[1], pixel=PIXELS.index(images.dtype), w_is_float=w.dtype == np.float32,
        d_is_float=jacobian == np.float32, logistic=sigma == "logistic", with_d=with_d, **more,
    )  # fmt: skip
    return results


def arrays(result, case, real, jacobian):
    problems, n, planes, side, units = case
    columns = (side + (planes if planes > 1 else 0) + 1) * units
    first = problems * n * (units + 1) * np.dtype(real).itemsize
    phi = np.frombuffer(result[:first], dtype=real).reshape(problems, n, units + 1)
    d = np.frombuffer(result[first:], dtype=jacobian)
    return phi, d.reshape(problems, n, columns) if d.size else None


def reference(images, index, w, sigma="tanh"):
    return quadratic_reference(images, index, w.astype(np.float64), sigma=sigma)


def bound(case, dtype, jacobian=None):
    """Sums of magnitudes <= 3 of planes (side^2 + 2) terms, q and D each; a last rounding to the type of D."""
    terms = 12 * (case[2] * (case[3] ** 2 + 2) + 8)
    return terms * np.finfo(dtype).eps + (3 * np.finfo(jacobian).eps if jacobian else 0)


def assert_is_the_formula(result, case, problem_arrays, types, sigma="tanh"):
    phi, d = arrays(result, case, *types)
    expected_phi, expected_d = reference(*problem_arrays, sigma)
    assert_within(phi, expected_phi, bound(case, types[0]))
    assert_within(d, expected_d, bound(case, types[0], types[1]))


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
    case = (1, 5, 3, 6, 7)
    images, index, w = problem(case)
    together = arrays(run(driver, case, images, index, w, orders=(0,))[0], case, *DOUBLE)
    for n in range(5):
        alone = (1, 1, *case[2:])
        found = arrays(run(driver, alone, images, index[:, n : n + 1], w, orders=(0,))[0], alone, *DOUBLE)
        for one, other in zip(found, together, strict=True):
            np.testing.assert_array_equal(one, other[:, n : n + 1])


def test_large_arguments_saturate(driver):
    case = (1, 1, 1, 1, 2)
    w = np.array([[[1.0, 1.0], [-1e4, 1e4]]])
    for sigma, low in [("logistic", 0.0), ("tanh", -1.0)]:
        result = run(driver, case, np.zeros((1, 1, 1, 1)), None, w, sigma=sigma, orders=(0,))[0]
        phi, d = arrays(result, case, *DOUBLE)
        np.testing.assert_array_equal(phi, [[[low, 1.0, 1.0]]])
        np.testing.assert_array_equal(d, 0.0)


def test_what_is_too_large_is_named_with_its_sizes(driver):
    case = (1, 1, 1, 1025, 1)
    with pytest.raises(KernelError, match=r"quadratic: images of 1025 x 1025.* 1 to 1024"):
        run(driver, case, np.zeros((1, 1, 1, 1)), None, np.zeros((1, 1, 1)))
    with pytest.raises(KernelError, match=r"quadratic: images of 64 x 64, planes 400,.*planes go as far as"):
        run(driver, (1, 1, 400, 64, 1), np.zeros((1, 1, 1, 1)), None, np.zeros((1, 1, 1)))


@pytest.mark.parametrize("types", [DOUBLE, SINGLE])
def test_the_largest_side_runs(driver, types):
    """The strip of S is then a few rows, and a thread group spans the whole block."""
    case = (1, 1, 1, 1024, 1)
    given = problem(case, np.uint8, types[0])
    assert_is_the_formula(run(driver, case, *given, jacobian=types[1], orders=(2,))[0], case, given, types)


@pytest.mark.parametrize("barrier", [*barriers("scalarize", suffix="cuh"), *barriers("scalarize_quadratic")])
def test_no_barrier_can_be_left_out(driver, barrier):
    """In some order some case is wrong, differs between orders, or waits for ever."""

    def survives(case):
        given = problem(case)
        try:
            result = same_in_every_order(run(driver, case, *given, drop=barrier, orders=ORDERS))
            assert_is_the_formula(result, case, given, DOUBLE)
        except (AssertionError, KernelError):
            return False
        return True

    assert not all(survives(case) for case in [(2, 5, 3, 6, 7), (1, 3, 1, 66, 2)])
