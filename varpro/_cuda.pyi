"""Signatures of the CUDA kernels; the contracts stand in csrc/cuda/launch.hpp.

Arrays are addresses on the device (0 for none), `stream` is a cudaStream_t.  The module exists where the package was
built with a CUDA compiler.  Each call raises varpro.errors.BackendError where there is no driver or no such device, or
where the launch is refused.
"""

cuda_version: int

def device_count() -> int: ...
def quadratic(
    *, images: int, pixel: str, index: int, w: int, phi: int, d: int, problems: int, n: int, planes: int, side: int,
    units: int, w_is_float: bool, d_is_float: bool, logistic: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
def bilinear(
    *, images: int, pixel: str, index: int, w: int, phi: int, d: int, problems: int, n: int, height: int, width: int,
    units: int, w_is_float: bool, d_is_float: bool, logistic: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
def packed(
    *, images: int, pixel: str, index: int, out: int, problems: int, n: int, planes: int, side: int,
    out_is_float: bool, device: int, stream: int,
) -> None: ...  # fmt: skip
def activate(
    *, phi: int, bias: int, problems: int, n: int, units: int, is_float: bool, logistic: bool, device: int, stream: int
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
