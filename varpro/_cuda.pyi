"""Signatures of the CUDA kernels; the contracts stand in csrc/kernels.

Arrays are addresses on the device (0 for none), `stream` is a cudaStream_t.  The module exists where the package was
built with a CUDA compiler.  Each call raises varpro.errors.BackendError where there is no driver or no such device, or
where the launch is refused.
"""

from typing import Literal

cuda_version: int
architectures: str
"""What the kernels were built for, as CMake names them: "80-real 90-real 90-virtual"."""

def device_count() -> int: ...
def scalarize_workspace(*, problems: int, n: int, units: int) -> int: ...
def quadratic(
    *, images: int, pixel: str, index: int, w: int, phi: int, d: int, problems: int, n: int, planes: int, height: int,
    width: int, units: int, w_is_float: bool, d_is_float: bool, logistic: bool, gram: int, workspace: int, device: int,
    stream: int,
) -> None: ...  # fmt: skip
def bilinear(
    *, images: int, pixel: str, index: int, w: int, phi: int, d: int, problems: int, n: int, planes: int, height: int,
    width: int, units: int, w_is_float: bool, d_is_float: bool, logistic: bool, gram: int, workspace: int, device: int,
    stream: int,
) -> None: ...  # fmt: skip
def pack(
    *, images: int, pixel: str, index: int, out: int, problems: int, n: int, planes: int, side: int,
    out_is_float: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
def activate(
    *, phi: int, bias: int, problems: int, n: int, units: int, is_float: bool, logistic: bool, device: int, stream: int
) -> None: ...  # fmt: skip
def projector_workspace(*, problems: int, n: int, units: int) -> int: ...
def projector(
    *, phi: int, gram: int, u: int, back: int, rank: int, condition: int, finite: int, workspace: int, problems: int,
    n: int, units: int, ridge: float, tolerance: float, rescale: bool, phi_is_float: bool, u_is_float: bool,
    device: int, stream: int,
) -> None: ...  # fmt: skip
def jacobian_products_workspace(*, problems: int, n: int, pairs: int, rank: int, outputs: int) -> int: ...
def jacobian_products(
    *, d: int, u: int, r: int, z: int, g: int, workspace: int, problems: int, n: int, pairs: int, rank: int,
    outputs: int, d_is_float: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
def assemble(
    *, gram: int, ztz: int, aat: int, gram_inverse: int, g: int, columns: int, lam: int, diagonal: int, h: int,
    problems: int, pairs: int, units: int, outputs: int, gram_is_float: bool, h_is_float: bool, device: int,
    stream: int,
) -> None: ...  # fmt: skip
def class_order(
    *, position: int, order: int, first: int, problems: int, n: int, classes: int, device: int, stream: int
) -> None: ...
def class_moments_workspace(*, problems: int, features: int, classes: int) -> int: ...
def class_moments(
    *, f: int, order: int, first: int, means: int, within: int, h: int, workspace: int, problems: int, n: int,
    features: int, classes: int, f_is_float: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
def convolve_values(
    *, images: int, pixel: str, index: int, w: int, out: int, problems: int, n: int, planes: int, height: int,
    width: int, filters: int, terms: int, mixed: bool, patch_height: int, patch_width: int, stride: int, pad_rows: int,
    pad_columns: int, cells_down: int, cells_across: int, squash: str, smoothing: float, is_float: bool, device: int,
    stream: int,
) -> None: ...  # fmt: skip
def convolve_jacobian(
    *, images: int, pixel: str, index: int, w: int, out: int, problems: int, n: int, planes: int, height: int,
    width: int, filters: int, terms: int, mixed: bool, patch_height: int, patch_width: int, stride: int, pad_rows: int,
    pad_columns: int, cells_down: int, cells_across: int, squash: str, smoothing: float, is_float: bool, device: int,
    stream: int,
) -> None: ...  # fmt: skip
def convolve_tangent(
    *, images: int, pixel: str, index: int, w: int, along: int, out: int, problems: int, n: int, planes: int,
    height: int, width: int, filters: int, terms: int, mixed: bool, patch_height: int, patch_width: int, stride: int,
    pad_rows: int, pad_columns: int, cells_down: int, cells_across: int, squash: str, smoothing: float, is_float: bool,
    device: int, stream: int,
) -> None: ...  # fmt: skip
def convolve_workspace(
    *, problems: int, n: int, planes: int, filters: int, terms: int, mixed: bool, patch_height: int, patch_width: int
) -> int: ...
def convolve_contract(
    *, images: int, pixel: str, index: int, w: int, weights: int, out: int, workspace: int, problems: int, n: int,
    planes: int, height: int, width: int, filters: int, terms: int, mixed: bool, patch_height: int, patch_width: int,
    stride: int, pad_rows: int, pad_columns: int, cells_down: int, cells_across: int, squash: str, smoothing: float,
    is_float: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
def inward_scale(
    *, x: int, g: int, out: int, s: int, along: int, n: int, features: int, is_float: bool, xi: float, eps: float,
    device: int, stream: int,
) -> None: ...  # fmt: skip
def softmax_divergence_workspace(*, problems: int, n: int, classes: int) -> int: ...
def softmax_divergence(
    *, f: int, position: int, order: int, first: int, weights: int, best: int, value: int, by_f: int, by_weights: int,
    workspace: int, problems: int, n: int, features: int, classes: int, kind: str, f_is_float: bool, tau: float,
    scale: float, device: int, stream: int,
) -> None: ...  # fmt: skip
def small_searches(
    *, program: int, t: int, y: int, weights: int, problems: int, columns: int, parameters: int, states: int, rows: int,
    lower: int, upper: int, source: int, factor: int, offset: int, offset_stride: int, parts: int,
    count: int, n: int, n_columns: int, n_right: int, n_pairs: int, n_parameters: int, stride: int,
    rules: dict[str, float], ridge: float, kaufman: bool, own_t: bool, own_weights: bool, y_is_float: bool,
    arithmetic: Literal["double", "single", "polished"], device: int, stream: int,
) -> None: ...  # fmt: skip
def small_advance(
    *, phi: int, d: int, y: int, weights: int, problems: int, columns: int, parameters: int, states: int, rows: int,
    lower: int, upper: int, count: int, n: int, n_columns: int, n_right: int, n_pairs: int, n_parameters: int,
    stride: int, rules: dict[str, float], ridge: float, kaufman: bool, own_weights: bool, y_is_float: bool,
    phi_is_float: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
