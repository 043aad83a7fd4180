"""Units on windows: the ragged half of scalarization."""

import numpy as np
import pytest

from tests.kernels.contract import EPS, assert_inputs_are_kept, assert_same_bits, assert_within, strided
from tests.oracle import central_differences
from varpro.errors import ShapeError
from varpro.kernels.scalarize import activate, window_adjoint, window_forward, window_jacobian, window_offsets
from varpro.kernels.scalarize.reference import (
    window_adjoint_reference,
    window_forward_reference,
    window_jacobian_reference,
)

DTYPES, PIXELS = [np.float32, np.float64], [np.uint8, np.float32, np.float64]
WINDOWS = np.array([[0, 0, 5, 9], [4, 8, 1, 1], [1, 2, 3, 6], [0, 1, 1, 8], [2, 0, 3, 5]], dtype=np.int32)
SIZES = [(1, 1), (3, 3), (17, 1), (33, 2)]  # N on both sides of a tile of 16 doubles or 32 floats; C
CALLS = {
    "forward": (window_forward, window_forward_reference),
    "adjoint": (window_adjoint, window_adjoint_reference),
}
every_call = pytest.mark.parametrize("name", CALLS)


def images(size, pixel=np.float64):
    values = np.random.default_rng(size[0]).random((*size, 5, 9))
    return (255 * values).astype(pixel) if pixel == np.uint8 else values.astype(pixel)


