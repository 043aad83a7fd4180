"""A user's function on a device: columns and derivatives as the search wants them, real numbers with weighted rows.

The map from the searched parameters to the function's, where there is one, is the host's: a few numbers per problem
travel for it at every trial, beside the status that does so anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, Device, first_line, is_device_array, to_host
from varpro.errors import BackendError, ShapeError
from varpro.problems.columns import as_real_rows
from varpro.problems.curves import CurveBasis


@dataclass(frozen=True)
class DeviceColumns:
    """The columns of b problems, whose t and weights lie on the device."""

    device: Device
    basis: CurveBasis
    problems: Array
    """Their numbers, (b,), on the host."""
    t: Array
    """(1 or b, N)"""
    weights: Array | None
    """(1 or b, N'), or None."""

    @classmethod
    def of(cls, device: Device, basis: CurveBasis, problems: Array) -> "DeviceColumns":
        """The columns of problems (b,)."""
        model, weights = basis.model, basis.weights
        t = model.t[problems] if model.own_t else model.t[None]
        if weights is not None:
            weights = device.put(weights if len(weights) == 1 else weights[problems])
        return cls(device, basis, problems, device.put(t), weights)

    def both(self, trial: Array, running: Array) -> tuple[Array, Array]:
        """Phi (c, N', I') and D (c, N', M') at `trial` (c, F) of the problems `running`, (c,) places on the host."""
        xp, basis, model = self.device.xp, self.basis, self.basis.model
        assert model.columns_function is not None
        u = None if basis.plain else to_host(trial)
        problems = self.problems[running]
        w = trial if u is None else self.device.put(basis.w(u, problems))
        own = self.device.put(running)
        t = self.t[own] if model.own_t else xp.broadcast_to(self.t, (len(running), self.t.shape[1]))
        phi = self._called(model.function, t, w, (len(running), *model.shape), "the model")
        wanted = len(running), model.shape[0], len(model.pairs)
        d = self._called(model.columns_function, t, w, wanted, "derivative's columns")
        if u is not None and not basis.all_pairs:
            d = d[:, :, self.device.put(basis.taken)] * self.device.put(basis.factors(u, problems))
        if basis.complex_data:
            phi, d = as_real_rows(phi), as_real_rows(d)
        return self._weighted(phi, own), self._weighted(d, own)

    def _weighted(self, columns: Array, own: Array) -> Array:
        """float64 with weighted rows; 0 for an excluded row, whatever it holds."""
        xp = self.device.xp
        if self.weights is not None:
            weights = (self.weights if len(self.weights) == 1 else self.weights[own])[:, :, None]
            columns = xp.where(weights > 0, columns * weights, 0.0)
        made: Array = xp.ascontiguousarray(columns, dtype=np.float64)
        return made

    def _called(
        self, function: Callable[[Array, Array], Array], t: Array, w: Array, wanted: tuple[int, ...], what: str
    ) -> Array:
        """function(t, w) in double precision.  Raises BackendError, ShapeError if it leaves the device."""
        try:
            result = function(t, w.T[:, :, None])
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
        dtype = np.complex128 if self.basis.complex_data else np.float64
        made: Array = self.device.xp.ascontiguousarray(result, dtype=dtype)
        return made
