"""The linear layer under cross-entropy: the minimum of another solver, its derivatives, and the choice of the ridge."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.oracle import central_differences, relative_error
from tests.train.small_run import N_CLASSES, SHAPE, config_of, dataset, part, rows_of, run_of
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import ConfigError
from varpro.linalg.cross_entropy import softmax
from varpro.linalg.row_sums import ShardedRows
from varpro.models import QuadraticUnits
from varpro.problems.entropy_layer import EntropyColumns
from varpro.report.progress import Display
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized import glue_entropy as module
from varpro.train.scalarized.cycle import untrained
from varpro.train.scalarized.glue import Rows
from varpro.train.scalarized.glue_entropy import RELATIVE_RIDGES, glue_entropy
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.trainer import train

ROWS, COLUMNS, CLASSES = 137, 6, 3


def columns_of(ridge=1e-2, block_rows=50, threads=1, dtype=np.float64, scale=1.0):
    """Columns, targets, and how they are held: labels depend on two of the columns."""
    rng = np.random.default_rng(0)
    phi = np.concatenate([scale * rng.standard_normal((ROWS, COLUMNS - 1)), np.ones((ROWS, 1))], axis=1)
    labels = np.argmax(phi[:, :CLASSES] + scale * rng.gumbel(size=(ROWS, CLASSES)), axis=1)
    rows = ShardedRows(ROWS, SerialCommunicator(), block_rows, threads)
    y = np.eye(CLASSES)[labels]
    blocks = [phi[b].astype(dtype) for b in rows.blocks()], [y[b] for b in rows.blocks()]
    return EntropyColumns(rows, *blocks, ridge, float(np.abs(phi).max())), phi, labels


def start():
    return np.zeros((COLUMNS, CLASSES))


@pytest.mark.parametrize("ridge", [1e-1, 1e-3])
def test_the_layer_is_that_of_scikit_learn(ridge):
    columns, phi, labels = columns_of(ridge)
    a = columns.solve(start(), tolerance=1e-15).x.reshape(COLUMNS, CLASSES)
    # theirs has no ridge on an intercept, so the constant is a column like any other
    theirs = LogisticRegression(C=1 / (ROWS * ridge), fit_intercept=False, tol=1e-12, max_iter=5000).fit(phi, labels)
    assert relative_error(a, theirs.coef_.T) < 1e-5


def test_gradient_and_products_are_the_derivatives():
    columns, *_ = columns_of()
    rng = np.random.default_rng(1)
    a = rng.standard_normal((COLUMNS, CLASSES))
    found = columns.solve(a, tolerance=1.0).at  # takes no step: the first point
    make = type(found)

    def at(x):
        return make(columns, found.solver, x.reshape(a.shape))

    here = at(a.ravel())
    slope = central_differences(lambda x: np.array([at(x).value]), a.ravel())
    assert relative_error(here.gradient, slope[0]) < 1e-7
    second = central_differences(lambda x: at(x).gradient, a.ravel())
    v = rng.standard_normal(a.size)
    assert relative_error(here.product(v), second @ v) < 1e-7


@pytest.mark.parametrize(("block_rows", "threads"), [(50, 2), (1000, 1), (7, 3)])
def test_blocks_and_threads_change_no_more_than_the_tolerance(block_rows, threads):
    one, other = (columns_of(block_rows=b, threads=t)[0] for b, t in ((50, 1), (block_rows, threads)))
    a, b = (c.solve(start(), tolerance=1e-15).x for c in (one, other))
    assert relative_error(b, a) < 1e-6


def test_separable_classes_have_a_finite_layer_in_single_precision():
    columns, *_ = columns_of(ridge=1e-6, dtype=np.float32, scale=100.0)
    found = columns.solve(start(), tolerance=1e-6)
    assert np.isfinite(found.x).all()
    assert found.at.value < np.log(CLASSES)


@pytest.mark.parametrize("ridge", [0.0, 1e-14])
def test_collinear_columns_and_next_to_no_ridge_still_have_a_layer(ridge):
    columns, *_ = columns_of(ridge)
    twice = EntropyColumns(columns.rows, [np.concatenate([p, p], axis=1) for p in columns.phi], columns.y, ridge)
    one, two = (
        c.solve(np.zeros((size, CLASSES)), tolerance=1e-12) for c, size in ((columns, COLUMNS), (twice, 2 * COLUMNS))
    )
    assert two.at.value == pytest.approx(one.at.value, rel=1e-6)


def run_and_rows(**changes):
    run = run_of(config_of(**changes))
    images = part(160, 3).images
    units = QuadraticUnits(SHAPE, 6)
    return run, units, units.start(np.random.default_rng(2), images)


def mean_square(streamed):
    """The mean square of Phi."""
    return np.mean(streamed.units.at(streamed.w, streamed.sigma).phi(streamed.rows.images) ** 2)


def test_the_ridge_with_the_lowest_log_loss_is_taken():
    run, units, w = run_and_rows()
    train, held = (run.streamed(units, w, rows_of(part(n, seed))) for n, seed in ((60, 3), (90, 4)))
    chosen = glue_entropy(train, held)

    def loss(ridge):
        a = glue_entropy(train, None, ridge=ridge).a
        p = units.at(w, "tanh").phi(held.rows.images) @ a
        p = p - p.max(axis=1, keepdims=True)
        return -np.mean((p - np.log(np.exp(p).sum(axis=1, keepdims=True)))[np.arange(90), held.rows.labels])

    losses = {ridge: loss(60 * ridge * mean_square(train)) for ridge in RELATIVE_RIDGES}
    assert chosen.ridge == pytest.approx(60 * mean_square(train) * min(losses, key=losses.__getitem__), rel=1e-6)


def test_a_given_ridge_is_taken_and_without_validation_rows_nothing_is_chosen():
    run, units, w = run_and_rows()
    train = run.streamed(units, w, rows_of(part(60, 3)))
    assert glue_entropy(train, train, ridge=2.5).ridge == pytest.approx(2.5)
    assert glue_entropy(train, None).ridge == pytest.approx(60 * mean_square(train) * module.UNGUIDED, rel=1e-6)


def test_candidates_for_the_ridge_are_decades_below_a_hundredth_the_largest_first(monkeypatch):
    run, units, w = run_and_rows()
    train, tried, make = run.streamed(units, w, rows_of(part(60, 3))), [], module.EntropyColumns
    monkeypatch.setattr(module, "EntropyColumns", lambda *given: tried.append(given[3]) or make(*given))
    glue_entropy(train, train)
    np.testing.assert_allclose(np.array(tried) / mean_square(train), [1e-2, 1e-3, 1e-4, 1e-5], rtol=1e-6)
    tried.clear()
    nobody = run.streamed(units, w, rows_of(part(0, 3)))
    for validation in (None, nobody):
        assert glue_entropy(train, validation).ridge == pytest.approx(60 * mean_square(train) * 1e-4, rel=1e-6)
    assert len(tried) == 2


def test_a_run_glues_network_and_control_under_cross_entropy():
    data = dataset()
    config = config_of(glue={"loss": "cross_entropy"}, control=True)
    record, network = train(Prepared.of(config, data), SerialCommunicator(), display=Display())
    rows = Rows(data.train.images[:123], data.train.labels[:123])
    p = softmax(network.scores(rows.images))
    streamed = run_of(config).streamed(network.units, network.w, rows)
    expected = glue_entropy(streamed, None, ridge=record.metrics["glue"]["ridge"]).a
    assert relative_error(network.a, expected) < 1e-2  # it started from the layers of larger ridges
    assert np.mean(p.argmax(axis=1) == rows.labels) == pytest.approx(record.metrics["train"]["accuracy"])
    units, w = untrained(run_of(config), rows, TRAINING)
    scale = 123 * mean_square(run_of(config).streamed(units, w, rows))
    assert record.metrics["control"]["ridge"] in [pytest.approx(scale * r, rel=1e-6) for r in RELATIVE_RIDGES]


def test_an_orthogonal_factorisation_of_a_cross_entropy_is_refused_in_one_line():
    config = config_of(glue={"loss": "cross_entropy", "method": "tsqr"})
    with pytest.raises(ConfigError, match=r"glue\.loss is cross_entropy.*tsqr; remove one of the two") as told:
        config.check_without_data()
    assert "\n" not in str(told.value)


def test_the_layer_learns_what_there_is_to_learn():
    run, units, w = run_and_rows()
    train, test = (run.streamed(units, w, rows_of(part(160, seed))) for seed in (3, 4))
    a = glue_entropy(train, None).a
    right = np.mean((units.at(w, "tanh").phi(test.rows.images) @ a).argmax(axis=1) == test.rows.labels)
    assert right > 1 / N_CLASSES + 0.2
