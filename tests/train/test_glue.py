"""The global linear layer: Gram and TSQR against LAPACK, ridge, rank, sharding."""

import dataclasses

import numpy as np
import pytest

from varpro.distributed.communicator import SerialCommunicator
from varpro.models import QuadraticUnits
from varpro.models.units import features
from varpro.train.checkpoint import Kept, states
from varpro.train.checkpoint.identity import Identity
from varpro.train.checkpoint.stop import Stop
from varpro.train.scalarized.glue import WIDE_ROWS, Rows, Streamed, _Gram, _in_double, count_correct, glue
from varpro.train.scalarized.glue_gradients import GradientLayers
from varpro.train.scalarized.kept_sums import KeptSums
from varpro.train.scalarized.network import one_hot


def streamed(rows=403, count=11, block_rows=50, duplicate=False, reproducible=False):
    rng = np.random.default_rng(4)
    images = rng.random((rows, 1, 5, 5))
    labels = (3 * images.mean(axis=(1, 2, 3)) > 1.5).astype(int) + (images[:, 0, 2, 2] > 0.7)
    units = QuadraticUnits((1, 5, 5), count)
    w = units.start(rng, images)
    if duplicate:
        table = w.reshape(-1, count)
        table[:, 3] = table[:, 7]
    return Streamed(units, w, "tanh", Rows(images, labels), 3, SerialCommunicator(), block_rows, reproducible)


def dense(s):
    return features(s.units, s.w, s.sigma, s.rows.images), one_hot(s.rows.labels, 3)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 2.0])
@pytest.mark.parametrize("method", ["gram", "tsqr"])
def test_both_methods_solve_the_ridge_problem(method, ridge):
    s = streamed()
    phi, y = dense(s)
    expected = np.linalg.solve(phi.T @ phi + ridge * np.eye(12), phi.T @ y)
    found = glue(s, None, method=method, ridge=ridge)
    np.testing.assert_allclose(found.a, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    assert found.ridge == ridge
    assert found.rank == 12


def test_gram_and_tsqr_agree_to_1e_8_on_a_well_conditioned_case():
    by_gram, by_tsqr = (glue(streamed(), None, method=m, ridge=0.0) for m in ("gram", "tsqr"))
    assert np.linalg.norm(by_gram.a - by_tsqr.a) < 1e-8 * np.linalg.norm(by_tsqr.a)
    assert by_gram.condition < 1e6


@pytest.mark.parametrize("method", ["gram", "tsqr"])
def test_single_precision_solves_the_problem_to_single_precision(method):
    s = streamed()
    single = dataclasses.replace(s, single=True)
    assert next(iter(single.blocks()))[0].dtype == np.float32
    ridge = 1e-3 * float(np.sum(dense(s)[0] ** 2)) / s.n_columns
    a, close = (glue(x, None, method=method, ridge=ridge).a for x in (s, single))
    assert 0 < np.linalg.norm(close - a) < 1e-4 * np.linalg.norm(a)


def test_rows_are_made_double_part_by_part_without_a_change():
    phi = np.random.default_rng(0).standard_normal((2 * WIDE_ROWS + 3, 4)).astype(np.float32)
    found = [(rows, wide.copy()) for rows, wide in _in_double(phi)]
    assert [len(wide) for _, wide in found] == [WIDE_ROWS, WIDE_ROWS, 3]
    assert all(wide.dtype == np.float64 for _, wide in found)
    for rows, wide in found:
        np.testing.assert_array_equal(wide, phi[rows])
    (rows, same), *none = _in_double(phi.astype(np.float64))
    assert (len(same), none) == (len(phi), [])


def test_the_candidates_for_the_ridge_stay_above_the_rounding_of_the_sums():
    s = dataclasses.replace(streamed(), single=True)
    found = glue(s, s, method="gram")
    scale = float(np.sum(dense(s)[0] ** 2)) / s.n_columns
    assert found.ridge >= 10 * float(np.finfo(np.float32).eps) * scale / 2


def test_tsqr_truncates_a_duplicate_unit_and_reports_the_rank():
    s = streamed(duplicate=True)
    phi, y = dense(s)
    found = glue(s, None, method="tsqr", ridge=0.0)
    assert found.rank == 11
    np.testing.assert_allclose(found.a, np.linalg.pinv(phi) @ y, atol=1e-9)


def test_gram_of_a_duplicate_unit_still_gives_finite_coefficients():
    s = streamed(duplicate=True)
    found = glue(s, None, method="gram", ridge=0.0)
    phi, y = dense(s)
    assert np.isfinite(found.a).all()
    best = np.linalg.norm(y - phi @ (np.linalg.pinv(phi) @ y))
    assert np.linalg.norm(y - phi @ found.a) < 1.001 * best


@pytest.mark.parametrize("block_rows", [1, 7, 403, 1000])
def test_block_size_does_not_matter_beyond_rounding(block_rows):
    a = glue(streamed(block_rows=block_rows), None, ridge=1e-3).a
    np.testing.assert_allclose(a, glue(streamed(), None, ridge=1e-3).a, rtol=1e-9, atol=1e-11)


def test_reproducible_sums_agree_with_ordinary_ones():
    plain, exact = (glue(streamed(reproducible=r), None, ridge=1e-3).a for r in (False, True))
    np.testing.assert_allclose(exact, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", ["gram", "tsqr"])
def test_the_ridge_chosen_is_a_best_one_on_the_validation_rows(method):
    s = streamed()
    validation = streamed(rows=97)
    found = glue(s, validation, method=method)
    phi, y = dense(s)
    scale = np.trace(phi.T @ phi) / 12
    correct = []
    for relative in (1e-11, 1e-9, 1e-7, 1e-5, 1e-3):
        a = np.linalg.solve(phi.T @ phi + relative * scale * np.eye(12), phi.T @ y)
        correct.append(int(count_correct(validation, [a])[0]))
    assert int(count_correct(validation, [found.a])[0]) == max(correct)
    assert found.ridge in [pytest.approx(r * scale) for r in (1e-11, 1e-9, 1e-7, 1e-5, 1e-3)]


def test_more_units_than_rows():
    s = streamed(rows=7, count=20)
    phi, y = dense(s)
    a = glue(s, None, method="tsqr", ridge=0.0).a
    np.testing.assert_allclose(phi @ a, y, atol=1e-8)


def test_the_refinement_step_repairs_what_the_gram_matrix_squared():
    s = streamed(duplicate=True)
    table = s.w.reshape(-1, s.units.count)
    table[:, 3] *= 1 + 1e-4 * np.arange(1, len(table) + 1) / len(table)  # Phi^T Phi: condition about 1e11
    phi, y = dense(s)
    best = np.linalg.lstsq(phi, y, rcond=None)[0]
    solver = _Gram(s)
    raw = solver.solutions([0.0])[0]
    errors = [np.linalg.norm(a - best) for a in (raw.a, solver.refined(raw).a)]
    assert errors[0] > 1e-10 * np.linalg.norm(best)  # else there is nothing to repair
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 2.0])
@pytest.mark.parametrize("reproducible", [False, True])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_conjugate_gradients_agree_with_the_gram_matrix_to_1e_8(monkeypatch, ridge, reproducible, rank):
    monkeypatch.setattr("varpro.train.scalarized.glue_gradients.RANK", rank)
    s = streamed(reproducible=reproducible)
    by_gram, by_cg = glue(s, None, ridge=ridge), glue(s, None, method="cg", ridge=ridge)
    assert np.linalg.norm(by_gram.a - by_cg.a) < 1e-8 * np.linalg.norm(by_gram.a)
    assert by_cg.residual < 1e-10
    assert by_cg.ridge == ridge


