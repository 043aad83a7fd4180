"""The options of convolutional units: their filters, and how the values at the places make columns."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

from varpro.errors import ConfigError
from varpro.kernels.convolve import SQUASHES, Patches
from varpro.kernels.convolve.patches import divisors
from varpro.models.units.convolved import fine_cells
from varpro.models.units.interface import Shape
from varpro.models.units.options import UnitOptions, option, whole


def _sides(value: object) -> tuple[int, ...]:
    sides = value if isinstance(value, list | tuple) else [value]
    if not sides or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise ValueError("must be a side in pixels, or a list of sides, such as 9 or [7, 11]")
    return tuple(sides)


def _rank(value: object) -> int:
    if value not in (1, 2, 3) or isinstance(value, bool):
        raise ValueError("must be 1, 2 or 3")
    return int(value)


def _one_of(*words: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return check


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError("must be a number > 0")
    return float(value)


def _positive_or_null(value: object) -> float | None:
    return None if value is None else _positive(value)


@dataclass(frozen=True, kw_only=True)
class ConvolutionOptions(UnitOptions):
    """The filters of a bank and how their values are used."""

    filter: tuple[int, ...] = option((9,), check=_sides)
    """The side of the filters in pixels; each side in a list gets an equal share of the units."""
    cells: int = option(4, check=whole(1))
    """The number of parts a direction over which places are averaged: a unit has cells^2 columns."""
    pooling: str = option("smooth", check=_one_of("smooth", "boxes"))
    """The weights of the places in a cell's average: smooth has Gaussian weights, so that neighbouring cells overlap;
    boxes gives each place to one cell."""
    padding: str = option("same", check=_one_of("same", "valid"))
    """The padding: same adds zeros around the image, so that filters can be centred on any pixel; valid adds none."""
    stride: int = option(1, check=whole(1))
    """The number of pixels between places."""
    rank: int = option(1, check=_rank)
    """The number of terms u v^T in a form."""
    colour: str = option("mix", check=_one_of("mix", "planes"))
    """Whether planes are mixed by the unit's own weights (mix) or each has its own form (planes)."""
    smoothing: float = option(0.01, check=_positive)
    """The smoothing in smooth_abs, sqrt(q^2 + smoothing); q^2 is 1 on average at the start."""
    whitening: float | None = option(None, check=_positive_or_null)
    """The share of the pixels' variance that counts as noise in a whitened start, whose filters see fine shapes as well
    as coarse ones; less whitens more, null draws independent entries."""

    def patches(self, side: int, shape: Shape, sigma: str, *, equal_boxes: bool = False) -> Patches:
        """The kernel's description of filters with one side: its cells are those that a smooth average is made of.

        equal_boxes : see ConvolutionalUnits.
        """
        planes = shape[0]
        mixed = planes > 1 and self.colour == "mix"
        padding = side // 2 if self.padding == "same" else 0
        places = [(size + 2 * padding - side) // self.stride + 1 for size in shape[1:]]
        if equal_boxes:
            places = [min(places)] * 2
        down, across = (self.cells if self.pooling == "boxes" else fine_cells(n, self.cells) for n in places)
        return Patches(
            height=side,
            width=side,
            cells=(down, across),
            terms=self.rank * (1 if mixed else planes),
            mixed=mixed,
            stride=self.stride,
            padding=(padding, padding),
            sigma=sigma,
            smoothing=self.smoothing,
        )

    def check(self, shape: Shape) -> None:
        """Raises ConfigError if these filters and cells do not suit images (C, L, R)."""
        places: dict[int, tuple[int, int]] = {}
        for side in self.filter:
            try:
                places[side] = replace(self.patches(side, shape, SQUASHES[0]), cells=(1, 1)).places(shape)
            except ConfigError as error:
                raise ConfigError(f"model.filter is {list(self.filter)}: {error}") from None
        side, fewest = min(places.items(), key=lambda item: min(item[1]))
        if self.cells > min(fewest):
            direction = "down" if fewest[0] < fewest[1] else "across"
            raise ConfigError(
                f"model.cells is {self.cells}: there are only {min(fewest)} places {direction} for a filter of "
                f"{side}; use 1 to {min(fewest)} cells"
            )
        for side, (down, across) in places.items():
            if self.pooling == "boxes" and (down % self.cells or across % self.cells):
                raise ConfigError(
                    f"model.cells is {self.cells}: with pooling: boxes, it must divide the {down} x {across} places "
                    f"of a filter of {side}; it can be {divisors(*chain(*places.values()))}, or use pooling: smooth, "
                    "another padding or stride"
                )