def factor(name, size, dtype=np.float64, windows=WINDOWS):
    """Matrices, or b, in -1 .. 1."""
    shape = (window_offsets(windows, size[1])[-1],) if name == "forward" else (size[0], len(windows))
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize("size", SIZES)
@every_call
def test_sums_are_the_formula_in_the_precision_of_the_factor(name, size, pixel, dtype):
    entry, reference = CALLS[name]
    x, a = images(size, pixel), factor(name, size, dtype)
    found = entry(x, WINDOWS, a)
    assert found.dtype == dtype
    # k terms are off by k eps of their magnitudes; a pixel rounded to dtype and divided by 255 adds two eps more
    terms = 2 + (size[1] * 45 if name == "forward" else size[0])
    assert_within(found, reference(x, WINDOWS, a), 2 * terms * np.finfo(dtype).eps * reference(x, WINDOWS, np.abs(a)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_q_of_an_image_depends_on_that_image_alone_bitwise(size, dtype):
    x, matrices = images(size), factor("forward", size, dtype)
    together = window_forward(x, WINDOWS, matrices)
    for n in range(size[0]):
        assert_same_bits(together[n : n + 1], window_forward(x[n : n + 1], WINDOWS, matrices))


@pytest.mark.parametrize("dtype", DTYPES)
@every_call
def test_units_come_one_by_one_bitwise(name, dtype):
    entry, x, a = CALLS[name][0], images((17, 2)), factor(name, (17, 2), dtype)
    ends = window_offsets(WINDOWS, 2)
    for i in range(len(WINDOWS)):
        ragged = slice(ends[i], ends[i + 1])
        own, out = (ragged, np.s_[:, i : i + 1]) if name == "forward" else (np.s_[:, i : i + 1], ragged)
        assert_same_bits(entry(x, WINDOWS[i : i + 1], a[own]), entry(x, WINDOWS, a)[out])


@every_call
def test_no_windows_and_no_images_are_allowed(name):
    none, entry = WINDOWS[:0], CALLS[name][0]
    assert entry(images((3, 1)), none, factor(name, (3, 1), windows=none)).size == 0
    found = entry(images((0, 1)), WINDOWS, factor(name, (0, 1)))
    assert found.shape == ((0, 5) if name == "forward" else (87,))
    assert not found.any()


@pytest.mark.parametrize("pixel", PIXELS)
@every_call
def test_inputs_are_kept_and_strides_do_not_matter(name, pixel):
    arrays = images((17, 2), pixel), WINDOWS, factor(name, (17, 2))
    assert_inputs_are_kept(CALLS[name][0], *arrays)
    assert_same_bits(CALLS[name][0](*map(strided, arrays)), CALLS[name][0](*arrays))


def pairs(size, windows=WINDOWS):
    """u, v, slope with magnitudes of u and v that add up to one at most a unit."""
    rng = np.random.default_rng(2)
    tall, wide = size[1] * windows[:, 2], windows[:, 3]
    u, v = (rng.uniform(-1, 1, k.sum()) / np.repeat(k, k) for k in (tall, wide))
    return u, v, rng.random((size[0], len(windows)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize("size", SIZES)
def test_d_of_windows_is_the_formula_rounded_once(size, pixel, dtype):
    x, factors = images(size, pixel), pairs(size)
    d = window_jacobian(x, WINDOWS, *factors, dtype=np.dtype(dtype).name)
    assert d.dtype == dtype
    # sums of at most 15 terms whose magnitudes add up to one, in double; then one rounding to dtype
    bound = 2 * (15 + 4) * EPS + np.finfo(dtype).eps
    assert_within(d, window_jacobian_reference(x, WINDOWS, *factors), bound)


@pytest.mark.parametrize("size", SIZES)
def test_d_of_an_image_depends_on_that_image_alone_bitwise(size):
    x, (u, v, slope) = images(size), pairs(size)
    together = window_jacobian(x, WINDOWS, u, v, slope, dtype="float64")
    for n in range(size[0]):
        one = slice(n, n + 1)
        assert_same_bits(together[one], window_jacobian(x[one], WINDOWS, u, v, slope[one], dtype="float64"))


@pytest.mark.parametrize("sigma", ["tanh", "logistic"])
def test_d_of_windows_is_the_derivative_of_phi(sigma):
    """Central differences with step 1e-5 carry third derivatives of order ten times 1e-10, and eps / 1e-5."""
    x, (u, v, _) = images((3, 2)), pairs((3, 2))
    tall, wide = 2 * WINDOWS[:, 2], WINDOWS[:, 3]
    rows, columns = np.split(u, np.cumsum(tall)[:-1]), np.split(v, np.cumsum(wide)[:-1])
    owners = np.repeat(np.arange(5), tall + wide + 1)

    def phi(w):
        cut = [np.split(one, [t, len(one) - 1]) for one, t in zip(np.split(w, ends), tall, strict=True)]
        q = window_forward(x, WINDOWS, np.concatenate([np.outer(a, b).ravel() for a, b, _ in cut]))
        activate(q, np.concatenate([bias for *_, bias in cut]), sigma=sigma)
        return q

    ends = np.cumsum(tall + wide + 1)[:-1]
    w = np.concatenate([np.r_[a, b, 0.3] for a, b in zip(rows, columns, strict=True)])
    value = phi(w)
    slope = 1 - value**2 if sigma == "tanh" else value * (1 - value)
    dense = central_differences(lambda w: phi(w), w)
    found = window_jacobian(x, WINDOWS, u, v, slope, dtype="float64")
    assert_within(found, dense[:, owners, np.arange(len(w))], 3e-9)


def test_d_of_windows_keeps_its_inputs_and_takes_any_strides_and_no_windows():
    arrays = images((17, 2)), WINDOWS, *pairs((17, 2))

    def d(*a):
        return window_jacobian(*a, dtype="float64")

    assert_inputs_are_kept(d, *arrays)
    assert_same_bits(d(*map(strided, arrays)), d(*arrays))
    assert d(arrays[0], WINDOWS[:0], *pairs((17, 2), WINDOWS[:0])).shape == (17, 0)


def zeros(*shape, dtype=float):
    return np.zeros(shape, dtype=dtype)


def forward(x=None, windows=WINDOWS, matrices=None):
    return window_forward(images((2, 1)) if x is None else x, windows, zeros(87) if matrices is None else matrices)


def jacobian(*, u=14, v=29, slope=(2, 5)):
    return window_jacobian(images((2, 1)), WINDOWS, zeros(u), zeros(v), zeros(*slope), dtype="float64")


def window(*where):
    return lambda: forward(windows=np.array([where], dtype=np.int32))


WRONG = {
    "x of three dimensions": (lambda: forward(zeros(2, 5, 9)), r"\(2, 5, 9\)"),
    "x of integers": (lambda: forward(zeros(2, 1, 5, 9, dtype=np.int16)), "int16"),
    "windows of three numbers": (lambda: forward(windows=WINDOWS[:, :3]), r"\(5, 3\)"),
    "windows of long integers": (lambda: forward(windows=WINDOWS.astype(np.int64)), "int64"),
    "a window above": (window(-1, 0, 2, 2), "5 x 9"),
    "a window to the left": (window(0, -1, 2, 2), "5 x 9"),
    "a window below": (window(4, 0, 2, 2), "5 x 9"),
    "a window to the right": (window(0, 8, 2, 2), "5 x 9"),
    "a window of no height": (window(0, 0, 0, 2), "5 x 9"),
    "a window of no width": (window(0, 0, 2, 0), "5 x 9"),
    "matrices too short": (lambda: forward(matrices=zeros(86)), r"\(86,\).*87"),
    "matrices in half": (lambda: forward(matrices=zeros(87, dtype=np.float16)), "float16"),
    "b of other units": (lambda: window_adjoint(images((2, 1)), WINDOWS, zeros(2, 4)), r"\(2, 4\).*\(2, 5\)"),
    "b of integers": (lambda: window_adjoint(images((2, 1)), WINDOWS, zeros(2, 5, dtype=int)), "int64"),
    "u too short": (lambda: jacobian(u=12), r"\(12,\).*\(13,\)"),
    "v too long": (lambda: jacobian(u=13, v=30), r"\(30,\).*\(29,\)"),
    "slope of other images": (lambda: jacobian(u=13, slope=(3, 5)), r"\(3, 5\).*\(2, 5\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_with_its_sizes(case):
    call, message = WRONG[case]
    with pytest.raises(ShapeError, match=message):
        call()


def test_a_window_whose_end_overflows_is_refused():
    with pytest.raises(ShapeError, match="leaves the image"):
        window_forward(np.ones((1, 1, 4, 4)), np.array([[2**31 - 1, 0, 1, 1]], dtype=np.int32), np.ones(1))


@pytest.mark.parametrize("dtype", ["float16", "complex128"])
def test_a_derivative_of_another_dtype_is_refused(dtype):
    with pytest.raises(ShapeError, match=dtype):
        window_jacobian(
            np.ones((1, 1, 2, 2)), np.array([[0, 0, 1, 1]], dtype=np.int32), np.ones(1), np.ones(1), np.ones((1, 1)),
            dtype=dtype,
        )  # fmt: skip
