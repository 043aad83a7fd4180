"""Many small problems on a GPU: a ready model is searched there to the end, a user's function is called on its arrays.

The states are those of kernels.small_fits, row by row; they travel to the device and back only once.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, Device, to_host
from varpro.errors import BackendError
from varpro.kernels.search import N_NUMBERS, Rules
from varpro.kernels.small_fits import GRAM_LIMIT, Bounds, Links, States
from varpro.kernels.small_fits import cuda as on_device
from varpro.problems.compiled_form import CompiledForm
from varpro.search.compiled import CompiledResult, found_by
from varpro.search.damping import DampingRule
from varpro.search.device_columns import DeviceColumns
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
            arrays = 5 if small.basis.complex_data else 3  # complex ones are there beside their parts
            each += arrays * 8 * n * (small.basis.n_columns + len(small.basis.columns))
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
        weights, links = small.weights, small.links
        t = small.basis.grid if len(small.basis.grid) == 1 else _taken(small.basis.grid, problems)
        if weights is not None:
            own = weights if len(weights) == 1 else _taken(weights, problems)
            weights = self.device.put(own.astype(dtype, copy=False))
        if links is not None:
            offset = links.offset if len(links.offset) == 1 else _taken(links.offset, problems)
            links = Links(*map(self.device.put, (links.source, links.factor, offset)))
        assert small.program is not None
        put, y = self.device.put, _taken(small.raw, problems).astype(dtype, copy=False)
        on_device.small_searches(
            put(small.program), put(t), put(y), weights, put(small.pairs.columns),
            put(small.pairs.parameters), rows, rules.by_name(), small.basis.n_free, ridge=small.ridge,
            kaufman=small.kaufman, box=self._box(small), links=links, parts=small.parts,
            arithmetic=self.arithmetic,
        )  # fmt: skip

    def _called(self, small: CompiledForm, rows: Array, rules: Rules, problems: Array, states: States) -> None:
        columns = DeviceColumns.of(self.device, small.basis, problems)
        n_parameters, end = states.p, rows.shape[1] - N_NUMBERS
        of_column, of_parameter = self.device.put(small.pairs.columns), self.device.put(small.pairs.parameters)
        y, box = self.device.put(small.y[problems]), self._box(small)
        running = np.arange(len(problems))
        while len(running):
            here = self.device.put(running)
            phi, d = columns.both(rows[here, n_parameters : 2 * n_parameters], running)
            on_device.small_advance(
                phi, d, y, here, of_column, of_parameter, rows, rules.by_name(), n_parameters, ridge=small.ridge,
                kaufman=small.kaufman, box=box,
            )  # fmt: skip
            running = running[to_host(rows[here, end]) == 0]  # status comes first

    def _box(self, small: CompiledForm) -> Bounds | None:
        if small.box is None:
            return None
        lower, upper = (self.device.put(bound.astype(np.float64)) for bound in small.box)
        return lower, upper


def _taken(a: Array, problems: Array) -> Array:
    """a[problems], without a copy where they follow one another: those of a million fits are gigabytes."""
    in_turn = len(problems) > 0 and bool((np.diff(problems) == 1).all())
    return a[problems[0] : problems[-1] + 1] if in_turn else a[problems]
