"""What the calibration minimises: its gradient and its curvature are those of the value, and its start is scaled."""

import numpy as np
import pytest

from tests.losses.differences import distance, gradient
from varpro.train.calibration import FORMS, Calibration, _MeanCrossEntropy, calibrate, log_loss, measured, reliability

N, K = 40, 3


@pytest.fixture
def problem(request):
    """The mean cross-entropy of a form as a function of its parameters, beside logits that are there already."""
    rng = np.random.default_rng(2)
    form = FORMS[request.param](rng.standard_normal((N, K)))
    targets, others = rng.dirichlet(np.ones(K), N), rng.standard_normal((N, K))
    return form, lambda theta: _MeanCrossEntropy(form, others, targets, theta)


both = pytest.mark.parametrize("problem", FORMS, indirect=True)


@both
def test_the_gradient_is_that_of_the_value(problem):
    form, at = problem
    theta = np.random.default_rng(3).standard_normal(form.size)
    assert distance(at(theta).gradient, gradient(lambda x: at(x).value, theta)) < 1e-8


@both
def test_a_product_with_the_curvature_is_the_change_of_the_gradient(problem):
    form, at = problem
    rng = np.random.default_rng(4)
    theta, v = rng.standard_normal((2, form.size))
    h = 1e-5
    change = (at(theta + h * v).gradient - at(theta - h * v).gradient) / (2 * h)
    assert distance(at(theta).product(v), change) < 1e-8


@both
def test_a_layer_gives_the_logits_of_its_form(problem):
    form, _ = problem
    theta = np.random.default_rng(5).standard_normal(form.size)
    scores = form.scores if hasattr(form, "scores") else form.phi[:, :-1]
    layer = form.layer(theta)
    np.testing.assert_allclose(form.forward(theta), scores @ layer[:-1] + layer[-1], atol=1e-13)


@both
def test_the_preconditioner_is_definite_and_bounds_the_curvature(problem):
    """With M^-1 <= H^-1, conjugate gradients see no eigenvalue beyond 1."""
    form, at = problem
    found = at(np.zeros(form.size))
    columns = np.eye(form.size)
    inverse = np.column_stack([found.precondition(e) for e in columns])
    h = np.column_stack([found.product(e) for e in columns])
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-12 * np.abs(inverse).max())
    eigenvalues = np.linalg.eigvals(inverse @ h).real
    assert eigenvalues.max() < 1 + 1e-9
    assert (np.linalg.eigvalsh(inverse) > 0).all()


def test_the_prior_of_the_logistic_form_is_worth_one_image():
    """Half the square of the distance from the temperature's layer, over the number of images."""
    rng = np.random.default_rng(6)
    form = FORMS["logistic"](rng.standard_normal((N, K)))
    targets, theta = np.full((N, K), 1 / K), np.full(form.size, 0.3)
    with_prior = _MeanCrossEntropy(form, -form.forward(theta), targets, theta)  # the logits cancel
    assert with_prior.value == pytest.approx(np.log(K) + 0.5 * form.size * 0.09 / N, rel=1e-12)


def test_every_class_is_spread_over_the_folds():
    """Five images of a class are one in each fold, so every fit has seen four of them: none is a surprise."""
    labels = np.repeat([0, 1], [95, 5])
    scores = np.eye(2)[labels] * 4.0
    found = calibrate(scores, labels)
    assert dict(found.held_out)["temperature"] < 0.1


def test_a_certain_mistake_has_a_loss_that_is_large_and_finite():
    p = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert log_loss(p, np.array([1, 0])) == pytest.approx(0.5 * (-np.log(np.finfo(float).tiny) + np.log(2)))


def test_confidences_at_the_ends_of_an_interval_belong_to_the_lower_one():
    p = np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]])
    bins = reliability(p, np.zeros(3, dtype=int), bins=4)
    assert [(b.low, b.high) for b in bins] == [(0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]


def test_what_is_reported_is_measured_on_the_images_that_are_given():
    layer = np.vstack([np.eye(2), np.zeros((1, 2))])
    scores, labels = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), np.array([0, 1, 1])
    found = measured(Calibration("temperature", layer, 77, (("temperature", 0.5), ("logistic", 0.6))), scores, labels)
    p = 1 / (1 + np.exp(-np.array([2.0, 1.0, -3.0])))
    assert found["images"] == 77
    assert found["held_out_log_loss"] == {"temperature": 0.5, "logistic": 0.6}
    assert found["test"]["log_loss"] == pytest.approx(-np.log(p).mean())
    confidences = np.array([p[0], p[1], 1 - p[2]])
    errors = np.abs(confidences - [1, 1, 0])
    assert found["test"]["expected_calibration_error"] == pytest.approx(errors.mean())
    assert [b["images"] for b in found["test"]["bins"]] == [1, 1, 1]
