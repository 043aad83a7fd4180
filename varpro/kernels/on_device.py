"""The CUDA kernels for CuPy arrays: what is checked and allocated before an address is handed over.

Each function stands for the entry of the same name in its stem's module, which comes here when its arrays lie on a
device.  All arrays of a call must lie on one; kernels run on CuPy's current stream, so CuPy's memory pool may reuse
what a call has let go of.
"""

import importlib
from typing import Any

import numpy as np

from varpro.arrays import Array, is_device_array, namespace
from varpro.errors import BackendError
from varpro.kernels._checks import is_logistic, require

PROJECTOR_COLUMNS = 64
"""Columns that the projector's kernel holds in shared memory."""


def quadratic(
    images: Array, index: Array | None, w: Array, *, sigma: str, jacobian: str | None
) -> tuple[Array, Array | None]:
    """Phi (B, n, I + 1) and D (B, n, Q I) or None of quadratic units, from images gathered by index.

    images : (rows, C, L, L) uint8, float32 or float64.  index : (B, n) int32, or None: problem after problem.
    w : (B, Q, I) float64.
    """
    xp, (count, q, units) = namespace(w), w.shape
    rows, planes, side, _ = images.shape
    n = index.shape[1] if index is not None else rows // count
    phi = xp.empty((count, n, units + 1))
    d = None if jacobian is None else xp.empty((count, n, q * units), dtype=jacobian)
    _call(
        "quadratic", w, images=images, pixel=str(images.dtype), index=_of(index, np.int32), w=_of(w, np.float64),
        phi=phi, d=d, problems=count, n=n, planes=planes, side=side, units=units, w_is_float=False,
        d_is_float=jacobian == "float32", logistic=is_logistic(sigma), gram=None, workspace=None,
    )  # fmt: skip
    return phi, d


def bilinear(
    images: Array, index: Array | None, w: Array, *, sigma: str, jacobian: str | None
) -> tuple[Array, Array | None]:
    """As `quadratic` for bilinear units; images (rows, L, R), planes stacked in the rows; w (B, L + R + 1, I)."""
    xp, (count, q, units) = namespace(w), w.shape
    rows, height, width = images.shape
    n = index.shape[1] if index is not None else rows // count
    phi = xp.empty((count, n, units + 1))
    d = None if jacobian is None else xp.empty((count, n, q * units), dtype=jacobian)
    _call(
        "bilinear", w, images=images, pixel=str(images.dtype), index=_of(index, np.int32), w=_of(w, np.float64),
        phi=phi, d=d, problems=count, n=n, height=height, width=width, units=units, w_is_float=False,
        d_is_float=jacobian == "float32", logistic=is_logistic(sigma), gram=None, workspace=None,
    )  # fmt: skip
    return phi, d


