"""Convolutional units: one bilinear form at every place of an image, squashed, and averaged over a grid of cells.

    q_f[s]          = sum_t u_ft^T X_t[s] v_ft + b_f        X_t[s]: the patch of a plane, or of a mix of planes, at s
    phi[n, f, cell] = mean over the places s of a cell of sigma(q_f[s])

A table w (rows, F) holds the parameters of F filters, one column each: for every term t the h entries of u and the w
entries of v, then the C weights of the mix if planes are mixed, then the bias.  Images (N, C, H, W) are bytes, read
as value / 255, or floats.  Computation is in the dtype of w, float32 or float64.  A term's plane is the mix, or plane
t mod C.  csrc/kernels/convolve.hpp is the contract.
"""

from dataclasses import asdict, dataclass, field

import numpy as np

from varpro import _cpu
from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.kernels._checks import require

SQUASHES = ("tanh", "logistic", "smooth_abs", "square", "softplus")
LARGEST_PATCH = 64
"""Largest side of a patch, since the kernel holds that many rows."""


@dataclass(frozen=True)
class Patches:
    """Where a bank of filters looks, and how its values are combined."""

    height: int
    """The height h of a patch."""
    width: int
    """The width w of a patch."""
    cells: int = 1
    """The number G: places are averaged over G x G cells."""
    terms: int = 1
    """The number of terms u v^T in a form: its rank, times the planes unless they are mixed."""
    mixed: bool = False
    """Whether each filter looks at its own mix of the planes; otherwise each term looks at one plane."""
    stride: int = 1
    """The number of pixels between places."""
    padding: tuple[int, int] = (0, 0)
    """The zeros above and below, left and right."""
    sigma: str = "smooth_abs"
    """One of SQUASHES; smooth_abs is sqrt(q^2 + smoothing)."""
    smoothing: float = field(default=0.01)
    """The smoothing in units of q^2, whose mean over patches is 1 at the start."""

    def rows(self, planes: int) -> int:
        """The number of parameters of a filter."""
        return self.terms * (self.height + self.width) + (planes if self.mixed else 0) + 1

    def places(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The number of places down and across images (..., H, W).  Raises ConfigError if the geometry is
        impossible."""
        down, across = (
            (side + 2 * pad - patch) // self.stride + 1
            for side, pad, patch in zip(shape[-2:], self.padding, (self.height, self.width), strict=True)
        )
        padded = tuple(side + 2 * pad for side, pad in zip(shape[-2:], self.padding, strict=True))
        if self.height > padded[0] or self.width > padded[1]:
            raise ConfigError(
                f"a filter of {self.height} x {self.width} is larger than the images, {shape[-2]} x {shape[-1]} with "
                f"padding {self.padding[0]} and {self.padding[1]}; use a smaller one or more padding"
            )
        if max(self.height, self.width) > LARGEST_PATCH:
            raise ConfigError(f"a filter of {self.height} x {self.width}; the kernel takes sides up to {LARGEST_PATCH}")
        if down % self.cells or across % self.cells:
            good = [str(g) for g in range(1, min(down, across) + 1) if down % g == 0 and across % g == 0]
            raise ConfigError(
                f"{self.cells} x {self.cells} cells do not divide the {down} x {across} places of a "
                f"{self.height} x {self.width} filter; cells can be {', '.join(good)}, or change padding or stride"
            )
        return down, across

    def call(self) -> dict[str, object]:
        """The geometry by the kernel's names."""
        numbers = {k: v for k, v in asdict(self).items() if k in ("cells", "terms", "mixed", "stride", "smoothing")}
        pads = {"pad_rows": self.padding[0], "pad_columns": self.padding[1]}
        squash = _cpu.Squash.__members__[self.sigma]
        return numbers | pads | {"patch_height": self.height, "patch_width": self.width, "squash": squash}


def values(images: Array, w: Array, patches: Patches) -> Array:
    """phi (N, F, G^2) in the dtype of w; images (N, C, H, W), w (rows, F)."""
    images, w = _checked(images, w, patches)
    phi = np.empty((len(images), w.shape[1], patches.cells**2), dtype=w.dtype)
    _cpu.convolve_values(images, w, phi, patches.call())
    return phi


def jacobian(images: Array, w: Array, patches: Patches) -> Array:
    """D (N, G^2, rows, F): the derivative of phi[n, f, cell] by w[row, f]."""
    images, w = _checked(images, w, patches)
    d = np.empty((len(images), patches.cells**2, *w.shape), dtype=w.dtype)
    _cpu.convolve_jacobian(images, w, d, patches.call())
    return d


def layer_jacobian(images: Array, w: Array, layer: Array, patches: Patches) -> Array:
    """J (N, K, rows, F): the derivative of phi A by w, for the linear layer A (F, G^2, K).  D is never held."""
    images, w = _checked(images, w, patches)
    wanted = (w.shape[1], patches.cells**2)
    require(
        layer.ndim == 3 and layer.shape[:2] == wanted, f"the layer has shape {layer.shape}; it needs {wanted} + (K,)"
    )
    j = np.empty((len(images), layer.shape[2], *w.shape), dtype=w.dtype)
    _cpu.convolve_layer_jacobian(images, w, np.ascontiguousarray(layer, dtype=w.dtype), j, patches.call())
    return j


def tangent(images: Array, w: Array, dw: Array, patches: Patches) -> Array:
    """The derivative of phi along dw (rows, F), (N, F, G^2)."""
    images, w = _checked(images, w, patches)
    require(dw.shape == w.shape, f"dw has shape {dw.shape}; w has {w.shape}")
    slope = np.empty((len(images), w.shape[1], patches.cells**2), dtype=w.dtype)
    _cpu.convolve_tangent(images, w, np.ascontiguousarray(dw, dtype=w.dtype), slope, patches.call())
    return slope


def contract(images: Array, w: Array, b: Array, patches: Patches) -> Array:
    """sum_n,cell b[n, f, cell] D[n, cell, row, f], (rows, F) float64; b (N, F, G^2)."""
    images, w = _checked(images, w, patches)
    wanted = (len(images), w.shape[1], patches.cells**2)
    require(b.shape == wanted, f"b has shape {b.shape}; it needs {wanted}")
    gradient = np.zeros(w.shape)
    _cpu.convolve_contract(images, w, np.ascontiguousarray(b, dtype=w.dtype), gradient, patches.call())
    return gradient


def multiply_adds(shape: tuple[int, ...], patches: Patches) -> int:
    """Multiply-adds of one filter's values on an image (C, H, W)."""
    down, across = patches.places(shape)
    rows = patches.terms * (shape[-2] * across * patches.width + down * across * patches.height)
    return rows + (shape[0] * shape[1] * shape[2] if patches.mixed else 0)


def derivative_multiply_adds(shape: tuple[int, ...], patches: Patches) -> int:
    """Multiply-adds that the derivatives of one filter on an image (C, H, W) need beyond its values."""
    planes, height, width = shape
    down, across = patches.places(shape)
    padded, places = width + 2 * patches.padding[1], down * across
    one = down * padded * patches.height + places * (patches.height + patches.width)  # u on the image, both sums
    mixes = planes * (height * across * patches.width + places * (patches.height + 1)) if patches.mixed else 0
    return patches.terms * (one + mixes) + places


def _checked(images: Array, w: Array, patches: Patches) -> tuple[Array, Array]:
    require(images.ndim == 4, f"images have shape {images.shape}; they need (N, C, H, W)")
    patches.places(images.shape)
    planes = images.shape[1]
    require(
        w.ndim == 2 and len(w) == patches.rows(planes),
        f"w has shape {w.shape}; these filters on {planes} planes need ({patches.rows(planes)}, F)",
    )
    require(w.dtype in (np.float32, np.float64), f"w has dtype {w.dtype}; it needs float32 or float64")
    require(
        images.dtype in (np.uint8, np.float32, np.float64),
        f"images have dtype {images.dtype}; they need uint8, float32 or float64",
    )
    return np.ascontiguousarray(images), np.ascontiguousarray(w)
