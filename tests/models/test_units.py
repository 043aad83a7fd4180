"""Each unit kind: values, derivatives, tangents and their adjoints agree with one another."""

import numpy as np
import pytest

from tests.models.unit_options import options_of
from tests.oracle import central_differences, relative_error
from varpro.errors import ShapeError
from varpro.models.units import UNITS, BilinearUnits, LocalBilinearUnits, QuadraticUnits, features
from varpro.models.units.local_bilinear import WindowOptions

ONE = np.arange(1)
SHAPES = {
    "quadratic": [(1, 6, 6), (3, 5, 5), (1, 1, 1)],
    "bilinear": [(1, 6, 4), (2, 3, 5), (1, 1, 1)],
    "local-bilinear": [(1, 7, 9), (3, 6, 5)],
    "multilinear": [(1, 6, 4), (3, 4, 5), (2, 3, 4, 3), (2, 3, 1, 2, 2), (1, 7, 1), (1, 1, 1)],
}
VARIANTS = {
    "bilinear of rank 2": ("bilinear", {"rank": 2}, [(1, 6, 4), (2, 3, 5)]),
    "multilinear of rank 3": ("multilinear", {"rank": 3}, [(3, 4, 5), (2, 3, 4, 3)]),
    "multilinear, shared": ("multilinear", {"shared": True}, [(1, 5, 5), (4, 4, 4), (2, 2, 2, 2), (1, 7, 1)]),
    "multilinear, shared, of rank 2": ("multilinear", {"shared": True, "rank": 2}, [(1, 5, 5), (4, 4, 4)]),
}
CASES = [(kind, shape) for kind, shapes in SHAPES.items() for shape in shapes] + [
    (name, shape) for name, (_, _, shapes) in VARIANTS.items() for shape in shapes
]


def created(name, shape, count, rng):
    kind, options, _ = VARIANTS.get(name, (name, {}, ()))
    return UNITS[kind].create(shape, count, rng, options_of(kind, **options))


def units_on(kind, shape, count=5, rows=23):
    rng = np.random.default_rng(7)
    images = rng.random((rows, *shape))
    units = created(kind, shape, count, rng)
    return units, units.start(rng, images) + 0.05 * rng.standard_normal(units.n_parameters), images


def direct_q(units, w, images):
    """q from the pictures of the units, pixel by pixel."""
    pictures = units.pictures(w, np.arange(units.count))
    stacked = images.reshape(len(images), -1, images.shape[-1])
    return np.einsum("nlr,ilr->ni", stacked, pictures) + units.bias(w)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_forward_is_the_inner_product_with_the_pictures(kind, shape):
    units, w, images = units_on(kind, shape)
    q = units.forward(images, units.matrices(w)) + units.bias(w)
    np.testing.assert_allclose(q, direct_q(units, w, images), atol=1e-12 * np.abs(q).max())
    wider = np.full((len(images), units.count + 3), 7.0)
    units.forward_into(images, units.matrices(w), wider[:, 1:-2])
    np.testing.assert_allclose(wider[:, 1:-2] + units.bias(w), q, atol=1e-13 * np.abs(q).max())
    assert (wider[:, [0, -2, -1]] == 7.0).all()


