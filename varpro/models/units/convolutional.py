"""Convolutional units: one form u^T X v at every place of the image, squashed and averaged over a grid of cells.

    q_i[s] = sum_t u_it^T X_t[s] v_it + b_i        column (i, cell) = mean over the places s of a cell of sigma(q_i[s])

A unit tied to one place cannot see the same stroke a pixel further on; this one can.  It owns cells^2 columns, all
moved by its h + w + 1 parameters, and is selected by `model.unit: convolutional`.  Colours are mixed by the unit's own
weights (section 6.2 of Pereyra's paper) before the form is taken, or every plane has its own form.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.kernels import convolve
from varpro.kernels.convolve import SQUASHES, Patches
from varpro.models.units.convolved import BoundConvolution, Convolved, answers, cell_weights, fine_cells, gathered
from varpro.models.units.forms import Forms, Slide
from varpro.models.units.interface import Answers, BoundUnits, Scalarization, Shape, Units, UnitSize, unit_kind
from varpro.models.units.options import UnitOptions, option, whole

START_SAMPLE = 200
"""Images whose patches set the scale of the start; an image has hundreds of patches."""
START_BIAS = 0.5
"""Standard deviation of the initial biases, in deviations of q, so that units bend at different places."""


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

    def patches(self, side: int, shape: Shape, sigma: str) -> Patches:
        """The kernel's description of filters with one side: its cells are those that a smooth average is made of."""
        planes = shape[0]
        mixed = planes > 1 and self.colour == "mix"
        padding = side // 2 if self.padding == "same" else 0
        places = (min(shape[1:]) + 2 * padding - side) // self.stride + 1
        return Patches(
            height=side,
            width=side,
            cells=self.cells if self.pooling == "boxes" else fine_cells(places, self.cells),
            terms=self.rank * (1 if mixed else planes),
            mixed=mixed,
            stride=self.stride,
            padding=(padding, padding),
            sigma=sigma,
            smoothing=self.smoothing,
        )


