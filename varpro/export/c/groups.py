"""One function of C for each group of units of one form."""

from dataclasses import dataclass
from math import prod

import numpy as np

from varpro.arrays import Array
from varpro.export.c.arrays import Arrays
from varpro.models.units.forms import Forms


@dataclass(frozen=True)
class Group:
    """The function `units_N(image, total)` of a group."""

    text: str
    helpers: tuple[str, ...]
    """The files of functions that it calls."""
    scratch_bytes: int


def group(
    number: int, form: Forms, shape: tuple[int, ...], column: int, arrays: Arrays, *, in_bytes: bool, sum_bytes: int
) -> Group:
    """The function of a group whose first column is given; its vectors are added to the arrays.

    sum_bytes : the size of the type of sums.
    """
    stored = _Stored(number, form, arrays, in_bytes=in_bytes)
    if form.windows is not None:
        return _windows(stored, shape, column)
    return _whole(stored, column) if form.slide is None else _slide(stored, shape, column, sum_bytes)


class _Stored:
    """The arrays of a group: one for each vector, unit by unit, the biases, and factors unless all are 1."""

    def __init__(self, number: int, form: Forms, arrays: Arrays, *, in_bytes: bool) -> None:
        self.number, self.form, self.arrays = number, form, arrays
        self.names: dict[int, str] = {}
        of_planes = [
            1.0 if plane is None else float(term[0][plane, 0])
            for term, plane in zip(form.terms, form.planes, strict=True)
        ]
        factors = form.factors * np.array(of_planes)[:, None] / (255.0 if in_bytes else 1.0)
        self.has_factors = not np.all(factors == 1.0)
        arrays.add(f"bias_{number}", form.bias)
        if self.has_factors:
            arrays.add(f"factor_{number}", factors)

    def of_unit(self, vector: Array) -> str:
        """The vector of unit i; its array is added when it is first asked for."""
        if id(vector) not in self.names:
            self.names[id(vector)] = f"vector_{self.number}_{len(self.names)}"
            self.arrays.add(self.names[id(vector)], vector.T)
        return f"{self.names[id(vector)]} + i * {len(vector)}"

    def scaled(self, term: int) -> str:
        """The factor of a term of unit i."""
        return f"factor_{self.number}[{term * self.form.count} + i]" if self.has_factors else "1.0f"

    def function(self, about: str, declared: list[str], before: list[str], each: list[str]) -> str:
        """The text of the function, from its declarations and what it does before the units and for each."""
        lines = [
            f"\n/* {self.form.count} units: {about} */",
            f"static void units_{self.number}(const pixel *image, float *total)",
            "{",
            *(f"    {line}" for line in [*declared, "int i;", *before, f"for (i = 0; i < {self.form.count}; ++i) {{"]),
            *(f"        {line}" for line in each),
            "    }",
            "}\n",
        ]
        return "\n".join(lines)


def _whole(stored: _Stored, column: int) -> Group:
    """Forms on whole images: the last vector of a term is contracted with the image, then one after another."""
    form, sides = stored.form, stored.form.sides
    count = prod(sides[:-1])
    each = [f"float q = bias_{stored.number}[i];"]
    for t, term in enumerate(form.terms):
        each.append(f"contract_image(image, {stored.of_unit(term[-1])}, {count}, {sides[-1]}, x);")
        for k in range(len(sides) - 2, -1, -1):
            each.append(f"contract(x, {stored.of_unit(term[k])}, {prod(sides[:k])}, {sides[k]});")
        each.append(f"q += {stored.scaled(t)} * x[0];")
    each.append(f"add_column(squash(q), layer + ({column} + i) * CLASSES, total);")
    helpers = ("contract_image", "contract") if len(sides) > 1 else ("contract_image",)
    about = f"{len(form.terms)} products of vectors of {', '.join(map(str, sides))}"
    return Group(stored.function(about, [f"float x[{count}];"], [], each), helpers, 4 * count)