@pytest.mark.parametrize("sigma", ["tanh", "logistic"])
@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_bound_basis_equals_features_and_its_jacobian_central_differences(kind, shape, sigma):
    units, w, images = units_on(kind, shape)
    bound = units.bind(images, sigma)
    phi = bound.basis(bound.lower(w)[None], ONE)[0]
    np.testing.assert_allclose(phi, features(units, w, sigma, images), atol=1e-13)
    d = bound.jacobian(bound.lower(w)[None], ONE, "float64")[0]
    dense = central_differences(lambda v: bound.basis(v[None], ONE)[0].ravel(), bound.lower(w)).reshape(*phi.shape, -1)
    compressed = np.stack([dense[:, j, m] for m, j in enumerate(bound.columns)], axis=1)
    assert relative_error(d, compressed) < 1e-8
    dense[:, bound.columns, np.arange(len(bound.columns))] = 0.0
    assert np.abs(dense).max() < 1e-9, "a pair outside the compressed storage is not zero"


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_tangent_is_the_derivative_of_the_values(kind, shape):
    units, w, images = units_on(kind, shape)
    v = np.random.default_rng(1).standard_normal(len(w))

    def q(t):
        moved = w + t[0] * v
        return (units.forward(images, units.matrices(moved)) + units.bias(moved)).ravel()

    along = units.forward(images, units.tangent(w, v)) + units.bias(v)
    assert relative_error(along.ravel(), central_differences(q, np.zeros(1))[:, 0]) < 1e-8


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_cotangent_of_the_adjoint_is_the_transpose_of_the_tangent(kind, shape):
    units, w, images = units_on(kind, shape)
    rng = np.random.default_rng(2)
    v, b = rng.standard_normal(len(w)), rng.standard_normal((len(images), units.count))
    along = units.forward(images, units.tangent(w, v)) + units.bias(v)
    gradient = units.cotangent(w, units.adjoint(images, b), b.sum(axis=0))
    assert np.sum(along * b) == pytest.approx(gradient @ v, rel=1e-11)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_joined_units_are_the_units_behind_one_another(kind, shape):
    units, w, images = units_on(kind, shape)
    more, v, _ = units_on(kind, shape, count=3)
    both, both_w = units.joined([(more, v)], w)
    assert both.count == 8
    expected = np.concatenate([direct_q(units, w, images), direct_q(more, v, images)], axis=1)
    np.testing.assert_allclose(direct_q(both, both_w, images), expected)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_units_start_centred_with_unit_deviation(kind, shape):
    rng = np.random.default_rng(5)
    images = rng.random((400, *shape))
    units = created(kind, shape, 30, rng)
    q = direct_q(units, units.start(rng, images), images)
    np.testing.assert_allclose(q.mean(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(np.median(q.std(axis=0)), 1.0, rtol=1e-6)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_blocks_partition_the_parameters_and_end_with_the_bias(kind, shape):
    units, w, _ = units_on(kind, shape)
    blocks = units.blocks()
    np.testing.assert_array_equal(np.sort(np.concatenate([b.ravel() for b in blocks])), np.arange(len(w)))
    owners = units.per_parameter(np.arange(units.count))
    for where in blocks:
        assert (owners[where] == owners[where[:, :1]]).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([w[b[:, -1]] for b in blocks])), np.sort(units.bias(w)))


def test_pixels_that_no_image_lights_are_left_out_and_come_back_as_zero():
    units, w, images = units_on("quadratic", (1, 6, 6))
    images[:, :, [0, 5]] = 0.0
    images[:, :, :, [0, 5]] = 0.0
    bound = units.bind(images, "tanh")
    searched = bound.lower(w)
    assert len(searched) == (4 + 1) * 5
    lifted = bound.lift(searched)
    assert not lifted.reshape(-1, 5)[[0, 5]].any()
    np.testing.assert_allclose(
        features(units, lifted, "tanh", images)[:, :-1], bound.basis(searched[None], ONE)[0, :, :-1], atol=1e-13
    )


@pytest.mark.parametrize("kind", list(UNITS))
def test_bytes_are_read_as_fractions_of_255(kind):
    units, w, _ = units_on(kind, (1, 6, 6))
    bytes_ = np.random.default_rng(0).integers(0, 256, size=(11, 1, 6, 6), dtype=np.uint8)
    np.testing.assert_allclose(
        features(units, w, "tanh", bytes_), features(units, w, "tanh", bytes_ / 255.0), atol=1e-13
    )


@pytest.mark.parametrize("kind", ["bilinear of rank 2", "multilinear", "multilinear of rank 3", "multilinear, shared"])
def test_slices_of_a_tensor_that_are_never_lit_are_left_out_whatever_the_layout(kind):
    shape = (1, 5, 6) if kind.startswith("bilinear") else (5, 5, 5)
    units, w, images = units_on(kind, shape)
    images[:, :, [1, 4]] = 0.0
    images[..., [0, 4]] = 0.0
    bound = units.bind(images, "tanh")
    searched = bound.lower(w)
    gone = {"bilinear of rank 2": 2 * 4, "multilinear": 4, "multilinear of rank 3": 3 * 4, "multilinear, shared": 0}
    assert len(searched) == len(w) - gone[kind] * units.count
    phi = bound.basis(searched[None], ONE)[0]
    np.testing.assert_allclose(phi, features(units, w, "tanh", images), atol=1e-13)
    np.testing.assert_allclose(phi, features(units, bound.lift(searched), "tanh", images), atol=1e-13)


@pytest.mark.parametrize("kind", ["quadratic", "bilinear", "bilinear of rank 2", "multilinear, shared, of rank 2"])
def test_options_are_stored_and_files_without_them_hold_plain_units(kind):
    units, _, _ = units_on(kind, (1, 5, 5))
    assert type(units).restored((1, 5, 5), units.count, units.stored()) == units
    plain = type(units).create((1, 5, 5), 3, np.random.default_rng(0))
    assert type(units).restored((1, 5, 5), 3, {}) == plain