@unit_kind("convolutional")
@dataclass(frozen=True, eq=False)
class ConvolutionalUnits(Units):
    """w is one bank after another: each the kernel's table (rows, F) of F filters of one side, row by row."""

    options: ConvolutionOptions = field(default_factory=ConvolutionOptions)
    banks: tuple[tuple[int, int], ...] = ()
    """The (side, F) of each bank, in the order of the units."""
    Options = ConvolutionOptions
    sigmas = SQUASHES
    prediction_dtype = np.float32  # sums over hundreds of places; float64 would take three times as long
    no_device = None

    @classmethod
    def create(
        cls, shape: Shape, count: int, rng: np.random.Generator, options: ConvolutionOptions | None = None
    ) -> Self:
        options = options or ConvolutionOptions()
        sides = options.filter
        shares = [count * (k + 1) // len(sides) - count * k // len(sides) for k in range(len(sides))]
        return cls(shape, count, options, tuple((side, f) for side, f in zip(sides, shares, strict=True) if f))

    @classmethod
    def check(cls, shape: Shape, options: ConvolutionOptions) -> None:
        for side in options.filter:
            try:
                places = min(options.patches(side, shape, SQUASHES[0]).places(shape))
            except ConfigError as error:
                raise ConfigError(f"model.filter is {list(options.filter)}: {error}") from None
            if options.cells > places:
                raise ConfigError(
                    f"model.cells is {options.cells}: there are only {places} places across for a filter of {side}; "
                    f"use 1 to {places} cells"
                )

    @classmethod
    def size_of_one(cls, shape: Shape, options: ConvolutionOptions) -> UnitSize:
        patches = [options.patches(side, shape, SQUASHES[0]) for side in options.filter]
        parameters = float(np.mean([p.rows(shape[0]) for p in patches]))
        return UnitSize(
            parameters, float(np.mean([convolve.multiply_adds(shape, p) for p in patches])), options.cells**2
        )

    @property
    def columns_per_unit(self) -> int:
        return self.options.cells**2

    def rows(self, side: int) -> int:
        """The number of parameters of a filter with this side."""
        return self.options.patches(side, self.shape, SQUASHES[0]).rows(self.shape[0])

    @property
    def n_parameters(self) -> int:
        return sum(self.rows(side) * filters for side, filters in self.banks)

    def parts(self) -> Iterator[tuple[int, slice, slice]]:
        """For each bank: its side, its units and its parameters."""
        unit = parameter = 0
        for side, filters in self.banks:
            size = self.rows(side) * filters
            yield side, slice(unit, unit + filters), slice(parameter, parameter + size)
            unit, parameter = unit + filters, parameter + size

    def tables(self, w: Array, sigma: str, dtype: npt.DTypeLike) -> list[tuple[Array, Patches]]:
        """Each bank's table (rows, F) and patches."""
        return [
            (
                np.ascontiguousarray(w[where].reshape(self.rows(side), -1), dtype=dtype),
                self.options.patches(side, self.shape, sigma),
            )
            for side, _, where in self.parts()
        ]

    def start(self, rng: np.random.Generator, images: Array) -> Array:
        """Random forms whose q has unit deviation over the patches; biases remove the mean of q and are spread a
        little.

        images : (N, C, L, R)
        """
        w = rng.standard_normal(self.n_parameters)
        some = images[:START_SAMPLE]
        for side, _, where in self.parts():
            patches = self.options.patches(side, self.shape, "square")
            table = w[where].reshape(self.rows(side), -1)
            table[-1] = 0.0
            squares = convolve.values(some, table, patches).mean(axis=(0, 2))
            table[-1] = 1.0  # (q + 1)^2 = q^2 + 2 q + 1
            mean = 0.5 * (convolve.values(some, table, patches).mean(axis=(0, 2)) - squares - 1.0)
            deviation = np.sqrt(np.maximum(squares - mean**2, 0.0))
            deviation = np.maximum(deviation, 0.1 * (float(np.median(deviation)) or 1.0))
            factors = 3 if patches.mixed else 2  # the number of factors in a form
            table[:-1] *= deviation ** (-1.0 / factors)
            table[-1] = START_BIAS * rng.standard_normal(table.shape[1])
        return w

    def at(self, w: Array, sigma: str, dtype: npt.DTypeLike = np.float64) -> Scalarization:
        return Convolved(self, w, sigma, np.dtype(dtype))

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return BoundConvolution(self, np.ascontiguousarray(images), sigma)

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]:
        return gathered(self, images, index, w, sigma, jacobian)

    def blocks(self) -> list[Array]:
        by_size: dict[int, list[Array]] = {}
        for side, units, where in self.parts():
            table = np.arange(where.start, where.stop).reshape(self.rows(side), units.stop - units.start)
            by_size.setdefault(len(table), []).append(table.T)
        return [np.concatenate(tables) for tables in by_size.values()]

    def per_parameter(self, values: Array) -> Array:
        parts = [np.tile(values[units], (self.rows(side), *[1] * (values.ndim - 1))) for side, units, _ in self.parts()]
        return np.concatenate(parts)

    def per_unit(self, values: Array) -> Array:
        parts = [
            values[where].reshape(self.rows(side), -1, *values.shape[1:]).sum(axis=0) for side, _, where in self.parts()
        ]
        return np.concatenate(parts)

    def taken(self, w: Array, which: Array) -> tuple[Self, Array]:
        chosen = np.isin(np.arange(self.count), which)
        sizes = tuple((side, int(chosen[units].sum())) for side, units, _ in self.parts())
        kept = type(self)(self.shape, len(which), self.options, tuple((side, f) for side, f in sizes if f))
        return kept, w[self.per_parameter(chosen)]

    def joined(self, others: list[tuple[Self, Array]], w: Array) -> tuple[Self, Array]:
        """Merge neighbouring banks of the same side, since the kernel works on many filters at a time."""
        banks: list[tuple[int, list[Array]]] = []
        for units, v in [(self, w), *others]:
            for side, _, where in units.parts():
                if not banks or banks[-1][0] != side:
                    banks.append((side, []))
                banks[-1][1].append(v[where].reshape(self.rows(side), -1))
        tables = [np.concatenate(tables, axis=1) for _, tables in banks]
        sizes = tuple((side, table.shape[1]) for (side, _), table in zip(banks, tables, strict=True))
        both = type(self)(self.shape, sum(f for _, f in sizes), self.options, sizes)
        return both, np.concatenate([table.ravel() for table in tables])

    def forms(self, w: Array, sigma: str) -> list[Forms]:
        """One for each bank; a vector of a term over the planes comes first where there are several."""
        found, planes = [], self.shape[0]
        for table, patches in self.tables(w, sigma, np.float64):
            side, filters = patches.height, table.shape[1]
            vectors = [table[k * side :][:side] for k in range(2 * patches.terms)]
            if planes == 1:
                over: list[tuple[Array, ...]] = [()] * patches.terms
            elif patches.mixed:
                over = [(table[2 * patches.terms * side : -1],)] * patches.terms
            else:
                own = [np.repeat(np.eye(planes)[:, plane, None], filters, axis=1) for plane in range(planes)]
                over = [(own[t % planes],) for t in range(patches.terms)]
            terms = tuple((*over[t], vectors[2 * t], vectors[2 * t + 1]) for t in range(patches.terms))
            slide = Slide.of(patches, self.shape, cell_weights(self.options.cells, patches.cells))
            ones = np.ones((patches.terms, filters))
            found.append(Forms(terms, ones, table[-1], sigma, patches.smoothing, slide=slide))
        return found

    def pictures(self, w: Array, which: Array) -> Array:
        """The forms of the given units, centred in pictures as large as the largest filter."""
        largest, place = max(side for side, _ in self.banks), {int(i): k for k, i in enumerate(which)}
        out = np.zeros((len(which), largest, largest))
        for (side, units, _), (table, patches) in zip(self.parts(), self.tables(w, "tanh", np.float64), strict=True):
            edge, step = (largest - side) // 2, 2 * side
            for i in range(units.start, units.stop):
                if i in place:
                    column = table[:, i - units.start]
                    terms = [column[t * step :][:step].reshape(2, side) for t in range(patches.terms)]
                    form = sum(np.outer(u, v) for u, v in terms)
                    out[place[i], edge : edge + side, edge : edge + side] = form
        return out

    def gallery(self, w: Array, which: Array, spread: Array) -> Array:
        """The filters unscaled, since they meet all pixels alike."""
        return self.pictures(w, which)

    def answers(self, w: Array, sigma: str, which: Array, images: Array) -> list[Answers]:
        return answers(self, w, sigma, which, images)

    def stored(self) -> dict[str, Array]:
        o = self.options
        return {
            "banks": np.array(self.banks, dtype=np.int64),
            "geometry": np.array(
                [o.cells, o.padding == "same", o.stride, o.rank, o.colour == "mix", o.pooling == "smooth"],
                dtype=np.int64,
            ),
            "smoothing": np.array([o.smoothing]),
        }

    @classmethod
    def restored(cls, shape: Shape, count: int, arrays: Mapping[str, Array]) -> Self:
        banks = tuple((int(side), int(filters)) for side, filters in arrays["banks"])
        cells, same, stride, rank, mix, *smooth = (int(k) for k in arrays["geometry"])
        options = ConvolutionOptions(
            filter=tuple(side for side, _ in banks),
            cells=cells,
            pooling="smooth" if smooth and smooth[0] else "boxes",  # files before smooth averages lack the number
            padding="same" if same else "valid",
            stride=stride,
            rank=rank,
            colour="mix" if mix else "planes",
            smoothing=float(arrays["smoothing"][0]),
        )
        return cls(shape, count, options, banks)
