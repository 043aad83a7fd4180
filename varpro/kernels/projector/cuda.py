"""An orthonormal basis of Phi's range and the way back to coefficients, on a device."""

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels._launch import dense, launch, workspace

PROJECTOR_COLUMNS = 64
"""Most columns that the projector's kernel can hold in shared memory."""


def projector(phi: Array, *, ridge: float, tolerance: float, rescale: bool) -> tuple[Array, ...]:
    """u (B, N, I), back (B, I, I), rank (B,), condition (B,) and finite (B,), on the device, as in linalg.projector.

    phi : (B, N, I) float32 or float64; u and back are float64.  I at most PROJECTOR_COLUMNS.
    """
    xp, (count, n, units) = namespace(phi), phi.shape
    given = phi if phi.dtype == np.float32 else dense(phi, np.float64)
    u, back = xp.empty((count, n, units)), xp.empty((count, units, units))
    rank, finite, condition = xp.empty(count, dtype=np.int32), xp.empty(count, dtype=np.int32), xp.empty(count)
    sizes = {"problems": count, "n": n, "units": units}
    launch(
        "projector", phi, phi=given, gram=None, u=u, back=back, rank=rank, condition=condition, finite=finite,
        workspace=workspace("projector", phi, **sizes), ridge=float(ridge), tolerance=float(tolerance),
        rescale=rescale, phi_is_float=phi.dtype == np.float32, u_is_float=False, **sizes,
    )  # fmt: skip
    return u, back, rank, condition, finite
