"""The decision of csrc/kernels/search.hpp in plain Python, one problem at a time, which the kernel must reproduce."""

import math
from collections.abc import Iterator

import numpy as np

from varpro.arrays import Array
from varpro.kernels.search import NUMBERS, Rules, Steps

SOLVE, EVALUATE = 0, 1
DAMPED, UNDAMPED, RELAXED, SETTLED = range(4)
RUNNING, COST, STEP, GRADIENT, ITERATIONS, STALLED, NONFINITE = range(7)
UNDETERMINED = 9
LAST_DIGITS = 4 * float(np.finfo(float).eps)
SCALE_OF_COLUMNS, RAISE, RELAX, TRUSTED, NEAR, FALLS = 4.0, 4.0, 1.0 / 64.0, 0.75, 8.0, 0.5


class ReferenceDecision:
    """The interface of kernels.search.Decision."""

    def begin(self, rules: Rules, cost: Array, terms: Array, size: Array) -> Array:
        numbers = np.zeros(len(cost), dtype=NUMBERS)
        for s, f, whole, y in zip(_each(numbers), cost, terms, size, strict=True):
            _begin(rules, s, float(f), float(whole), float(y))
        return numbers

    def open(self, rules: Rules, numbers: Array, gradient: Array, curvature: Array, natural: Array | None) -> None:
        for b, s in enumerate(_each(numbers)):
            g, h = gradient[b], curvature[b]
            with np.errstate(invalid="ignore"):
                least = rules.rounding * math.sqrt(2 * s["size"][0])
                seen = natural is None or bool((np.sqrt(h) * natural[b] > least).all())
            g, h = g[h > 0], h[h > 0]
            _open(rules, s, float(np.max(np.abs(g) / np.sqrt(h), initial=0.0)), seen)

    def look(
        self, rules: Rules, numbers: Array, rows: Array, w: Array, natural: Array | None, gradient: Array,
        diagonal: Array, step: Steps,
    ) -> None:  # fmt: skip
        for row, delta, solved, predicted in zip(rows, step.delta, step.solved, step.predicted, strict=True):
            scale = _scale(w[row], None if natural is None else natural[row])
            squares = delta**2 * diagonal[row]
            moved = np.abs(delta) > LAST_DIGITS * np.abs(w[row])
            reachable = 0.5 * np.abs(gradient[row] * delta)[moved].sum()
            measures = squares.sum(), (scale**2 * diagonal[row]).sum(), math.sqrt(squares.max(initial=0.0)), reachable
            _look(rules, numbers[row : row + 1], bool(solved), float(predicted), *measures)

    def judge(self, rules: Rules, numbers: Array, cost: Array, terms: Array) -> None:
        for s, f, whole in zip(_each(numbers), cost, terms, strict=True):
            _judge(rules, s, float(f), float(whole))


def _each(numbers: Array) -> Iterator[Array]:
    """Each problem as an array of length one, whose fields can be written."""
    return (numbers[b : b + 1] for b in range(len(numbers)))


def _scale(w: Array, natural: Array | None) -> Array:
    """|w|, or the change that changes the columns by so many times their size if that is less, or if w is 0."""
    own = np.abs(w)
    if natural is None:
        return own
    by_columns = SCALE_OF_COLUMNS * natural
    bounded = np.where(own > 0, np.minimum(own, by_columns), by_columns)
    return np.where(np.isfinite(by_columns), bounded, own)


def _begin(rules: Rules, s: Array, cost: float, terms: float, size: float) -> None:
    if s["damping"] == 0:
        s["damping"] = rules.initial
    s["growth"], s["reach"], s["fresh"], s["promised"] = 2.0, rules.step_bound, 1.0, np.inf
    s["cost"], s["size"], s["terms"] = cost if np.isfinite(cost) else np.inf, size, max(terms, size)
    s["evaluations"] += 1
    if not np.isfinite(cost):
        s["status"] = NONFINITE
    elif s["iterations"] >= rules.max_iterations:
        s["status"] = ITERATIONS


def _open(rules: Rules, s: Array, steepest: float, seen: bool) -> None:
    if s["fresh"]:
        s["iterations"] += 1
        s["unseen"], s["shortened"] = not seen, 0
        if steepest <= rules.gradient_tolerance * math.sqrt(2 * s["cost"][0]):
            _stop(s, GRADIENT)
            return
    s["last"] = 0
    _ask(s, DAMPED, s["damping"])


def _ask(s: Array, stage: int, damping: Array | float) -> None:
    s["asks"], s["stage"], s["trial_damping"] = SOLVE, stage, damping


def _visible(rules: Rules, s: Array) -> float:
    return float(rules.rounding * 2 * math.sqrt(s["terms"][0]) * math.sqrt(s["cost"][0]))


def _negligible(rules: Rules, s: Array) -> float:
    return float(max(rules.cost_tolerance * s["cost"][0], _visible(rules, s) + s["inaudible"][0]))


def _promises_little(rules: Rules, s: Array) -> bool:
    return bool(s["predicted"][0] <= _negligible(rules, s) or s["effect"][0] <= rules.step_tolerance)


