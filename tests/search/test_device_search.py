"""What a device is asked to do, without one: how many problems at a time, and with which of their arrays."""

from types import SimpleNamespace

import numpy as np
import pytest

import varpro
from varpro.errors import BackendError
from varpro.fitting.options import fit_damping
from varpro.kernels import small_fits
from varpro.kernels.search import Rules
from varpro.search import compiled, device, device_columns
from varpro.search.device import SHARE_OF_FREE, DeviceSearch
from varpro.search.termination import Termination, rules_of

T = np.linspace(0.0, 6.0, 40)
PAIRS = [[0, 0]]
STATES = 29
TWO = varpro.models.Exponentials(2, rates=True)


def decay(t, w):
    return np.stack([np.exp(-w[0] * t), np.ones_like(t)], axis=-1)


def slopes(t, w):
    return (-t * np.exp(-w[0] * t))[..., None]


def two(t, w):
    return np.stack([np.exp(-w[0] * t), np.exp(-w[1] * t)], axis=-1)


def two_slopes(t, w):
    return -t[..., None] * two(t, w)


def problem(kind):
    y = (decay(T, [0.5]) @ [2.0, 1.0]) * np.arange(1, 4)[:, None] + 0.01 * np.sin(np.arange(120)).reshape(3, 40)
    own, each = np.linspace(1.0, 2.0, 3)[:, None] * T, np.linspace(1.0, 2.0, 120).reshape(3, 40)
    function, of_two = {"derivative": (PAIRS, slopes)}, {"derivative": ([[0, 0], [1, 1]], two_slopes)}
    y = y * (1.0 + 0.5j) if "complex" in kind else y
    ready = varpro.models.Exponentials(1, offset=True, rates=True)
    model, t, options = {
        "bounded": (ready, T, {"bounds": (0.1, 0.95)}),
        "complex": (ready, T, {"weights": each}),
        "held": (TWO, T, {"fixed": {1: [0.0, 0.01, 0.02]}}),
        "tied": (TWO, own, {"tied": {1: (0, 0.1, -0.05)}}),
        "a function, bounded": (decay, T, {"bounds": (0.1, 0.95), **function}),
        "a function, complex": (decay, T, {"weights": each, **function}),
        "a function, held": (two, T, {"fixed": {1: [0.0, 0.01, 0.02]}, **of_two}),
        "a function, tied": (two, own, {"tied": {1: (0, 0.1, -0.05)}, **of_two}),
        "a function, an expression": (two, T, {"tied": {1: "w_0 * w_0 / 10"}, **of_two}),
        "ready": (ready, T, {}),
        "points of their own": (ready, own, {}),
        "weighted": (ready, T, {"weights": np.linspace(1.0, 2.0, 40)}),
        "weights of their own": (ready, T, {"weights": each}),
        "a function": (decay, T, function),
        "a function, points of their own": (decay, own, function),
        "a function, weighted": (decay, T, {"weights": each[0], **function}),
        "a function, weights of their own": (decay, T, {"weights": each, **function}),
    }[kind]
    start = [0.4, 0.01] if model in (two, TWO) else [0.4]
    return varpro.fit_batch(model, t, y, start, **options)._solution.spec.problem.compiled


@pytest.mark.parametrize("kind", ["ready", "points of their own", "weighted", "a function", "a function, complex"])
@pytest.mark.parametrize("single", [False, True])
def test_a_chunk_fills_the_share_of_memory_and_no_more(kind, single):
    small, free = problem(kind), 1e7
    found = DeviceSearch(SimpleNamespace(free_bytes=free), single=single).chunk(small, STATES)
    arrays = 1 if kind in ("ready", "a function") else 2  # y, and what else has a row for each problem
    need = 40 * arrays * (4 if single else 8) + 8 * STATES
    if kind == "a function":
        need += 3 * 8 * 40 * 3  # Phi and D, and what the user's function makes them from
    if kind == "a function, complex":  # both parts of everything
        need = 80 * 2 * (4 if single else 8) + 8 * STATES + 5 * 8 * 80 * 6
    assert found * need <= SHARE_OF_FREE * free < 2 * found * need


