"""Convolutional units: one form u^T X v at every place of the image, squashed and averaged over a grid of cells.

    q_i[s] = sum_t u_it^T X_t[s] v_it + b_i        column (i, cell) = mean over the places s of a cell of sigma(q_i[s])

A unit tied to one place cannot see the same stroke a pixel further on; this one can.  It owns cells^2 columns, all
moved by its h + w + 1 parameters, and is selected by `model.unit: convolutional`.  Colours are mixed by the unit's own
weights (section 6.2 of Pereyra's paper) before the form is taken, or every plane has its own form.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array
from varpro.kernels import convolve
from varpro.kernels.convolve import SQUASHES, Patches
from varpro.models.units.convolution_options import ConvolutionOptions
from varpro.models.units.convolved import BoundConvolution, Convolved, answers, cell_weights, gathered
from varpro.models.units.forms import Forms, Slide
from varpro.models.units.interface import Answers, BoundUnits, Scalarization, Shape, Units, UnitSize, unit_kind
from varpro.models.units.whitening import Whitening

START_SAMPLE = 200
"""Images whose patches set the scale of the start; an image has hundreds of patches."""
START_BIAS = 0.5
"""Standard deviation of the initial biases, in deviations of q, so that units bend at different places."""


@unit_kind("convolutional")
@dataclass(frozen=True, eq=False)
class ConvolutionalUnits(Units):
    """w is one bank after another: each the kernel's table (rows, F) of F filters of one side, row by row."""

    options: ConvolutionOptions = field(default_factory=ConvolutionOptions)
    banks: tuple[tuple[int, int], ...] = ()
    """The (side, F) of each bank, in the order of the units."""
    equal_boxes: bool = False
    """Whether smooth averages are made of as many boxes down as across, as they were in files that do not say so."""
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
        options.check(shape)

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

    def patches(self, side: int, sigma: str) -> Patches:
        """The kernel's description of the filters with this side."""
        return self.options.patches(side, self.shape, sigma, equal_boxes=self.equal_boxes)

    def rows(self, side: int) -> int:
        """The number of parameters of a filter with this side."""
        return self.patches(side, SQUASHES[0]).rows(self.shape[0])

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
                self.patches(side, sigma),
            )
            for side, _, where in self.parts()
        ]

    def start(self, rng: np.random.Generator, images: Array) -> Array:
        """Random forms whose q has unit deviation over the patches; biases are spread a little.  The forms are whitened
        if the options say so.

        images : (N, C, L, R)
        """
        w = rng.standard_normal(self.n_parameters)
        some = images[:START_SAMPLE]
        if self.options.whitening is not None:
            self._whiten(w, Whitening(some, self.options.whitening))
        for side, _, where in self.parts():
            patches = self.patches(side, "square")
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

    def _whiten(self, w: Array, whitening: Whitening) -> None:
        for side, _, where in self.parts():
            patches, table = self.patches(side, "square"), w[where].reshape(self.rows(side), -1)
            factors = table[: 2 * side * patches.terms].reshape(patches.terms, 2, side, -1)
            factors[:, 0] = whitening.down(side) @ factors[:, 0]
            factors[:, 1] = whitening.across(side) @ factors[:, 1]
            if patches.mixed:
                table[2 * side * patches.terms : -1] = whitening.planes() @ table[2 * side * patches.terms : -1]

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
        kept = replace(self, count=len(which), banks=tuple((side, f) for side, f in sizes if f))
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
        both = replace(self, count=sum(f for _, f in sizes), banks=sizes)
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
            slide = Slide.of(patches, self.shape, [cell_weights(self.options.cells, boxes) for boxes in patches.cells])
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
                [
                    *(o.cells, o.padding == "same", o.stride, o.rank, o.colour == "mix", o.pooling == "smooth"),
                    not self.equal_boxes,
                ],
                dtype=np.int64,
            ),
            "smoothing": np.array([o.smoothing]),
        }

    @classmethod
    def restored(cls, shape: Shape, count: int, arrays: Mapping[str, Array]) -> Self:
        banks = tuple((int(side), int(filters)) for side, filters in arrays["banks"])
        cells, same, stride, rank, mix, *later = (int(k) for k in arrays["geometry"])
        smooth, own_boxes = [*later, 0, 0][:2]  # files from before smooth averages, or own boxes, lack the number
        options = ConvolutionOptions(
            filter=tuple(side for side, _ in banks),
            cells=cells,
            pooling="smooth" if smooth else "boxes",
            padding="same" if same else "valid",
            stride=stride,
            rank=rank,
            colour="mix" if mix else "planes",
            smoothing=float(arrays["smoothing"][0]),
        )
        return cls(shape, count, options, banks, equal_boxes=not own_boxes)
