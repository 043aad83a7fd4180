"""Arguments of the wrong kind, for what comes before and after a fit: one line each, never a traceback from inside."""

import numpy as np
import pytest

import varpro
from varpro import models
from varpro.errors import ConfigError, ShapeError

MODEL = models.Exponentials(2, offset=True)
T = np.linspace(0.0, 8.0, 100)
Y = MODEL(T, np.array([1.0, 3.0])) @ [4.0, 2.0, 1.0] + 0.02 * np.random.default_rng(0).standard_normal(100)
FIT = varpro.fit(MODEL, T, Y, [1.0, 3.0])
SHORTER = varpro.fit(models.Exponentials(1, offset=True), T, Y)
SNAPSHOTS = np.random.default_rng(0).standard_normal((5, 20))
TIMES = np.arange(20.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: FIT.profile("tau_1", "x"), "level is 'x'"),
        (lambda: FIT.bootstrap(2.5), "is 2.5; it must be an integer of at least 2"),
        (lambda: FIT.bootstrap(10, seed=-1), "seed is -1"),
        (lambda: FIT.sample("x"), "steps is 'x'"),
        (lambda: FIT.sample(100, walkers=1.5), "walkers is 1.5"),
        (lambda: varpro.compare(FIT), "a list of fits, not a single FitResult"),
        (lambda: varpro.compare([1, 2]), "number 0 is a int"),
        (lambda: varpro.fit(MODEL, T, Y, [1.0, 3.0], ridge=("second-difference", None)), "its second part is"),
        (lambda: varpro.dmd(SNAPSHOTS, TIMES, rank=None), "rank is None; it must be an integer"),
        (lambda: varpro.dmd(SNAPSHOTS, TIMES, rank=2.5), "rank is 2.5; it must be an integer"),
        (lambda: varpro.dmd(SNAPSHOTS, TIMES, rank=2, constraints=5), "constraints: 5 is none of"),
        (lambda: models.Kinetics([("A", "B")], {"A": "x"}), "initial of 'A' is 'x'"),
        (lambda: models.Kinetics([("A", "B")], [1, 0]), r"initial is \[1, 0\]; give"),
    ],
)
def test_a_wrong_kind_of_argument_is_named(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_pixels_are_those_of_an_image(shape):
    with pytest.raises(ShapeError, match=f"an image of {len(shape)} axes"):
        models.Spots.pixels(shape)


def test_nothing_cannot_be_guessed_from():
    with pytest.raises(ShapeError, match="a guess needs at least one value"):
        MODEL.guess([], [])


def test_fits_are_compared_from_any_collection():
    tables = [
        varpro.compare([FIT, SHORTER], names=["two", "one"]),
        varpro.compare((f for f in (FIT, SHORTER)), names=["two", "one"]),
        varpro.compare({"two": FIT, "one": SHORTER}),
    ]
    assert len({str(table) for table in tables}) == 1


def test_fits_at_other_points_are_not_compared():
    other = varpro.fit(models.Exponentials(1, offset=True), 2 * T, Y)
    for call in (lambda: varpro.compare([FIT, other]), lambda: FIT.f_test(other)):
        with pytest.raises(ConfigError, match="has other t than the first"):
            call()


def test_points_that_are_left_out_may_differ():
    kept, moved = np.arange(100) > 4, T.copy()
    moved[:5] += 1.0
    one = varpro.fit(MODEL, T, Y, [1.0, 3.0], mask=kept)
    other = varpro.fit(models.Exponentials(1, offset=True), moved, Y, mask=kept)
    assert len(varpro.compare([one, other]).rows) == 2


def test_names_of_steps_that_read_alike_are_told_apart():
    names = models.Kinetics([("A", "B_C"), ("A_B", "C"), ("B_C", "A_B")]).parameter_names
    assert names == ("k_A_B_C", "k_A_B_C_2", "k_B_C_A_B")


@pytest.mark.parametrize("batch", [False, True])
def test_a_weight_of_nan_leaves_its_value_out(batch):
    weights = np.full(100, 50.0)
    weights[:5] = np.nan
    given = (MODEL, T, Y[None] if batch else Y, [1.0, 3.0])
    f = varpro.fit_batch(*given, weights=weights)[0] if batch else varpro.fit(*given, weights=weights)
    expected = varpro.fit(MODEL, T[5:], Y[5:], [1.0, 3.0], weights=weights[5:])
    assert f.dof == expected.dof == 90
    assert (np.abs(f.nonlinear - expected.nonlinear) < 1e-3 * expected.stderr_nonlinear).all()