def _look(
    rules: Rules, s: Array, solved: bool, predicted: float, length: float, scale: float, effect: float, reachable: float
) -> None:
    s["solved"], s["predicted"] = solved, predicted
    typical = math.sqrt(2 * math.sqrt(s["size"][0]) * math.sqrt(s["cost"][0]))
    s["effect"] = effect / typical if typical > 0 else 0.0
    s["inaudible"] = 0.125 * rules.rounding * math.sqrt(2 * math.sqrt(s["terms"][0] * s["cost"][0])) * math.sqrt(length)
    s["reachable"] = reachable
    stage, reach = int(s["stage"][0]), s["reach"][0]
    long = np.isfinite(reach) and scale > 0 and length > reach**2 * scale and s["damping"][0] < rules.largest
    little = _promises_little(rules, s)
    if stage == UNDAMPED:
        if not solved and s["trial_damping"][0] < s["damping"][0]:
            _ask(s, UNDAMPED, min(s["damping"][0], 100 * s["trial_damping"][0]))
        elif not s["fresh"]:
            near = solved and min(predicted, reachable) <= NEAR * _visible(rules, s) + s["inaudible"][0]
            _stop(s, COST if near else STALLED)
        elif not solved or not little or (long and predicted > _negligible(rules, s)):
            _relax(rules, s)
        elif long:
            _stop(s, COST)
        else:
            s["last"], s["asks"] = 1, EVALUATE
    elif long:
        s["damping"] *= RAISE
        s["shortened"] = 1
        _ask(s, DAMPED if stage == DAMPED else SETTLED, s["damping"])
    elif not rules.confirmed:
        s["asks"] = EVALUATE
    elif solved and (little and stage == DAMPED if s["fresh"] else predicted <= _visible(rules, s)):
        _ask(s, UNDAMPED, _least_damping(rules, s))
    elif solved and little and stage == RELAXED and s["damping"][0] > rules.smallest:
        _relax(rules, s)
    else:
        s["asks"] = EVALUATE


def _least_damping(rules: Rules, s: Array) -> float:
    return min(s["damping"][0], max(rules.undamped, rules.smallest))


def _relax(rules: Rules, s: Array) -> None:
    s["damping"] = max(rules.smallest, RELAX * s["damping"][0])
    _ask(s, RELAXED, s["damping"])


def _judge(rules: Rules, s: Array, cost: float, terms: float) -> None:
    cost = cost if np.isfinite(cost) else np.inf
    usable = s["solved"][0] and s["predicted"][0] > 0 and np.isfinite(cost)
    s["evaluations"] += 1
    s["used_damping"] = s["trial_damping"]
    s["gain"] = (s["cost"] - cost) / s["predicted"] if usable else np.nan
    if s["last"]:
        _judge_last(rules, s, cost)
    elif s["gain"][0] > rules.least_gain:
        _accept(rules, s, cost)
    else:
        _reject(rules, s)
    if s["accepted"]:
        s["terms"] = max(terms, s["size"][0])


def _keep(s: Array, cost: float) -> None:
    s["cost"], s["accepted"], s["fresh"], s["growth"] = cost, 1, 1, 2.0


def _accept(rules: Rules, s: Array, cost: float) -> None:
    gain = s["gain"][0]
    if s["shortened"] and gain >= TRUSTED:
        s["reach"] *= 2
    factor = max(1 / 3, 1 - (2 * min(gain, 1.0) - 1) ** 3)
    s["damping"] = max(rules.smallest, s["damping"][0] * (rules.sure_shrink if abs(gain - 1) <= rules.sure else factor))
    s["promised"] = np.inf
    slow = rules.cost_tolerance * s["cost"][0]
    ended = not rules.confirmed and s["cost"][0] - cost <= slow and s["predicted"][0] <= 2 * slow
    _keep(s, cost)
    _stop_after(rules, s, COST if ended or cost == 0 else RUNNING)


def _reject(rules: Rules, s: Array) -> None:
    s["accepted"] = s["fresh"] = 0
    s["damping"] = max(rules.smallest, s["damping"][0] * s["growth"][0])
    s["growth"] *= 2
    if s["damping"][0] > rules.largest or not np.isfinite(s["damping"][0]):
        s["status"] = STALLED


def _judge_last(rules: Rules, s: Array, cost: float) -> None:
    old, predicted = s["cost"][0], s["predicted"][0]
    noise, enough = _visible(rules, s), rules.cost_tolerance * old
    by_step, reached = s["effect"][0] <= rules.step_tolerance, predicted <= enough
    stuck = predicted <= noise and predicted > FALLS * s["promised"][0]
    as_promised = old - cost <= 2 * max(predicted, enough, noise)
    if not cost <= old + noise:
        if not reached and not stuck and predicted > noise + s["inaudible"][0]:
            _reject(rules, s)
        else:
            s["accepted"] = s["fresh"] = 0
            _stop(s, COST)
        return
    _keep(s, cost)
    s["promised"] = predicted
    s["damping"] = max(rules.smallest, rules.sure_shrink * s["damping"][0])
    if cost == 0 or (as_promised and (reached or stuck)):
        _stop_after(rules, s, COST)
    else:
        _stop_after(rules, s, STEP if as_promised and by_step else RUNNING)


def _stop_after(rules: Rules, s: Array, status: int) -> None:
    _stop(s, ITERATIONS if status == RUNNING and s["iterations"][0] >= rules.max_iterations else status)


def _stop(s: Array, status: int) -> None:
    s["status"] = UNDETERMINED if s["unseen"] and status in (COST, STEP, GRADIENT) else status
