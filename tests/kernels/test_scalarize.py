"""Values and compressed Jacobians of quadratic and bilinear units, and the packing of symmetric images."""

import numpy as np
import pytest

from tests.kernels.contract import (
    EPS,
    assert_batch_is_one_by_one,
    assert_callers_do_not_meet,
    assert_inputs_are_kept,
    assert_same_bits,
    assert_strides_do_not_matter,
    assert_within,
)
from tests.oracle import central_differences
from varpro.errors import ShapeError
from varpro.kernels import scalarize
from varpro.kernels.scalarize import reference
from varpro.kernels.scalarize.reference import symmetric_pack_reference

SIGMAS = ["tanh", "logistic"]
SINGLE = np.finfo(np.float32).eps
CASES = [  # name, (B, N, C, L, R), I
    ("quadratic", (1, 1, 1, 1, 1), 1),
    ("quadratic", (3, 7, 1, 5, 5), 3),
    ("quadratic", (1, 2, 3, 4, 4), 9),
    ("quadratic", (3, 1, 3, 1, 1), 1),
    ("quadratic", (1, 3, 1, 11, 11), 67),  # more vectors of units than one row of accumulators
    ("bilinear", (1, 1, 1, 1, 1), 1),
    ("bilinear", (3, 5, 1, 4, 7), 3),
    ("bilinear", (1, 2, 1, 6, 1), 67),
    ("bilinear", (2, 3, 1, 1, 5), 4),
]
every_case = pytest.mark.parametrize(("name", "shape", "units"), CASES)


def problem(name, shape, units):
    """Images in 0 .. 1 and weights whose magnitudes add up to one at most, so that every sum of magnitudes is <= 3."""
    rng = np.random.default_rng(units)
    n_problems, _, planes, height, width = shape
    x = rng.random(shape)
    colours = planes if planes > 1 else 0
    sides = [height, colours, 1] if name == "quadratic" else [height, width, 1]
    w = np.concatenate([rng.uniform(-1, 1, (n_problems, k, units)) / max(k, 1) for k in sides], axis=1)
    return x, w


def rounding(shape):
    """A sum of k terms is off by k eps of its magnitudes, <= 3; two orders of it, and sigma' adds as much."""
    return 12 * (shape[2] * (shape[3] * shape[4] + 2) + 8) * EPS


def entry(name, sigma="tanh", jacobian="float64"):
    """On images (B, N, C, L, R) and w."""
    call = flat_entry(name, sigma, jacobian)
    return lambda x, w: call(x.reshape(-1, *x.shape[2:]), w)


def flat_entry(name, sigma="tanh", jacobian="float64"):
    return lambda x, w: getattr(scalarize, name)(x, None, w, sigma=sigma, jacobian=jacobian)


@pytest.mark.parametrize("sigma", SIGMAS)
@every_case
def test_phi_and_d_are_the_formulas(name, shape, units, sigma):
    x, w = problem(name, shape, units)
    flat = x.reshape(-1, *shape[2:])
    expected = getattr(reference, f"{name}_reference")(flat, None, w, sigma=sigma)
    for found, other in zip(entry(name, sigma)(x, w), expected, strict=True):
        assert_within(found, other, rounding(shape))


@pytest.mark.parametrize("sigma", SIGMAS)
@every_case
def test_d_in_single_precision_is_the_double_one_rounded_and_phi_stays_double(name, shape, units, sigma):
    x, w = problem(name, shape, units)
    (phi, d), (wide_phi, wide_d) = entry(name, sigma, "float32")(x, w), entry(name, sigma)(x, w)
    assert d.dtype == np.float32
    assert_within(phi, wide_phi, rounding(shape))
    assert_within(d, wide_d, SINGLE * np.abs(wide_d) + rounding(shape))


@pytest.mark.parametrize("sigma", SIGMAS)
@every_case
def test_d_is_the_derivative_of_phi(name, shape, units, sigma):
    """Central differences with step 1e-5 carry third derivatives of order ten times 1e-10, and eps / 1e-5."""
    x, w = (a[:1] for a in problem(name, shape, units))

    def phi(flat):
        return entry(name, sigma, None)(x, flat.reshape(w.shape))[0].ravel()

    dense = central_differences(phi, w.ravel()).reshape(shape[1], units + 1, -1)
    own = np.arange(w.size)
    assert_within(entry(name, sigma)(x, w)[1][0], dense[:, own % units, own], 3e-9)
    dense[:, own % units, own] = 0.0
    assert not dense.any(), "phi of a unit depends on that unit alone"


