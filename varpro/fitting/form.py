"""The form of the problem that suits a fit, on the CPU and on a device."""

from typing import TYPE_CHECKING

import numpy as np

from varpro.errors import BackendError
from varpro.problems.compiled_form import CompiledForm
from varpro.problems.compressed import CompressedProblem
from varpro.problems.curves import AnyCurveProblem, fit_problem
from varpro.problems.general import GeneralProblem
from varpro.problems.separate import SeparateProblem
from varpro.problems.small import SmallProblem

if TYPE_CHECKING:
    from varpro.fitting.spec import Spec

SMALL_COLUMNS, SMALL_PAIRS, SMALL_RIGHT = 16, 48, 8
"""Above these sizes the matrix products of one problem are large enough for BLAS."""
JOINED_COLUMNS = 256
"""The same for columns of several data sets, of which a product needs only the rows of one set."""
BOUNDED_COLUMNS = 256
"""The same for amplitudes with bounds, where a kernel that knows the previous active set has less to do than BLAS."""
MANY_RIGHT, MANY_VALUES = 32, 20_000
"""From here on, reading Y at every evaluation costs more than storing the range of the basis."""


def chosen_problem(spec: "Spec") -> AnyCurveProblem:
    """The problem for a specification; see Spec.problem."""
    basis, y, linear = spec.basis, spec.y, spec.linear
    if spec.separate:
        return _separate(spec)
    ridge, k = 0.0 if basis.extra_rows is not None else linear.ridge, y.shape[2]
    if k >= MANY_RIGHT and len(y) == 1 and spec.data.y.size * spec.parts >= MANY_VALUES:
        cost_tolerance = spec.termination.cost_tolerance
        return CompressedProblem(basis, y, ridge, spec.rank_tolerance, spec.kaufman, cost_tolerance)
    inner = fit_problem(basis, y, ridge=ridge, rank_tolerance=spec.rank_tolerance, kaufman=spec.kaufman)
    general = GeneralProblem(basis, inner)
    return SmallProblem.of(general, spec.real_y) if _is_small(spec, ridge) else general


def _separate(spec: "Spec") -> SeparateProblem:
    """The problem in which each right-hand side has a linear problem of its own."""
    basis, data, linear = spec.basis, spec.data, spec.linear
    own, rows = spec.weights if data.separate else None, basis.extra_rows
    if own is not None and rows is not None:
        own = np.concatenate([own, np.ones((len(own), len(rows), own.shape[2]))], axis=1)
    free = basis.n_columns - spec.pinned
    lower = np.full(free, -np.inf) if linear.lower is None else linear.lower
    upper = np.full(free, np.inf) if linear.upper is None else linear.upper
    compiled, (n_rows, k) = None, spec.y.shape[1:]
    plain = own is None and not spec.pinned and spec.rank_tolerance is None
    if plain and free <= min(BOUNDED_COLUMNS, n_rows) and k <= SMALL_RIGHT:
        form = CompiledForm.of(basis, spec.y, spec.real_y, ridge=0.0, kaufman=spec.kaufman, limits=(lower, upper))
        compiled = form if form.searchable else None
    return SeparateProblem(
        basis, spec.y, own, spec.pinned, lower, upper, kaufman=spec.kaufman, rank_tolerance=spec.rank_tolerance,
        compiled=compiled,
    )  # fmt: skip


def _is_small(spec: "Spec", ridge: float) -> bool:
    """Whether the one-pass kernel serves: it takes few columns, of full rank; a rank tolerance set by the user needs
    the singular values."""
    basis, (n_rows, k) = spec.basis, spec.y.shape[1:]
    joined = basis.program is not None and basis.spans is not None
    few = basis.n_columns <= SMALL_COLUMNS and len(basis.columns) <= SMALL_PAIRS
    few = k <= SMALL_RIGHT and (few or (joined and basis.n_columns <= JOINED_COLUMNS))
    return few and spec.rank_tolerance is None and (n_rows >= basis.n_columns or ridge > 0)


def device_form(spec: "Spec") -> CompiledForm:
    """The form that a device searches.  Raises BackendError that names what stands in the way."""
    model, compiled = spec.model, spec.problem.compiled
    reasons = {
        "a bounded, constrained or fixed linear part, a robust loss, weights of single right-hand sides, a rank "
        "tolerance, or so many columns, right-hand sides or parameters": compiled is None
        or compiled.limits is not None,
        "several data sets in one problem": compiled is not None and compiled.spans is not None,
        "a ridge matrix": spec.basis.extra_rows is not None,
        "a model without derivative=(pairs, columns)": model.derivative != "analytic",
        "a function that does not take all problems at once, t (b, N) and w (P, b, 1)": not model.together
        and len(spec.data.y) > 1,
    }
    for reason, holds in reasons.items():
        if holds:
            raise BackendError(f"backend 'cuda' cannot fit with {reason}; use backend='cpu'")
    assert compiled is not None
    return compiled