def test_conjugate_gradients_choose_the_ridge_that_the_gram_matrix_chooses():
    s, validation = streamed(), streamed(rows=97)
    by_gram, by_cg = (glue(s, validation, method=m) for m in ("gram", "cg"))
    assert by_cg.ridge == pytest.approx(by_gram.ridge, rel=1e-12)


def test_conjugate_gradients_with_a_duplicate_unit_fit_as_well_as_can_be():
    s = streamed(duplicate=True)
    phi, y = dense(s)
    found = glue(s, None, method="cg", ridge=0.0)
    best = np.linalg.norm(y - phi @ (np.linalg.pinv(phi) @ y))
    assert np.linalg.norm(y - phi @ found.a) < 1.001 * best


def test_the_approximation_of_full_rank_needs_next_to_no_products():
    layers = GradientLayers(streamed(), 12)
    assert layers.solve([1e-3], layers.cross, 1e-10).products <= 3
    assert GradientLayers(streamed(), 1).solve([1e-3], layers.cross, 1e-10).products > 3


def test_the_approximation_has_the_largest_eigenvalues():
    s = streamed(count=40)
    layers, (phi, _) = GradientLayers(s, 10), dense(s)
    expected = np.linalg.eigvalsh(phi.T @ phi)[::-1]
    assert (layers.eigenvalues[:3] > 0.7 * expected[:3]).all()
    assert (layers.eigenvalues <= expected[:10] * (1 + 1e-9)).all()
    np.testing.assert_allclose(layers.u.T @ layers.u, np.eye(10), atol=1e-12)


def test_sums_that_are_kept_and_continued_give_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(states, "SHARE", 0)
    comm = SerialCommunicator()
    kept = Kept(tmp_path, comm, Stop())
    kept.begin(Identity("1", {}, "data"), resume=False)
    s = streamed(reproducible=True)
    plain, saved = glue(s, None, ridge=1e-3), Kept.save

    def ending(self, name, state):
        saved(self, name, state)
        if len(state.arrays["blocks"]) == 5:
            raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(Kept, "save", ending)
        with pytest.raises(SystemExit):
            glue(s, None, ridge=1e-3, watch=KeptSums(kept, "sums", comm))
    computed, block = [], Streamed.block
    monkeypatch.setattr(Streamed, "block", lambda self, rows: (computed.append(rows.start), block(self, rows))[1])
    again = glue(s, None, ridge=1e-3, watch=KeptSums(kept, "sums", comm))
    np.testing.assert_array_equal(again.a, plain.a)
    assert computed[:4] == [250, 300, 350, 400]
