"""Convolutional units: several columns per unit, moved together; values, derivatives and sums agree."""

from dataclasses import replace

import numpy as np
import pytest

from tests.oracle import central_differences, relative_error
from varpro.cores import row_threads
from varpro.errors import ConfigError
from varpro.kernels.convolve import SQUASHES
from varpro.models.units import ConvolutionalUnits, OptionError, features
from varpro.models.units.convolution_options import ConvolutionOptions
from varpro.models.units.convolved import blend, fine_cells

ONE = np.arange(1)
CASES = {
    "grey": ((1, 8, 8), {"filter": (3,), "cells": 2}),
    "a place for each cell": ((1, 8, 8), {"filter": (3, 5), "cells": 2, "pooling": "boxes"}),
    "two sizes": ((1, 8, 8), {"filter": (3, 5), "cells": 2}),
    "mixed colours": ((3, 6, 6), {"filter": (3,), "cells": 3, "rank": 2}),
    "planes apart": ((2, 7, 7), {"filter": (3,), "cells": 1, "colour": "planes", "padding": "valid"}),
    "more columns than rows": ((1, 6, 10), {"filter": (3,), "cells": 2}),
    "more rows than columns, mixed colours of two sizes": ((3, 9, 7), {"filter": (3, 5), "cells": 2}),
    "planes apart, boxes": ((2, 8, 6), {"filter": (3,), "cells": 2, "colour": "planes", "pooling": "boxes"}),
    "strides": ((1, 9, 9), {"filter": (4,), "cells": 2, "stride": 2, "padding": "valid"}),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def bank(request):
    """Units, parameters and images."""
    shape, options = request.param
    if options["filter"] == (4,):
        options = options | {"cells": 3}
    rng = np.random.default_rng(7)
    images = rng.random((13, *shape))
    units = ConvolutionalUnits.create(shape, 5, rng, ConvolutionOptions(**options))
    return units, units.start(rng, images) + 0.05 * rng.standard_normal(units.n_parameters), images


@pytest.mark.parametrize("sigma", SQUASHES)
def test_the_bound_basis_is_that_of_the_network_and_its_jacobian_that_of_differences(bank, sigma):
    units, w, images = bank
    bound = units.bind(images, sigma)
    phi = bound.basis(w[None], ONE)[0]
    np.testing.assert_allclose(phi, features(units, w, sigma, images), rtol=1e-13)
    assert phi.shape == (13, units.n_columns + 1)
    d = bound.jacobian(w[None], ONE, "float64")[0]
    dense = central_differences(lambda v: bound.basis(v[None], ONE)[0].ravel(), w).reshape(*phi.shape, -1)
    pairs = np.stack([dense[:, j, p] for j, p in zip(bound.columns, bound.parameters, strict=True)], axis=1)
    assert relative_error(d, pairs) < 1e-7
    dense[:, bound.columns, bound.parameters] = 0.0
    assert np.abs(dense).max() < 1e-9, "a parameter moves a column of another unit"


def test_the_contraction_is_the_transpose_of_the_direction(bank):
    units, w, images = bank
    rng = np.random.default_rng(2)
    at = units.at(w, "smooth_abs")
    v, b = rng.standard_normal(len(w)), rng.standard_normal((len(images), units.n_columns))
    along = at.direction(v)(images, at.phi(images))
    gradient = at.gradient(at.contraction(images, at.phi(images), b.copy()))
    assert np.sum(along * b) == pytest.approx(gradient @ v, rel=1e-11)


@pytest.mark.parametrize("pooling", ["smooth", "boxes"])
@pytest.mark.parametrize("n", [1, 50, 137])
def test_no_bit_depends_on_the_number_of_threads(pooling, n):
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    options = ConvolutionOptions(filter=(3, 5), cells=2, pooling=pooling)
    units = ConvolutionalUnits.create((1, 8, 8), 5, rng, options)
    w, v = units.start(rng, images), rng.standard_normal(units.n_parameters)
    b, layer = rng.standard_normal((n, units.n_columns)), rng.standard_normal((units.n_columns, 3))

    def made(threads):
        with row_threads(threads):
            at = units.at(w, "smooth_abs", np.float32)
            phi = at.phi(images)
            return phi, at.direction(v)(images, phi), at.contraction(images, phi, b), at.layer_jacobian(images, layer)

    one = made(1)
    for threads in (2, 3):
        for found, expected in zip(made(threads), one, strict=True):
            np.testing.assert_array_equal(found, expected)
    with row_threads(2):
        at = units.at(w, "smooth_abs", np.float32)
        np.testing.assert_array_equal(at.phi(images[n // 3 :]), one[0][n // 3 :])


def test_answers_at_the_places_of_a_cell_have_the_column_as_their_mean(bank):
    units, w, images = bank
    boxes = replace(units, options=replace(units.options, pooling="boxes", cells=1))
    which, g = np.array([4, 0, 2]), 1
    found = boxes.answers(w, "tanh", which, images)
    phi = features(boxes, w, "tanh", images)[:, :-1].reshape(len(images), units.count, g)
    for i, one in zip(which, found, strict=True):
        np.testing.assert_allclose(one.maps.mean(axis=(1, 2)), phi[:, i, 0], rtol=1e-12)
        left, right, bottom, top = one.area
        down, across = one.maps.shape[1:]
        assert ((right - left) / across, (bottom - top) / down) == (units.options.stride, units.options.stride)


def test_an_answer_lies_where_the_filter_has_its_middle():
    images = np.zeros((1, 1, 9, 9))
    images[0, 0, 3, 6] = 1.0
    for padding in ("same", "valid"):
        options = ConvolutionOptions(filter=(3, 5), cells=1, padding=padding)
        units = ConvolutionalUnits.create((1, 9, 9), 2, np.random.default_rng(0), options)
        w = np.concatenate([np.array([0, 1, 0] * 2 + [0.0]), np.array([0, 0, 1, 0, 0] * 2 + [0.0])])
        for one in units.answers(w, "square", np.arange(2), images):
            row, column = np.argwhere(one.maps[0] == 1.0)[0]
            left, _, _, top = one.area
            assert (top + row + 0.5, left + column + 0.5) == (3, 6)


def test_bounds_hold_for_columns_and_contractions(bank):
    units, w, images = bank
    for sigma in SQUASHES:
        at = units.at(w, sigma)
        assert np.abs(at.phi(images)).max() <= at.largest_value
        one = at.contraction(images[:1], at.phi(images[:1]), np.ones((1, units.n_columns)))
        assert np.abs(one).max() <= at.largest_slope


def test_joined_units_are_the_units_behind_one_another(bank):
    units, w, images = bank
    both, both_w = units.joined([(units, 1.1 * w), (units, 0.9 * w)], w)
    assert both.count == 15
    phi = features(both, both_w, "tanh", images)[:, :-1]
    parts = [features(units, scale * w, "tanh", images)[:, :-1] for scale in (1.0, 1.1, 0.9)]
    np.testing.assert_allclose(phi, np.concatenate(parts, axis=1), rtol=1e-13)


def test_each_parameter_belongs_to_one_unit(bank):
    units, w, _ = bank
    blocks, owner = units.blocks(), units.per_parameter(np.arange(units.count))
    np.testing.assert_array_equal(np.sort(np.concatenate([b.ravel() for b in blocks])), np.arange(len(w)))
    assert all((owner[where] == owner[where[:, :1]]).all() for where in blocks)
    sizes = np.bincount(owner)
    np.testing.assert_array_equal(units.per_unit(np.ones(len(w))), sizes)


def test_forms_start_with_unit_deviation_over_the_patches():
    rng = np.random.default_rng(3)
    images = rng.random((50, 1, 12, 12))
    units = ConvolutionalUnits.create((1, 12, 12), 40, rng, ConvolutionOptions(filter=(3,), cells=1, padding="valid"))
    w = units.start(rng, images)
    forms, bias = units.pictures(w, np.arange(40)), w.reshape(-1, 40)[-1]
    patches = np.lib.stride_tricks.sliding_window_view(images[:, 0], (3, 3), axis=(1, 2))
    q = np.einsum("nyxij,fij->nyxf", patches, forms)
    assert np.median(q.std(axis=(0, 1, 2))) == pytest.approx(1.0, rel=1e-6)
    assert 0.3 < bias.std() < 0.7


def test_a_model_file_gives_the_units_back(bank):
    units, w, images = bank
    again = ConvolutionalUnits.restored(units.shape, units.count, units.stored())
    np.testing.assert_array_equal(features(again, w, "tanh", images), features(units, w, "tanh", images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": (9,)}, r"model.filter is \[9\]: a filter of 9 x 9 is larger than the images, 6 x 6"),
        (
            {"filter": (3,), "cells": 4, "pooling": "boxes"},
            "model.cells is 4: .* the 6 x 6 places of a filter of 3; it can be 1, 2, 3, 6, or use pooling: smooth",
        ),
        ({"filter": (3,), "cells": 7}, "model.cells is 7: there are only 6 places across for a filter of 3"),
    ],
)
def test_geometry_that_fails_is_told_before_a_run(options, message):
    options = ConvolutionOptions(padding="valid" if options["filter"] == (9,) else "same", **options)
    with pytest.raises(ConfigError, match=message):
        ConvolutionalUnits.check((1, 6, 6), options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 24, 20), {"cells": 3, "pooling": "boxes"}, "divide the 24 x 20 places .*; it can be 1, 2, 4,"),
        ((1, 24, 20), {"cells": 5, "pooling": "boxes"}, "divide the 24 x 20 places .*; it can be 1, 2, 4,"),
        ((1, 5, 20), {"cells": 6}, "only 5 places down for a filter of 3; use 1 to 5 cells"),
        ((1, 20, 5), {"cells": 6}, "only 5 places across for a filter of 3; use 1 to 5 cells"),
        (
            (1, 20, 14),
            {"filter": (3, 5), "cells": 6, "pooling": "boxes", "padding": "valid"},
            "divide the 16 x 10 places of a filter of 5; it can be 1, 2, or",
        ),
    ],
)
def test_cells_that_fail_in_one_direction_are_told_with_numbers_that_suit_both(shape, options, message):
    with pytest.raises(ConfigError, match=f"model.cells is {options['cells']}: .*{message}"):
        ConvolutionalUnits.check(shape, ConvolutionOptions(**{"filter": (3,)} | options))


@pytest.mark.parametrize("shape", [(1, 24, 20), (3, 14, 22), (1, 9, 31), (2, 4, 28), (1, 13, 17)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_smooth_averages_suit_images_of_any_sides(shape, padding):
    options = ConvolutionOptions(filter=(1, 3), cells=2, padding=padding)
    ConvolutionalUnits.check(shape, options)
    rng = np.random.default_rng(0)
    units, images = ConvolutionalUnits.create(shape, 3, rng, options), rng.random((2, *shape))
    phi = features(units, units.start(rng, images), "tanh", images)
    assert phi.shape == (2, 3 * 4 + 1)
    assert np.linalg.matrix_rank(phi[:, :-1].reshape(-1, 4)) == 4, "cells whose averages are the same"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rank": 0}, "rank is 0; it must be 1, 2 or 3"),
        ({"filter": 0}, "must be a side in pixels"),
        ({"cells": 1.5}, "must be a whole number >= 1"),
        ({"padding": "half"}, "must be one of same, valid"),
        ({"colour": "grey"}, "must be one of mix, planes"),
        ({"smoothing": 0.0}, "must be a number > 0"),
        ({"whitening": -1.0}, "must be a number > 0"),
    ],
)
def test_options_complain_in_words(options, words):
    with pytest.raises(OptionError, match=words):
        ConvolutionOptions(**options)


@pytest.mark.parametrize(
    ("places", "cells", "fine"), [(28, 4, 7), (32, 4, 8), (6, 4, 6), (7, 4, 7), (9, 1, 1), (8, 2, 4)]
)
def test_smooth_averages_are_made_of_the_fewest_boxes_that_do(places, cells, fine):
    assert fine_cells(places, cells) == fine
    weights = blend(cells, (fine, fine))
    if fine == cells:
        assert weights is None
        return
    assert weights.shape == (cells**2, fine**2)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-14)
    table = weights.reshape(cells, cells, fine, fine)
    np.testing.assert_allclose(table, table[::-1, ::-1, ::-1, ::-1], rtol=1e-12)
    middles = table.sum(axis=(1, 3)).argmax(axis=1)
    assert (np.diff(middles) > 0).all(), "each cell has a middle of its own"