@every_case
def test_without_d_phi_has_the_same_bits(name, shape, units):
    x, w = problem(name, shape, units)
    phi, d = entry(name, jacobian=None)(x, w)
    assert d is None
    assert_same_bits(phi, entry(name)(x, w)[0])


@every_case
def test_a_batch_is_its_problems_one_by_one_bitwise(name, shape, units):
    assert_batch_is_one_by_one(entry(name), *problem(name, shape, units))


@every_case
def test_inputs_are_kept_and_strides_do_not_matter(name, shape, units):
    x, w = problem(name, shape, units)
    x = x.reshape(-1, *shape[2:])
    assert_inputs_are_kept(flat_entry(name), x, w)
    assert_strides_do_not_matter(flat_entry(name), x, w)
    assert_same_bits(flat_entry(name)(np.asfortranarray(x), np.asfortranarray(w)), flat_entry(name)(x, w))


@pytest.mark.parametrize("pixel", [np.uint8, np.float32])
@every_case
def test_pixels_are_read_as_they_lie(name, shape, units, pixel):
    x, w = problem(name, shape, units)
    there = (x * (255 if pixel == np.uint8 else 1)).astype(pixel)
    wide = there * (1.0 / 255.0) if pixel == np.uint8 else there.astype(float)
    assert_same_bits(entry(name)(there, w), entry(name)(wide, w))


@pytest.mark.parametrize(("name", "shape", "units"), [case for case in CASES if case[0] == "quadratic"])
def test_symmetric_images_give_the_bits_of_any_with_the_same_sums(name, shape, units):
    x, w = problem(name, shape, units)
    x = x.reshape(-1, *shape[2:])
    told = scalarize.quadratic(scalarize.symmetrised(x), None, w, sigma="tanh", jacobian="float64", symmetric=True)
    assert_same_bits(told, flat_entry(name)(x, w))


def test_symmetrised_images_lie_as_a_kernel_reads_them():
    x = np.random.default_rng(0).random((9, 2, 8, 8))
    some = x[:, :, np.array([1, 2, 5])[:, None], [1, 2, 5]]  # which lies with its rows and columns first
    out = scalarize.symmetrised(some)
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, 0.5 * (some + some.mT))


@every_case
def test_an_index_gathers(name, shape, units):
    _, w = problem(name, shape, units)
    images = np.random.default_rng(1).random((11, *shape[2:]))
    index = np.random.default_rng(2).integers(0, 11, shape[:2]).astype(np.int32)
    found = getattr(scalarize, name)(images, index, w, sigma="tanh", jacobian="float64")
    assert_same_bits(found, entry(name)(images[index], w))


@every_case
def test_an_image_depends_on_itself_alone_bitwise(name, shape, units):
    x, w = problem(name, shape, units)
    together = entry(name)(x, w)
    for n in range(shape[1]):
        assert_same_bits(tuple(a[:, n : n + 1] for a in together), entry(name)(x[:, n : n + 1], w))


@pytest.mark.parametrize("name", ["quadratic", "bilinear"])
def test_callers_on_two_threads_do_not_meet(name):
    assert_callers_do_not_meet(entry(name), *problem(name, (2, 60, 1, 9, 9), 30))


@pytest.mark.parametrize("name", ["quadratic", "bilinear"])
def test_no_images_give_no_rows(name):
    phi, d = entry(name)(*problem(name, (2, 0, 1, 3, 3), 4))
    assert phi.shape == (2, 0, 5)
    assert d.shape[:2] == (2, 0)


PIXELS = [np.uint8, np.float32, np.float64]


def square_images(n, side, pixel, planes=1):
    values = np.random.default_rng(side).random((n, planes, side, side)) * (255 if pixel == np.uint8 else 1)
    return values.astype(pixel)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize(("n", "side"), [(0, 3), (1, 1), (3, 2), (2, 7)])