def test_a_problem_that_does_not_fit_is_told_with_both_sizes():
    with pytest.raises(BackendError, match=r"one problem of 40 points needs about 0.0 MB .* 0.0 MB are free"):
        DeviceSearch(SimpleNamespace(free_bytes=100)).chunk(problem("ready"), STATES)


def small_searches(
    program, t, y, weights, columns, parameters, rows, rules, n_parameters, *, parts, arithmetic, **options
):
    """The kernel of a device, by that of the CPU."""
    states = small_fits.States(np.zeros((len(rows), n_parameters)), len(program) * parts, y.shape[2])
    states.rows[:] = rows
    small_fits.search_program(
        program, t, y, np.arange(len(y)), small_fits.Pairs(columns, parameters), states, Rules(**rules),
        weights=weights, parts=parts, **options,
    )  # fmt: skip
    rows[:] = states.rows


def small_advance(phi, d, y, problems, columns, parameters, rows, rules, n_parameters, **options):
    states = small_fits.States(np.zeros((len(rows), n_parameters)), phi.shape[2], y.shape[2])
    states.rows[:] = rows
    pairs = small_fits.Pairs(columns, parameters)
    small_fits.advance(phi, d, y, problems, pairs, states, problems, Rules(**rules), **options)
    rows[:] = states.rows


KINDS = ["ready", "points of their own", "weighted", "weights of their own", "a function",
         "a function, points of their own", "a function, weighted", "a function, weights of their own",
         "bounded", "complex", "held", "tied", "a function, bounded", "a function, complex", "a function, held",
         "a function, tied", "a function, an expression"]  # fmt: skip


@pytest.mark.parametrize("some", [[0, 1, 2], [1], [0, 2]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_problem_is_searched_with_its_own_arrays(kind, some, monkeypatch):
    """With the CPU's kernels under the device's names, the device finds what the CPU finds."""
    monkeypatch.setattr(
        device, "on_device", SimpleNamespace(small_searches=small_searches, small_advance=small_advance)
    )
    monkeypatch.setattr(device_columns, "is_device_array", lambda a: True)
    small, problems, start = problem(kind), np.array(some), np.full((len(some), 1), 0.9)
    damping, termination = fit_damping(0.3, 0.5), Termination(cost_tolerance=1e-12)
    host = DeviceSearch(SimpleNamespace(xp=np, put=np.asarray))
    found, left = host.search(small, start, problems, damping, termination)
    rules = rules_of(damping, termination, condition_limit=small_fits.GRAM_LIMIT)
    expected, _ = compiled.search_compiled(small, start, problems, rules)
    assert not len(left)
    np.testing.assert_array_equal(found.status, expected.status)
    np.testing.assert_allclose(found.w, expected.w, rtol=1e-9)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-9)
    assert len(np.unique(found.cost)) == len(some)


@pytest.mark.parametrize(
    ("single", "polish", "name"),
    [(False, False, "double"), (True, False, "single"), (True, True, "polished"), (False, True, "double")],
)
def test_arrays_go_over_in_the_precision_that_is_named(single, polish, name, monkeypatch):
    given = {}

    def note(program, t, y, weights, *others, arithmetic, **options):
        given.update(arithmetic=arithmetic, dtypes={t.dtype, y.dtype, weights.dtype} - {np.dtype(float)})

    monkeypatch.setattr(device, "on_device", SimpleNamespace(small_searches=note))
    host = DeviceSearch(SimpleNamespace(xp=np, put=np.asarray), single=single, polish=polish)
    host.search(problem("weighted"), np.full((3, 1), 0.9), np.arange(3), fit_damping(0.3, 0.5), Termination())
    assert given == {"arithmetic": name, "dtypes": {np.dtype(np.float32)} if single else set()}


def test_problems_are_cut_out_whether_or_not_they_follow_one_another():
    values = np.arange(14.0).reshape(7, 2)
    for some in ([], [3], [2, 3, 4], [0, 2, 5], [0, 1, 3]):
        numbers = np.array(some, dtype=int)
        np.testing.assert_array_equal(device._taken(values, numbers), values[numbers])
    assert np.shares_memory(device._taken(values, np.arange(2, 5)), values)  # no copy of what may be gigabytes