def test_smooth_averages_are_those_of_the_boxes():
    rng = np.random.default_rng(3)
    images = rng.random((5, 1, 8, 8))
    smooth, boxes = (
        ConvolutionalUnits.create((1, 8, 8), 3, rng, ConvolutionOptions(filter=(3,), cells=cells, pooling=pooling))
        for cells, pooling in ((2, "smooth"), (4, "boxes"))
    )
    w = smooth.start(rng, images)
    fine = features(boxes, w, "tanh", images)[:, :-1].reshape(5, 3, 16)
    expected = (fine @ blend(2, (4, 4)).T).reshape(5, -1)
    np.testing.assert_allclose(features(smooth, w, "tanh", images)[:, :-1], expected, rtol=1e-13)


@pytest.mark.parametrize(("shape", "fine"), [((1, 6, 10), (3, 5)), ((1, 10, 6), (5, 3)), ((1, 2, 6), (2, 3))])
def test_smooth_averages_are_gaussian_in_each_direction(shape, fine):
    """Except along a side that has no more places than cells: each of these is a cell."""
    rng, cells = np.random.default_rng(3), 2
    images = rng.random((5, *shape))
    units = ConvolutionalUnits.create(shape, 3, rng, ConvolutionOptions(filter=(1,), cells=cells))
    w = units.start(rng, images)
    u, v, b = w.reshape(3, -1)
    answers = np.tanh(images * (u * v)[:, None, None] + b[:, None, None])
    boxes = answers.reshape(5, 3, fine[0], shape[1] // fine[0], fine[1], shape[2] // fine[1]).mean(axis=(3, 5))
    expected = np.empty((5, 3, cells, cells))
    for row in range(cells):
        for column in range(cells):
            weights = np.outer(*(_gaussian(cells, n, k) for n, k in zip(fine, (row, column), strict=True)))
            expected[:, :, row, column] = (boxes * weights).sum(axis=(2, 3))
    found = features(units, w, "tanh", images)[:, :-1]
    np.testing.assert_allclose(found, expected.reshape(5, -1), rtol=1e-13)


def _gaussian(cells, boxes, cell):
    """The weights of boxes in the average of a cell, in one direction of sides 1."""
    if boxes == cells:
        return np.arange(cells) == cell
    distances = (np.arange(boxes) + 0.5) / boxes - (cell + 0.5) / cells
    weights = np.exp(-0.5 * (distances / (0.5 / cells)) ** 2)
    return weights / weights.sum()


def test_a_file_from_before_each_direction_had_its_own_boxes_keeps_its_columns():
    """Its geometry has six numbers; both directions had the boxes of the smaller side."""
    rng, shape = np.random.default_rng(3), (1, 12, 4)
    images = rng.random((5, *shape))
    units, boxes = (
        ConvolutionalUnits.create(shape, 3, rng, ConvolutionOptions(filter=(3,), cells=cells, pooling=pooling))
        for cells, pooling in ((2, "smooth"), (4, "boxes"))
    )
    w, stored = units.start(rng, images), units.stored()
    old = ConvolutionalUnits.restored(shape, 3, stored | {"geometry": stored["geometry"][:6]})
    expected = features(boxes, w, "tanh", images)[:, :-1].reshape(5, 3, 16) @ blend(2, (4, 4)).T
    kept = [old, old.joined([], w)[0], ConvolutionalUnits.restored(shape, 3, old.stored())]
    for one in kept:
        np.testing.assert_allclose(features(one, w, "tanh", images)[:, :-1], expected.reshape(5, -1), rtol=1e-13)
    assert units.patches(3, "tanh").cells == (3, 4)
    assert not np.allclose(features(units, w, "tanh", images)[:, :-1], expected.reshape(5, -1), rtol=1e-3)
