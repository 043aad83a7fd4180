"""Joint fits of ready models run in compiled code: the answers are those of the same columns as functions."""

import pickle

import numpy as np
import pytest

import varpro
from varpro import models
from varpro.errors import BackendError
from varpro.fitting.form import device_form
from varpro.fitting.joint_model import Part, joint_model, joint_rows, lay_out

TWO, ONE = models.Exponentials(2, offset=True), models.Exponentials(1, offset=True)
LENGTHS, TRUE = (37, 61, 15), ((1.0, 3.0), (1.0, 4.0), (1.0, 2.5))


class Plain:
    """A ready model of which compiled code knows nothing."""

    def __init__(self, model):
        self.model, self.pairs, self.columns = model, model.pairs, model.columns
        self.parameter_names, self.column_names = model.parameter_names, model.column_names

    def __call__(self, t, w):
        return self.model(t, w)


def three(k=1, weighted=False, holes=False):
    """Sets of odd lengths; K right-hand sides, weights of all values of a row, and values that are missing."""
    rng = np.random.default_rng(k)
    sets = []
    for s, (n, w) in enumerate(zip(LENGTHS, TRUE, strict=True)):
        t = np.linspace(0.0, 8.0 + s, n)
        y = TWO(t, np.array(w)) @ rng.uniform(1.0, 4.0, (3, k)) + 0.02 * rng.standard_normal((n, k))
        if holes:
            y[[3, n - 1]] = np.nan
        y = y[:, 0] if k == 1 else y
        sets.append((t, y, rng.uniform(10.0, 100.0, n)) if weighted else (t, y))
    return sets


def both(sets, model=TWO, **options):
    """The fit by compiled columns, and that by functions."""
    options.setdefault("w0", {"tau_1": 0.8, "tau_2": 3.4})
    listed = model if isinstance(model, list) else [model] * len(sets)
    return varpro.fit_global(sets, listed, **options), varpro.fit_global(sets, [Plain(m) for m in listed], **options)


def is_compiled(fit):
    return fit._solution.spec.basis.program is not None


def assert_same(one, other):
    assert one.names == other.names
    assert one.success
    for name in ("nonlinear", "stderr_nonlinear", "linear", "stderr_linear", "rss"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("shared", ["all", ["tau_1"]], ids=str)
@pytest.mark.parametrize("data", [{}, {"k": 3}, {"weighted": True}, {"holes": True, "weighted": True}], ids=str)
def test_compiled_columns_give_the_answers_of_functions(data, shared):
    compiled, called = both(three(**data), shared=shared)
    assert is_compiled(compiled)
    assert not is_compiled(called)
    assert_same(compiled, called)


@pytest.mark.parametrize(
    "options",
    [
        {"bounds": {"tau_2": (3.1, 3.6)}},
        {"linear": "nonnegative"},
        {"jacobian": "kaufman"},
        {"loss": "huber"},
        {"ridge": 0.01},
        {"multistart": 3, "seed": 1},
        {"fixed": {"tau_2[2]": 2.5}, "shared": ["tau_1"]},
        {"tied": {"tau_2[1]": ("tau_2[2]", 1.5)}, "shared": ["tau_1"]},
    ],
    ids=str,
)
def test_options_act_alike_on_both(options):
    compiled, called = both(three(), **options)
    assert is_compiled(compiled)
    assert_same(compiled, called)


@pytest.mark.parametrize(
    "options",
    [
        {"tied": {"tau_2[1]": "3 * tau_1 + 0.5"}, "shared": ["tau_1"]},
        {"linked": ["exp_1"]},
        {"linked": ["exp_1"], "scales": True},
    ],
    ids=str,
)
def test_what_compiled_columns_cannot_do_is_left_to_functions(options):
    """Expressions change the derivatives; a linked column is in the rows of several sets."""
    compiled, called = both(three(), **options)
    assert not is_compiled(compiled)
    assert_same(compiled, called)


def test_unlike_models_and_many_sets_are_compiled_too():
    sets = three()
    compiled, called = both([sets[0], sets[1], sets[2]], [TWO, ONE, models.Exponentials(2)])
    assert is_compiled(compiled)
    assert_same(compiled, called)
    many = [sets[s % 3] for s in range(14)]
    compiled, called = both(many, w0=[0.9, 3.2])
    assert len(compiled.linear) == 42
    assert compiled._solution.form == "small"
    assert called._solution.form == "general"
    assert_same(compiled, called)


def test_a_joint_fit_is_a_sum_of_fits_that_share_nothing_but_one_parameter():
    """Then a set whose shared parameter has little to say of it keeps its own answer."""
    sets = three(weighted=True)
    (t, y, weights), rest = sets[0], sets[1:]
    fit = varpro.fit_global([(t, y, 1e4 * weights), *rest], TWO, w0=[0.8, 3.4], shared=["tau_1"])
    alone = varpro.fit(TWO, t, y, w0=[0.8, 3.4], weights=weights)
    np.testing.assert_allclose(fit.sets[0].nonlinear, alone.nonlinear, rtol=1e-5)
    np.testing.assert_allclose(fit.sets[0].linear, alone.linear, rtol=1e-4)


def test_a_program_says_which_rows_its_columns_are_in():
    parts = tuple(
        Part(str(s), model, t := np.linspace(0.0, 5.0, n), np.zeros((n, 1)), np.ones((n, 1)), model.parameter_names,
             model.column_names, (np.asarray(model.pairs), model.columns))
        for s, (model, n) in enumerate([(TWO, 7), (ONE, 4)])
    )  # fmt: skip
    joint = joint_model(parts, lay_out(parts, ["tau_1"], [], scales=False))
    t = joint_rows(parts)
    program, spans = joint.program_in(t)
    assert [(column.kind, column.parameters) for column in program] == [
        ("decay", (0,)), ("decay", (1,)), ("power", ()), ("decay", (0,)), ("power", ()),
    ]  # fmt: skip
    np.testing.assert_array_equal(spans, [[0, 7]] * 3 + [[7, 11]] * 2)
    assert joint.program_in(t[::-1]) is not None
    assert joint.program_in(t[[0, 8, 1, 9]]) is None  # the rows of a set are not next to each other
    assert joint.program_in(t[:7]) is None  # a set without rows


def test_a_device_does_not_know_the_rows_of_a_set():
    with pytest.raises(BackendError, match="several data sets in one problem"):
        device_form(both(three())[0]._solution.spec)


def test_a_compiled_fit_predicts_pickles_and_resamples():
    sets = three()
    fit, called = both(sets)
    again = pickle.loads(pickle.dumps(fit))
    t = np.linspace(0.5, 7.5, 5)
    np.testing.assert_allclose(fit.predict(t, of=1), TWO(t, fit.nonlinear) @ fit.sets[1].linear, rtol=1e-12)
    np.testing.assert_array_equal(again.predict(t, of=2), fit.predict(t, of=2))
    spread = [one.bootstrap(20, seed=3).nonlinear for one in (fit, called)]
    np.testing.assert_allclose(spread[0], spread[1], rtol=1e-5)
    ends = [(one.profile("tau_1").lower, one.profile("tau_1").upper) for one in (fit, called)]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-4)
