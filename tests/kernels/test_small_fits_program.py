"""Compiled columns whose parameters are held or follow others, and those of complex data."""

import numpy as np
import pytest

from tests.kernels.test_small_fits import MODELS, arrays, assert_near_reference
from varpro.errors import ShapeError
from varpro.kernels import small_fits
from varpro.kernels.small_fits.reference import from_arrays_reference
from varpro.problems.columns import as_real_rows

LINKS = {  # model, source, factor
    "none": ("sum", None, None),
    "tied": ("decays", [0, 0], [1.0, -2.0]),
    "held": ("decays", [-1, 0], [0.0, 0.5]),
    "a centre tied to a width": ("gaussians", [1, 0, -1, 0], [1.0, 1.0, 0.0, 1.5]),
    "widths held": ("gaussians", [0, -1, 1, -1], [1.0, 0.0, 1.0, 0.0]),
}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("case", LINKS)
def test_columns_are_the_models_at_the_parameters_that_follow(case, shared, parts):
    """A column of D is the model's times the factor, those by held parameters are left out, and complex data have every
    column in both of their parts."""
    name, source, factor = LINKS[case]
    (model, w), b, n = MODELS[name], 3, 31
    rng, count, links = np.random.default_rng(3), len(w), None
    source, factor = np.arange(count) if source is None else np.array(source), np.array(factor or np.ones(count))
    t, u = np.linspace(0, 10, n)[None], rng.uniform(0.9, 1.1, (b, source.max() + 1))
    offset = np.array(w) * rng.uniform(0.9, 1.1, (b, 1)) - factor * np.where(source >= 0, u.mean(axis=0)[source], 0.0)
    offset = offset[:1] if shared else offset
    if case == "none":
        u, offset = np.array(w) * u, np.zeros((1, count))
    else:
        links = small_fits.Links(source.astype(np.int32), factor, offset)
    full = np.where(source >= 0, factor * u[:, source], 0.0) + offset
    phi, d = (np.stack([made(t[0], v) for v in full]) for made in (model, model.columns))
    columns, parameters = model.pairs.T
    free = source[parameters] >= 0
    d, columns, parameters = (d * factor[parameters])[:, :, free], columns[free], source[parameters][free]
    if parts == 2:
        columns, parameters = np.append(columns, columns + phi.shape[2]), np.append(parameters, parameters)
        phi, d = as_real_rows(phi), as_real_rows(d)
    pairs = small_fits.Pairs(columns.astype(np.int32), parameters.astype(np.int32))
    y = phi @ rng.uniform(1, 2, (b, phi.shape[2], 2)) + 0.1 * rng.standard_normal((b, n * parts, 2))
    program, every = small_fits.encode(model.program()), np.arange(b)
    for options in ({}, {"weights": rng.uniform(0.5, 2, (b, n * parts))}, {"ridge": 0.1, "kaufman": True}):
        expected = arrays(from_arrays_reference(phi, d, y, every, pairs, u.shape[1], **options))
        found = arrays(small_fits.from_program(program, t, u, y, every, pairs, links=links, parts=parts, **options))
        assert_near_reference(found, expected, n)


def test_points_of_t_are_those_of_one_part():
    program, w = small_fits.encode(MODELS["decays"][0].program()), np.ones((2, 2))
    pairs = small_fits.Pairs(np.array([0, 1, 3, 4], dtype=np.int32), np.array([0, 1, 0, 1], dtype=np.int32))
    with pytest.raises(ShapeError, match=r"t has shape \(1, 20\); y \(2, 20, 1\) needs \(1 or 2, 10\)"):
        small_fits.from_program(program, np.ones((1, 20)), w, np.ones((2, 20, 1)), np.arange(2), pairs, parts=2)
