"""Many small problems on a GPU: a ready model is searched there to the end, a user's function is called on its arrays.

The states are those of kernels.small_fits, row by row; they travel to the device and back only once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, Device, first_line, is_device_array, to_host
from varpro.errors import BackendError, ShapeError
from varpro.kernels.search import N_NUMBERS, Rules
from varpro.kernels.small_fits import GRAM_LIMIT, States
from varpro.kernels.small_fits import cuda as on_device
from varpro.problems.compiled_form import CompiledForm
from varpro.search.compiled import CompiledResult, found_by
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination, rules_of

SHARE_OF_FREE = 0.7
"""Share of the free memory to use, since the user's function makes arrays of its own."""


@dataclass(frozen=True)
class DeviceSearch:
    """The device on which problems are searched, and the precision."""

    device: Device
    single: bool = False
    """Whether sums are in float32."""
    polish: bool = False
    """Whether a search in float32 is continued in float64."""

    @property
    def arithmetic(self) -> str:
        """The precision by the kernel's name for it."""
        return "double" if not self.single else "polished" if self.polish else "single"

    def chunk(self, small: CompiledForm, n_states: int) -> int:
        """The number of problems searched at a time.  Raises BackendError if not even one fits."""
        n, k = small.y.shape[1:]
        item = 4 if self.single else 8
        own = 3 if small.basis.model.own_t or small.weights is not None else 1
        each = n * (k + own) * item + 8 * n_states
        if small.program is None:
            each += 3 * 8 * n * (small.basis.n_columns + len(small.basis.columns))
        most = int(SHARE_OF_FREE * self.device.free_bytes) // each
        if most < 1:
            raise BackendError(
                f"one problem of {n} points needs about {each / 1e6:.1f} MB of device memory, "
                f"{self.device.free_bytes / 1e6:.1f} MB are free; use backend='cpu'"
            )
        return most

    def search(
        self, small: CompiledForm, u0: Array, problems: Array, damping: DampingRule, termination: Termination
    ) -> tuple[CompiledResult, Array]:
        """Search problems (b,) from u0 (b, F): what was found, and the problems left to the orthogonal route."""
        states = States(u0, small.basis.n_columns, small.y.shape[2])
        rows = self.device.put(states.rows)
        rules = rules_of(damping, termination, condition_limit=GRAM_LIMIT)
        if small.program is not None:
            self._ready(small, rows, rules, problems)
        else:
            self._called(small, rows, rules, problems, states)
        states.rows[:] = to_host(rows)
        return found_by(small, states, problems, [])

    def _ready(self, small: CompiledForm, rows: Array, rules: Rules, problems: Array) -> None:
        dtype = np.float32 if self.single else np.float64
        weights = small.weights
        t = small.basis.grid if len(small.basis.grid) == 1 else _taken(small.basis.grid, problems)
        if weights is not None:
            own = weights if len(weights) == 1 else _taken(weights, problems)
            weights = self.device.put(own.astype(dtype, copy=False))
        assert small.program is not None
        put, y = self.device.put, _taken(small.raw, problems).astype(dtype, copy=False)
        on_device.small_searches(
            put(small.program), put(t), put(y), weights, put(small.pairs.columns),
            put(small.pairs.parameters), rows, rules.by_name(), small.basis.n_free, ridge=small.ridge,
            kaufman=small.kaufman, arithmetic=self.arithmetic,
        )  # fmt: skip

    def _called(self, small: CompiledForm, rows: Array, rules: Rules, problems: Array, states: States) -> None:
        xp, basis, model = self.device.xp, small.basis, small.basis.model
        n_parameters, end = states.p, rows.shape[1] - N_NUMBERS
        columns, parameters = self.device.put(small.pairs.columns), self.device.put(small.pairs.parameters)
        assert model.columns_function is not None
        y = self.device.put(small.y[problems])
        t = self.device.put(model.t[problems] if model.own_t else model.t[None])
        weights = None
        if basis.weights is not None:
            weights = self.device.put(basis.weights if len(basis.weights) == 1 else basis.weights[problems])
        running = np.arange(len(problems))
        while len(running):
            here = self.device.put(running)
            trial = rows[here, n_parameters : 2 * n_parameters]
            some = t[here] if model.own_t else xp.broadcast_to(t, (len(running), t.shape[1]))
            phi, d = (
                self._called_with(function, some, trial.T[:, :, None], (len(running), model.shape[0], width), name)
                for function, width, name in (
                    (model.function, model.shape[1], "the model"),
                    (model.columns_function, len(model.pairs), "derivative's columns"),
                )
            )
            if weights is not None:
                own = (weights if len(weights) == 1 else weights[here])[:, :, None]
                phi, d = (xp.where(own > 0, a * own, 0.0) for a in (phi, d))  # 0 for an excluded row, whatever it holds
            on_device.small_advance(
                phi, d, y, here, columns, parameters, rows, rules.by_name(), n_parameters,
                ridge=small.ridge, kaufman=small.kaufman,
            )  # fmt: skip
            running = running[to_host(rows[here, end]) == 0]  # status comes first

    def _called_with(
        self, function: Callable[[Array, Array], Array], t: Array, w: Array, wanted: tuple[int, ...], what: str
    ) -> Array:
        """function(t, w) as float64 on the device.  Raises BackendError, ShapeError if it leaves the device."""
        try:
            result = function(t, w)
        except TypeError as error:  # how CuPy refuses arrays of the host, and NumPy those of a device
            raise BackendError(
                f"{what} fails with arrays on the device ({first_line(error)}); let it work with CuPy arrays alone, or "
                "use backend='cpu'"
            ) from error
        if not is_device_array(result) or tuple(result.shape) != wanted:
            raise ShapeError(
                f"{what} returned {type(result).__name__} of shape {getattr(result, 'shape', None)} for arrays on the "
                f"device; it must return a CuPy array of shape {wanted}"
            )
        made: Array = self.device.xp.ascontiguousarray(result, dtype=np.float64)
        return made


def _taken(a: Array, problems: Array) -> Array:
    """a[problems], without a copy where they follow one another: those of a million fits are gigabytes."""
    in_turn = len(problems) > 0 and bool((np.diff(problems) == 1).all())
    return a[problems[0] : problems[-1] + 1] if in_turn else a[problems]
