"""A kind of unit that the package does not know, with two columns per unit, goes through every phase of a run."""

import numpy as np
import pytest

from tests.models.halves import GainOptions, Halves
from tests.oracle import augmented_residual, central_differences, relative_error
from tests.train.small_run import N_CLASSES, config_of, part, run_of
from varpro.errors import BackendError, ConfigError
from varpro.models.units import UNITS, features
from varpro.models.units.device import require_kernel
from varpro.problems.separable import SeparableProblem
from varpro.train.scalarized.cost import plan
from varpro.train.scalarized.cycle import learning_cycle, untrained
from varpro.train.scalarized.glue import Rows, glue
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.storage import load_network, save_network

SHAPE = (1, 5, 6)
ONE = np.arange(1)


@pytest.fixture
def registered(monkeypatch):
    list(UNITS)
    monkeypatch.setitem(UNITS._kinds, "halves", Halves)


def rows_of(n, seed):
    given = part(n, seed)
    return Rows(np.concatenate([given.images, given.images[..., :1]], axis=3), given.labels)


def own_config(**changes):
    return config_of(model={"unit": "halves", "gain": 2.0}, units=3, **changes)


def own_run(config):
    run = run_of(config)
    return type(run)(**{**vars(run), "shape": SHAPE})


def test_the_search_of_a_sub_network_sees_parameters_that_move_two_columns():
    rng = np.random.default_rng(0)
    images, y = rng.random((29, *SHAPE)), rng.standard_normal((1, 29, 2))
    units = Halves.create(SHAPE, 2, rng)
    w = units.start(rng, images)
    bound = units.bind(images, "tanh")
    problem = SeparableProblem(model=bound, y=y)

    def residual(v):
        return augmented_residual(features(units, v, "tanh", images), y[0], 0.0)

    jacobian = central_differences(residual, w)
    model = problem.linearise(problem.evaluate(w[None], ONE))
    assert relative_error(model.gradient[0], jacobian.T @ residual(w)) < 3e-7
    whole = np.tril(model.h[0]) + np.tril(model.h[0], -1).T
    assert relative_error(whole, jacobian.T @ jacobian) < 3e-7


@pytest.mark.parametrize("jacobian", ["kaufman", "golub-pereyra"])
def test_sub_networks_refinement_glueing_storage_and_prediction(registered, tmp_path, jacobian):
    refine = {"iterations": 2, "first_rows": 90, "precision": "fp64", "jacobian": jacobian}
    run, rows, held = own_run(own_config(refine=refine)), rows_of(173, 0), rows_of(41, 1)
    found = learning_cycle(run, rows, stream=TRAINING, name="it", validation=held, ridge=None, score=None)
    network = found.network
    assert (network.units.count, network.units.n_columns, network.a.shape) == (6, 12, (13, N_CLASSES))
    assert found.refined.iterations == 2
    assert all(t.history[-1].cost < t.history[0].cost for t in found.trained)
    units, w = untrained(run, rows, TRAINING)
    control = glue(run.streamed(units, w, rows), None, ridge=found.glued.ridge).a
    residuals = [
        np.sum((np.eye(N_CLASSES)[rows.labels] - phi @ a) ** 2)
        for phi, a in (
            (features(units, w, "tanh", rows.images), control),
            (features(network.units, network.w, "tanh", rows.images), network.a),
        )
    ]
    assert residuals[1] < 0.8 * residuals[0]
    save_network(tmp_path / "model.h5", network)
    again = load_network(tmp_path / "model.h5")
    assert isinstance(again.units, Halves)
    assert again.units.gain == network.units.gain == 2.0
    np.testing.assert_array_equal(again.scores(held.images), network.scores(held.images))
    assert again.units.gallery(again.w, np.arange(2), np.ones(SHAPE)).shape == (2, 5, 6)


def test_a_plan_counts_its_columns(registered):
    sizes = {"n_train": 173, "n_test": 41, "n_images": 214, "n_classes": 3, "ranks": 1, "threads": 1}
    found = plan(own_config(), SHAPE, **sizes)
    assert (found.parameters_per_unit, found.columns_per_unit) == (16, 2)
    assert (found.nonlinear, found.linear) == (2 * 3 * 16, (2 * 3 * 2 + 1) * 3)


def test_its_options_and_checks_are_the_configs(registered):
    assert own_config().model.options == GainOptions(gain=2.0)
    assert own_config().as_dict()["model"] == {"unit": "halves", "sigma": "tanh", "gain": 2.0}
    with pytest.raises(ConfigError, match=r"test: model\.gain is -1; it needs a value > 0"):
        config_of(model={"unit": "halves", "gain": -1})
    with pytest.raises(ConfigError, match=r"model\.gain is 3; it is an option of halves units"):
        config_of(model={"unit": "bilinear", "gain": 3})
    with pytest.raises(ConfigError, match="images have 5 columns; crop one"):
        own_config().check_with_data(173, 3, (1, 5, 5))
    crowded = config_of(model={"unit": "halves"}, units=31)
    with pytest.raises(ConfigError, match=r"units is 31 and samples 61.*at least 63"):
        crowded.check_with_data(173, 3, SHAPE)
    with pytest.raises(BackendError, match=r"model\.unit is halves, which has no CUDA kernel; choose .*quadratic, "):
        require_kernel(Halves)
