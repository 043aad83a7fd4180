"""Where a bank of filters looks, as both kernels take it."""

from dataclasses import asdict, dataclass, field
from math import gcd
from typing import Any

from varpro import _cpu
from varpro.errors import ConfigError

Sizes = dict[str, Any]
"""Arguments of a kernel by name: whole numbers, flags and sigma."""

SQUASHES = ("tanh", "logistic", "smooth_abs", "square", "softplus")
LARGEST_PATCH = 64
"""Largest side of a patch, since the kernel holds that many rows."""


def divisors(*numbers: int) -> str:
    """The numbers that divide all of these, for a message: "1, 2, 4"."""
    common = gcd(*numbers)
    return ", ".join(str(k) for k in range(1, common + 1) if common % k == 0)


@dataclass(frozen=True)
class Patches:
    """Where a bank of filters looks, and how its values are combined."""

    height: int
    """The height h of a patch."""
    width: int
    """The width w of a patch."""
    cells: tuple[int, int] = (1, 1)
    """The numbers of cells down and across the image over which places are averaged."""
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

    @property
    def cell_count(self) -> int:
        """The number G of cells, down times across."""
        return self.cells[0] * self.cells[1]

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
        if down % self.cells[0] or across % self.cells[1]:
            raise ConfigError(
                f"{self.cells[0]} x {self.cells[1]} cells do not divide the {down} x {across} places of a "
                f"{self.height} x {self.width} filter; cells can be {divisors(down)} down and {divisors(across)} "
                "across, or change padding or stride"
            )
        return down, across

    def geometry(self) -> Sizes:
        """All but sigma by the kernel's names."""
        numbers = {k: v for k, v in asdict(self).items() if k in ("terms", "mixed", "stride", "smoothing")}
        pads = {"pad_rows": self.padding[0], "pad_columns": self.padding[1]}
        cells = {"cells_down": self.cells[0], "cells_across": self.cells[1]}
        return numbers | pads | cells | {"patch_height": self.height, "patch_width": self.width}

    def call(self) -> Sizes:
        """The same with sigma as the CPU's kernels take it."""
        return self.geometry() | {"squash": _cpu.Squash.__members__[self.sigma]}
