"""The whole Gauss-Newton matrix of a network against its products, which are tested by differences."""

import dataclasses
import threading

import numpy as np
import pytest

from tests.oracle import relative_error
from tests.search.test_whole_network import KIND_SHAPES, ONE, network
from varpro.models.units import ConvolutionalUnits
from varpro.models.units.convolution_options import ConvolutionOptions
from varpro.problems.network import WholeNetwork


def pair(kind, shape, **options):
    problem, w = network(kind, shape, **options)
    exact = WholeNetwork(**{**vars(problem), "exact": True})
    return problem, exact, w


@pytest.mark.parametrize("kaufman", [True, False])
@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_matrix_and_gradient_are_those_of_the_products(kind, shape, kaufman):
    problem, exact, w = pair(kind, shape, kaufman=kaufman)
    free = problem.linearise(problem.evaluate(w[None], ONE))
    whole = exact.linearise(exact.evaluate(w[None], ONE))
    products = np.stack([free.apply(v) for v in np.eye(len(w))], axis=1)
    assert relative_error(whole.h[0], products) < 1e-11
    assert relative_error(whole.gradient[0], free.gradient[0]) < 1e-11


@pytest.mark.parametrize("threads", [1, 3])
def test_convolutional_units_have_the_matrix_of_their_products(threads):
    rng = np.random.default_rng(5)
    problem, _ = network(rows=2100, threads=threads)
    images = rng.integers(0, 256, (2100, 1, 6, 6), dtype=np.uint8)
    problem.sample.images = images
    units = ConvolutionalUnits.create((1, 6, 6), 3, rng, ConvolutionOptions(filter=(3,), cells=2))
    w = units.start(rng, images)
    settings = {**vars(problem), "units": units, "sigma": "smooth_abs"}
    exact, free = WholeNetwork(**{**settings, "exact": True}), WholeNetwork(**settings)
    whole, by_products = (p.linearise(p.evaluate(w[None], ONE)) for p in (exact, free))
    products = np.stack([by_products.apply(v) for v in np.eye(len(w))], axis=1)
    assert relative_error(whole.h[0], products) < 1e-11


def test_the_matrix_has_no_negative_eigenvalue_in_single_precision():
    _, exact, w = pair("local-bilinear", (1, 7, 6), rows=400, dtype=np.float32)
    h = exact.linearise(exact.evaluate(w[None], ONE)).h[0]
    values = np.linalg.eigvalsh(h)
    assert values[0] > -float(np.finfo(np.float32).eps) * values[-1]


def test_sums_do_not_depend_on_the_number_of_threads():
    matrices = []
    for threads in (1, 2):
        _, exact, w = pair("local-bilinear", (1, 7, 6), rows=2500, threads=threads)
        matrices.append(exact.linearise(exact.evaluate(w[None], ONE)).h)
    np.testing.assert_array_equal(*matrices)


@pytest.mark.parametrize("kaufman", [True, False])
@pytest.mark.parametrize(("kind", "shape"), KIND_SHAPES)
def test_a_held_jacobian_gives_the_same_steps(kind, shape, kaufman):
    problem, _, w = pair(kind, shape, kaufman=kaufman, rows=1300)
    held = WholeNetwork(**{**vars(problem), "held_bytes": 2**30})
    by_images, by_j = (p.linearise(p.evaluate(w[None], ONE)) for p in (problem, held))
    assert by_images.j is None
    assert by_j.j is not None
    v = np.random.default_rng(2).standard_normal(len(w))
    assert relative_error(by_j.gradient, by_images.gradient) < 1e-11
    assert relative_error(by_j.apply(v), by_images.apply(v)) < 1e-11
    assert relative_error(by_j.diagonal, by_images.diagonal) < 1e-11


def test_no_more_is_held_than_the_bytes_that_are_given():
    problem, _, w = pair("local-bilinear", (1, 7, 6), rows=300)
    size = 8 * 300 * problem.sample.y.shape[1] * len(w)
    for given, held in ((size, True), (size - 1, False)):
        limited = WholeNetwork(**{**vars(problem), "held_bytes": given})
        assert (limited.linearise(limited.evaluate(w[None], ONE)).j is not None) is held


class Pair:
    """One of two ranks, each a thread, that add their arrays up."""

    def __init__(self, rank, meeting, given):
        self.rank, self.size, self.meeting, self.given = rank, 2, meeting, given

    def allreduce(self, array, op="sum"):
        self.given[self.rank] = array
        self.meeting.wait(60)
        found = {"sum": np.add, "max": np.maximum}[op](*(self.given[rank] for rank in (0, 1)))
        self.meeting.wait(60)
        return found

    def allreduce_(self, array, op="sum"):
        array[...] = self.allreduce(array.copy(), op)
        return array


@pytest.mark.parametrize("kaufman", [True, False])
@pytest.mark.parametrize("rows", [5000, 300])
def test_steps_through_a_held_jacobian_do_not_depend_on_the_number_of_ranks(rows, kaufman):
    """The first 2,000 rows, of which the preconditioner is made, lie on the first of two ranks; of 300, all do."""
    problem, w = network("local-bilinear", (1, 7, 6), rows=rows, kaufman=kaufman)
    alone = WholeNetwork(**{**vars(problem), "held_bytes": 2**30})
    meeting, given, found = threading.Barrier(2), [None, None], [None, None]

    def run(rank):
        sample = dataclasses.replace(problem.sample, comm=Pair(rank, meeting, given))
        held = WholeNetwork(**{**vars(alone), "sample": sample})
        found[rank] = held.linearise(held.evaluate(w[None], ONE))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    expected = alone.linearise(alone.evaluate(w[None], ONE))
    for one in found:
        np.testing.assert_array_equal(one.gradient, expected.gradient)
        for (where, blocks), (there, wanted) in zip(one.unit_blocks, expected.unit_blocks, strict=True):
            np.testing.assert_array_equal(where, there)
            np.testing.assert_array_equal(blocks, wanted)