def test_packed_images_are_the_formula_entry_by_entry(n, side, pixel, dtype):
    x = square_images(n, side, pixel)
    packed = scalarize.symmetric_pack(x, dtype=dtype)
    assert packed.dtype == dtype
    # a sum of two values <= 1 and the division by 255, then one rounding to dtype
    assert_within(packed, symmetric_pack_reference(x, dtype=dtype), 4 * np.finfo(dtype).eps)
    assert_inputs_are_kept(lambda a: scalarize.symmetric_pack(a, dtype=dtype), x)
    assert_strides_do_not_matter(lambda a: scalarize.symmetric_pack(a, dtype=dtype), x)


def test_packed_planes_follow_each_other_and_an_index_gathers():
    x, index = square_images(5, 3, np.float64, planes=2), np.array([[4, 0], [2, 2]])
    packed = scalarize.symmetric_pack(x, index, dtype=float)
    assert_same_bits(packed, scalarize.symmetric_pack(x[index.ravel()], dtype=float))
    apart = [scalarize.symmetric_pack(x[:, p : p + 1], dtype=float)[index.ravel()] for p in (0, 1)]
    assert_same_bits(packed, np.hstack(apart))


@pytest.mark.parametrize("side", [1, 2, 7])
def test_packed_image_times_packed_outer_is_the_quadratic_form(side):
    x, w = square_images(3, side, np.float64), np.random.default_rng(1).uniform(-1, 1, (side, 4)) / side
    q = scalarize.symmetric_pack(x, dtype=float) @ scalarize.symmetric_pack_outer(w)
    assert_within(q, np.einsum("ki,nkl,li->ni", w, x[:, 0], w), rounding((1, 3, 1, side, side)))


def zeros(*shape):
    return np.zeros(shape)


def call_with(index, images, w):
    return lambda: scalarize.quadratic(images, index, w, sigma="tanh")


WRONG = {
    "images of three dimensions": (lambda: flat_entry("quadratic")(zeros(2, 3, 3), zeros(1, 4, 2)), r"\(2, 3, 3\)"),
    "images not square": (lambda: flat_entry("quadratic")(zeros(2, 1, 3, 4), zeros(1, 4, 2)), r"\(2, 1, 3, 4\)"),
    "w without a bias": (
        lambda: flat_entry("quadratic")(zeros(2, 1, 3, 3), zeros(1, 3, 2)),
        r"\(1, 3, 2\).*\(B, 4, I\)",
    ),
    "w without g": (lambda: flat_entry("quadratic")(zeros(2, 3, 3, 3), zeros(1, 4, 2)), r"\(1, 4, 2\).*\(B, 7, I\)"),
    "w of other problems": (
        lambda: flat_entry("quadratic")(zeros(3, 1, 3, 3), zeros(2, 4, 2)),
        "3 images.* 2 problems",
    ),
    "w of two dimensions": (lambda: flat_entry("quadratic")(zeros(2, 1, 3, 3), zeros(4, 2)), r"\(4, 2\)"),
    "index of other problems": (call_with(np.zeros((1, 2), int), zeros(3, 1, 3, 3), zeros(2, 4, 2)), r"\(2, n\)"),
    "index beyond the images": (call_with(np.array([[0, 3]]), zeros(3, 1, 3, 3), zeros(1, 4, 2)), "0 to 3.* 3 images"),
    "x of five dimensions": (
        lambda: flat_entry("bilinear")(zeros(1, 2, 1, 3, 4), zeros(1, 8, 2)),
        r"\(1, 2, 1, 3, 4\)",
    ),
    "w of another side": (
        lambda: flat_entry("bilinear")(zeros(2, 1, 3, 4), zeros(1, 7, 2)),
        r"\(1, 7, 2\).*\(B, 8, I\)",
    ),
    "an unknown sigma": (lambda: flat_entry("bilinear", "relu")(zeros(2, 1, 3, 4), zeros(1, 8, 2)), "'relu'"),
    "d in half": (lambda: flat_entry("bilinear", "tanh", "float16")(zeros(2, 1, 3, 4), zeros(1, 8, 2)), "'float16'"),
    "images to pack not square": (lambda: scalarize.symmetric_pack(zeros(2, 1, 3, 4), dtype=float), r"\(2, 1, 3, 4\)"),
    "one image to pack": (lambda: scalarize.symmetric_pack(zeros(3, 3), dtype=float), r"\(3, 3\)"),
    "integers to pack": (lambda: scalarize.symmetric_pack(zeros(2, 1, 3, 3).astype(int), dtype=float), "int64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_with_its_sizes(case):
    call, message = WRONG[case]
    with pytest.raises(ShapeError, match=message):
        call()