def test_a_bilinear_unit_of_rank_one_is_the_multilinear_one_of_a_matrix():
    images = np.random.default_rng(0).random((9, 1, 4, 6))
    bilinear, w, _ = units_on("bilinear", (1, 4, 6))
    multilinear, _, _ = units_on("multilinear", (1, 4, 6))
    d = [units.bind(images, "tanh").jacobian(w[None], ONE, "float64") for units in (bilinear, multilinear)]
    np.testing.assert_allclose(d[0], d[1], atol=1e-13 * np.abs(d[0]).max())


def test_one_vector_for_all_sides_of_a_matrix_is_the_quadratic_form():
    images = np.random.default_rng(0).random((9, 1, 5, 5))
    quadratic, w, _ = units_on("quadratic", (1, 5, 5))
    shared, _, _ = units_on("multilinear, shared", (1, 5, 5))
    both = [features(units, w, "tanh", images) for units in (quadratic, shared)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-13)


def test_the_gallery_lays_the_slices_of_a_tensor_side_by_side():
    units, w, _ = units_on("multilinear", (7, 4, 5))
    whole = units.pictures(w, np.arange(2)).reshape(2, 7, 4, 5)
    shown = units.gallery(w, np.arange(2), np.ones((7, 4, 5)))
    assert shown.shape == (2, 4 * 4, 2 * 5)
    for place in range(7):
        down, across = divmod(place, 2)
        np.testing.assert_array_equal(shown[:, 4 * down :, 5 * across :][:, :4, :5], whole[:, place])
    assert not shown[:, 12:, 5:].any()
    planes, v, _ = units_on("multilinear", (3, 4, 5))
    np.testing.assert_array_equal(planes.gallery(v, np.arange(2), np.ones((3, 4, 5))), planes.pictures(v, np.arange(2)))


def test_shared_vectors_of_rank_two_can_be_indefinite():
    units, w, _ = units_on("multilinear, shared, of rank 2", (1, 5, 5))
    values = np.linalg.eigvalsh(units.pictures(w, np.arange(units.count)))
    assert (values.min(axis=1) < 0).all()
    assert (values.max(axis=1) > 0).all()


def test_the_blocks_of_a_jacobian_do_not_show(monkeypatch):
    units, w, images = units_on("multilinear of rank 3", (2, 3, 4, 3))
    whole = units.bind(images, "tanh").jacobian(w[None], ONE, "float64")
    monkeypatch.setattr("varpro.models.units.products.BLOCK_NUMBERS", 1)
    np.testing.assert_allclose(units.bind(images, "tanh").jacobian(w[None], ONE, "float64"), whole, rtol=1e-12)


@pytest.mark.parametrize("kind", ["bilinear", "bilinear of rank 2", "multilinear of rank 3"])
def test_sub_networks_side_by_side_are_each_on_its_own(kind):
    shape = (1, 4, 6)
    units, w, images = units_on(kind, shape)
    index = np.array([[3, 1, 8, 20], [5, 6, 0, 2]], dtype=np.int32)
    several = np.stack([w, 0.5 * w])
    phi, d = units.gathered(images, index, several, sigma="tanh", jacobian="float64")
    for b, rows in enumerate(index):
        bound = units.bind(images[rows], "tanh")
        np.testing.assert_allclose(phi[b], bound.basis(several[b : b + 1], ONE)[0], atol=1e-13)
        one = bound.jacobian(several[b : b + 1], ONE, "float64")[0]
        np.testing.assert_allclose(d[b], one, atol=1e-12 * np.abs(one).max())


def test_quadratic_units_refuse_images_that_are_not_square():
    with pytest.raises(ShapeError, match="5 x 4"):
        QuadraticUnits((1, 5, 4), 3)


def test_windows_larger_than_the_image_are_refused():
    with pytest.raises(ShapeError, match="side 9"):
        LocalBilinearUnits.create((1, 8, 8), 2, np.random.default_rng(0), WindowOptions(window=(3, 9)))


def test_windows_reach_every_border():
    units = LocalBilinearUnits.create((1, 8, 8), 500, np.random.default_rng(0), WindowOptions(window=(3, 5)))
    top, left, height, width = units.windows.T
    assert {int(top.min()), int(left.min()), int((top + height).max()), int((left + width).max())} == {0, 8}
    assert set(np.unique(height)) == set(np.unique(width)) == {3, 4, 5}


def test_bilinear_units_tell_an_image_from_its_transpose_and_quadratic_ones_do_not():
    rng = np.random.default_rng(0)
    image = rng.random((1, 1, 5, 5))
    flipped = np.ascontiguousarray(image.mT)
    for kind, blind in ((QuadraticUnits, True), (BilinearUnits, False)):
        units = kind((1, 5, 5), 4)
        w = units.draw(rng)
        same = np.allclose(units.forward(image, units.matrices(w)), units.forward(flipped, units.matrices(w)))
        assert same is blind