def packed(images: Array, index: Array | None, *, dtype: Any) -> Array:
    """(B n, C L (L + 1) / 2) of dtype: the images' packed symmetric entries, plane after plane.

    images : (rows, C, L, L).  index : (B, n) int32, or None for all rows.
    """
    xp, (rows, planes, side, _) = namespace(images), images.shape
    count, n = (1, rows) if index is None else index.shape
    out = xp.empty((count * n, planes * side * (side + 1) // 2), dtype=dtype)
    _call(
        "packed", images, images=xp.ascontiguousarray(images), pixel=str(images.dtype), index=_of(index, np.int32),
        out=out, problems=count, n=n, planes=planes, side=side, out_is_float=out.dtype == np.float32,
    )  # fmt: skip
    return out


def activate(phi: Array, bias: Array, *, logistic: bool) -> None:
    """phi (B, n, I + 1) in place: sigma(q + bias) in the first I columns, 1 in the last; bias (B, I)."""
    count, n, columns = phi.shape
    there = namespace(phi).asarray(bias, dtype=phi.dtype)
    _call(
        "activate", phi, phi=phi, bias=there, problems=count, n=n, units=columns - 1, is_float=phi.dtype == np.float32,
        logistic=logistic,
    )  # fmt: skip


def jacobian_products(d: Array, u: Array, r: Array) -> tuple[Array, Array]:
    """z (B, rank, M) = U^T D and g (B, M, K) = D^T R float64; d (B, N, M) float32 or float64."""
    xp, (count, n, m), rank, k = namespace(d), d.shape, u.shape[2], r.shape[2]
    z, g = xp.empty((count, rank, m)), xp.empty((count, m, k))
    sizes = {"problems": count, "n": n, "pairs": m, "rank": rank, "outputs": k}
    workspace = _bytes(d, _kernels().jacobian_products_workspace(**sizes))
    _call(
        "jacobian_products", d, d=d, u=_of(u, np.float64), r=_of(r, np.float64), z=z, g=g, workspace=workspace,
        d_is_float=d.dtype == np.float32, **sizes,
    )  # fmt: skip
    return z, g


def projector(phi: Array, *, ridge: float, tolerance: float, rescale: bool) -> tuple[Array, ...]:
    """u (B, N, I), back (B, I, I), rank (B,), condition (B,) and finite (B,), all on the device, as linalg.projector.

    phi : (B, N, I) float32 or float64; u and back are float64.  I at most PROJECTOR_COLUMNS.
    """
    xp, (count, n, units) = namespace(phi), phi.shape
    given = phi if phi.dtype == np.float32 else _of(phi, np.float64)
    u, back = xp.empty((count, n, units)), xp.empty((count, units, units))
    rank, finite, condition = xp.empty(count, dtype=np.int32), xp.empty(count, dtype=np.int32), xp.empty(count)
    sizes = {"problems": count, "n": n, "units": units}
    _call(
        "projector", phi, phi=given, gram=None, u=u, back=back, rank=rank, condition=condition, finite=finite,
        workspace=_bytes(phi, _kernels().projector_workspace(**sizes)), ridge=float(ridge), tolerance=float(tolerance),
        rescale=rescale, phi_is_float=phi.dtype == np.float32, u_is_float=False, **sizes,
    )  # fmt: skip
    return u, back, rank, condition, finite


def small_searches(
    program: Array, t: Array, y: Array, weights: Array | None, columns: Array, parameters: Array, states: Array,
    rules: dict[str, float], n_parameters: int, *, ridge: float, kaufman: bool, arithmetic: str,
) -> None:  # fmt: skip
    """The searches of kernels.small_fits.search_program, in place in `states` (B, stride).

    t (1 or B, N) float64; y (B, N, K) and weights (1 or B, N) of one dtype; program (I, 4), columns and parameters (M,)
    int32.  arithmetic : double, single, or polished: single and then double.
    """
    count, n, k = y.shape
    _call(
        "small_searches", y, program=program, t=_of(t, np.float64), y=y, weights=_of(weights, y.dtype.type),
        problems=None, columns=columns, parameters=parameters, states=states, rows=None, count=count, n=n,
        n_columns=len(program), n_right=k, n_pairs=len(columns), n_parameters=n_parameters, stride=states.shape[1],
        rules=rules, ridge=ridge, kaufman=kaufman, own_t=len(t) > 1,
        own_weights=weights is not None and len(weights) > 1, y_is_float=y.dtype == np.float32, arithmetic=arithmetic,
    )  # fmt: skip


def small_advance(
    phi: Array, d: Array, y: Array, problems: Array, columns: Array, parameters: Array, states: Array,
    rules: dict[str, float], n_parameters: int, *, ridge: float, kaufman: bool,
) -> None:  # fmt: skip
    """One trial step as kernels.small_fits.advance, in place; problems (b,) int64 are rows of y and of the states."""
    count, n, n_columns = phi.shape
    _call(
        "small_advance", phi, phi=phi, d=d, y=y, weights=None, problems=problems, columns=columns,
        parameters=parameters, states=states, rows=problems, count=count, n=n, n_columns=n_columns,
        n_right=y.shape[2], n_pairs=len(columns), n_parameters=n_parameters, stride=states.shape[1], rules=rules,
        ridge=ridge, kaufman=kaufman, own_weights=False, y_is_float=False, phi_is_float=False,
    )  # fmt: skip


def assemble(
    gram: Array, ztz: Array | None, aat: Array, gram_inverse: Array | None, g: Array | None, columns: Array,
    lam: Array | None = None, diagonal: Array | None = None,
) -> Array:  # fmt: skip
    """h (B, M, M) float64, lower triangle: aat o (gram - ztz) + gram_inverse o (g g^T) + lam diag(diagonal)."""
    xp, (count, m, _) = namespace(gram), gram.shape
    h = xp.empty((count, m, m))
    _call(
        "assemble", gram, gram=gram, ztz=_of(ztz, np.float64), aat=_of(aat, np.float64),
        gram_inverse=_of(gram_inverse, np.float64), g=_of(g, np.float64), columns=_of(columns, np.int32),
        lam=_of(lam, np.float64), diagonal=_of(diagonal, np.float64), h=h, problems=count, pairs=m,
        units=aat.shape[1], outputs=0 if g is None else g.shape[2], gram_is_float=gram.dtype == np.float32,
        h_is_float=False,
    )  # fmt: skip
    return h


def class_moments(
    f: Array, position: Array, n_classes: int, *, centred: bool
) -> tuple[Array, Array, Array, Array | None]:
    """counts (B, C) int64, means (B, C, D), within (B, C) and h (B, N, D) or None, as kernels.class_moments.

    f : (B, N, D) float32 or float64.  position : (B, N) integers, there or on the host.
    """
    xp, (count, n, d) = namespace(f), f.shape
    _, order, first = _class_order(f, position, n_classes)
    means, within = xp.empty((count, n_classes, d)), xp.empty((count, n_classes))
    h = xp.empty((count, n, d)) if centred else None
    sizes = {"problems": count, "features": d, "classes": n_classes}
    workspace = _bytes(f, _kernels().class_moments_workspace(**sizes))
    _call(
        "class_moments", f, f=xp.ascontiguousarray(f), order=order, first=first, means=means, within=within, h=h,
        workspace=workspace, n=n, f_is_float=f.dtype == np.float32, **sizes,
    )  # fmt: skip
    return (first[:, 1:] - first[:, :-1]).astype(np.int64), means, within, h


def inward_scale(x: Array, g: Array | None, xi: float, eps: float) -> tuple[Array, ...]:
    """xhat and s of kernels.inward_scale, and for g the gradient, s and u.g."""
    xp, (n, d) = namespace(x), x.shape
    out, s = xp.empty(x.shape, dtype=x.dtype), xp.empty(n)
    along = None if g is None else xp.empty(n)
    _call(
        "inward_scale", x, x=xp.ascontiguousarray(x), g=_of(g, x.dtype.type), out=out, s=s, along=along, n=n,
        features=d, is_float=x.dtype == np.float32, xi=float(xi), eps=float(eps),
    )  # fmt: skip
    return (out, s) if along is None else (out, s, along)


def softmax_divergence(
    f: Array, position: Array, weights: Array | None, n_classes: int, kind: str, *, tau: float, scale: float
) -> tuple[Array, Array, Array]:
    """value (B, C), by_f (B, N, D) and by_weights (B, C, D) of kernels.softmax_divergence; best for weights None."""
    xp, (count, n, d) = namespace(f), f.shape
    there, order, first = _class_order(f, position, n_classes)
    value, by_f, third = xp.empty((count, n_classes)), xp.empty(f.shape, dtype=f.dtype), xp.empty((count, n_classes, d))
    sizes = {"problems": count, "n": n, "classes": n_classes}
    workspace = _bytes(f, _kernels().softmax_divergence_workspace(**sizes))
    _call(
        "softmax_divergence", f, f=xp.ascontiguousarray(f), position=there, order=order, first=first,
        weights=_of(weights, np.float64), best=third if weights is None else None, value=value, by_f=by_f,
        by_weights=None if weights is None else third, workspace=workspace, features=d, kind=kind,
        f_is_float=f.dtype == np.float32, tau=float(tau), scale=float(scale), **sizes,
    )  # fmt: skip
    return value, by_f, third


def _class_order(f: Array, position: Array, n_classes: int) -> tuple[Array, Array, Array]:
    """position (B, N), order (B, N) and first (B, C + 1), int32: the samples of each class, where f lies."""
    xp, (count, n) = namespace(f), position.shape
    there = xp.ascontiguousarray(xp.asarray(position), dtype=np.int32)
    order, first = xp.empty((count, n), dtype=np.int32), xp.empty((count, n_classes + 1), dtype=np.int32)
    _call(
        "class_order", f, position=there, order=order, first=first, problems=count, n=n, classes=n_classes
    )  # fmt: skip
    return there, order, first


def _of(a: Array | None, dtype: type) -> Array | None:
    """a as a C-contiguous array of dtype on its device; None stays."""
    return None if a is None else namespace(a).ascontiguousarray(a, dtype=dtype)


def _bytes(like: Array, count: int) -> Array | None:
    """A workspace; None where none is needed."""
    return namespace(like).empty(count, dtype=np.uint8) if count else None


def _kernels() -> Any:
    return importlib.import_module("varpro._cuda")


def _call(kernel: str, like: Any, **arguments: Any) -> None:
    """Hand addresses to a kernel on the device and stream of `like`."""
    for name, a in arguments.items():
        if hasattr(a, "ndim"):
            require(is_device_array(a), f"{kernel}: {name} lies on the host, the other arrays on a device")
            require(bool(a.flags.c_contiguous), f"{kernel}: {name} is not C-contiguous; use ascontiguousarray")
            if a.device.id != like.device.id:
                raise BackendError(
                    f"{kernel}: {name} lies on device {a.device.id}, other arrays on {like.device.id}; move it there"
                )
    plain = {k: a.data.ptr if hasattr(a, "ndim") else (0 if a is None else a) for k, a in arguments.items()}
    stream = namespace(like).cuda.get_current_stream().ptr
    getattr(_kernels(), kernel)(**plain, device=like.device.id, stream=stream)