def _windows(stored: _Stored, shape: tuple[int, ...], column: int) -> Group:
    """Bilinear forms on windows, whose vectors are stored without the zeros outside."""
    form, n, (planes, rows, columns) = stored.form, stored.number, shape
    assert form.windows is not None
    ((u, v),) = form.terms
    stacked = u.reshape(planes, rows, form.count)
    tall, wide = [], []
    for i, (top, left, height, width) in enumerate(form.windows):
        tall.append(stacked[:, top : top + height, i].ravel())
        wide.append(v[left : left + width, i])
    stored.arrays.add(f"vector_{n}_0", np.concatenate(tall))
    stored.arrays.add(f"vector_{n}_1", np.concatenate(wide))
    stored.arrays.add(f"window_{n}", form.windows.astype(np.uint16))
    each = [
        f"const float form = in_window(image, {planes}, {rows}, {columns}, window_{n} + 4 * i, u, v);",
        f"const float q = bias_{n}[i] + {stored.scaled(0)} * form;",
        f"add_column(squash(q), layer + ({column} + i) * CLASSES, total);",
        f"u += {planes} * window_{n}[4 * i + 2];",
        f"v += window_{n}[4 * i + 3];",
    ]
    declared = [f"const weight *u = vector_{n}_0, *v = vector_{n}_1;"]
    return Group(stored.function("bilinear forms on windows", declared, [], each), ("window",), 0)


def _slide(stored: _Stored, shape: tuple[int, ...], column: int, sum_bytes: int) -> Group:
    """Forms at every place: along rows, then along columns, squashed and averaged."""
    form, slide, n, (planes, height, width) = stored.form, stored.form.slide, stored.number, shape
    assert slide is not None
    (down, across), (high, broad), cells = slide.places, slide.patch, len(slide.down)
    stored.arrays.add(f"down_{n}", slide.down)
    stored.arrays.add(f"across_{n}", slide.across)
    pixels, places = height * width, down * across
    declared = [
        f"sum plane[{pixels}], rows[{height * across}];",
        f"float q[{places}];",
        "int c, p;" if planes > 1 and None in form.planes else "int p;",
    ]
    before, each = [], [f"for (p = 0; p < {places}; ++p) q[p] = bias_{n}[i];"]
    if planes == 1:
        before = [f"for (p = 0; p < {pixels}; ++p) plane[p] = image[p];"]
    held: object = None
    for t, (term, plane) in enumerate(zip(form.terms, form.planes, strict=True)):
        if planes > 1 and plane is not None:
            each.append(f"for (p = 0; p < {pixels}; ++p) plane[p] = image[{plane * pixels} + p];")
        elif planes > 1 and held is not term[0]:
            held = term[0]
            each += [
                f"for (p = 0; p < {pixels}; ++p) {{",
                "    plane[p] = 0;",
                f"    for (c = 0; c < {planes}; ++c)",
                f"        plane[p] += image[c * {pixels} + p] * ({stored.of_unit(held)})[c];",
                "}",
            ]
        u, v = (stored.of_unit(vector) for vector in term[-2:])
        each += [
            f"along_rows(plane, {height}, {width}, {v}, {broad}, {slide.stride}, {slide.padding[1]}, {across}, rows);",
            f"along_columns(rows, {height}, {across}, {u}, {high}, {slide.stride}, {slide.padding[0]}, {down}, "
            f"{stored.scaled(t)}, q);",
        ]
    each += [
        f"for (p = 0; p < {places}; ++p) q[p] = squash(q[p]);",
        f"average(q, down_{n}, {down}, across_{n}, {across}, {cells}, "
        f"layer + ({column} + i * {cells**2}) * CLASSES, total);",
    ]
    about = f"forms of {high} x {broad} at {down} x {across} places, averaged over {cells} x {cells} cells"
    scratch = sum_bytes * (pixels + height * across) + 4 * (places + cells**2)
    return Group(stored.function(about, declared, before, each), ("slide",), scratch)
