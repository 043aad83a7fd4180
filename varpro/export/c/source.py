"""The text of a C file: its arrays, one function for each group of units, and those that a caller uses."""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from varpro.export.c.arrays import Arrays, comment, identifier, literal, quoted
from varpro.export.c.groups import group
from varpro.export.graph import Graph
from varpro.models.units.forms import Forms

BRIGHTEST = 255
"""The largest pixel, if pixels are bytes."""
SQUASH = {
    "tanh": "tanhf(q)",
    "logistic": "1.0f / (1.0f + expf(-q))",
    "square": "q * q",
    "softplus": "(q > 0.0f ? q : 0.0f) + log1pf(expf(q > 0.0f ? -q : q))",
}


@dataclass(frozen=True)
class CSource:
    """A file of C99, and what it takes."""

    name: str
    """What its functions begin with."""
    text: str
    weight_bytes: int
    """The bytes of all constant arrays."""
    scratch_bytes: int
    """The bytes of the largest function's arrays on the stack."""


def c_source(graph: Graph, stem: str) -> CSource:
    """The file for a network; int8 weights read pixels that are bytes, float weights read floats in [0, 1].

    stem : the name of the file, which the functions begin with.
    """
    name, arrays, in_bytes = identifier(stem), Arrays(), graph.layer.dtype == np.int8
    wide = in_bytes and _largest_sum(graph) >= 2**31
    groups = [
        group(number, form, graph.shape, columns.start, arrays, in_bytes=in_bytes, sum_bytes=8 if wide else 4)
        for number, (form, columns) in enumerate(graph.parts())
    ]
    arrays.add("layer", graph.layer)
    arrays.add("constant", graph.constant)
    if in_bytes:
        arrays.add("output_scale", graph.scale)
    if graph.calibration is not None:
        arrays.add("calibration", graph.calibration)
    helpers = dict.fromkeys(helper for made in groups for helper in made.helpers)
    entry = _part("entry").replace("@CALLS@", "\n".join(f"    units_{n}(image, total);" for n in range(len(groups))))
    text = [
        _head(graph, name, in_bytes=in_bytes, wide=wide),
        *arrays.lines,
        _part("layer"),
        _squash(graph.forms[0]),  # a network has one sigma
        *(_part(helper) for helper in helpers),
        *(made.text for made in groups),
        entry.replace("@SCALE@", "output_scale[k] * " if in_bytes else ""),
        *([_part("softmax")] if graph.calibration is not None else []),
    ]
    scratch = max(made.scratch_bytes for made in groups) + 8 * graph.n_classes
    return CSource(name, "".join(text).replace("@NAME@", name), arrays.bytes, scratch)


def _part(name: str) -> str:
    return (files("varpro.export.c") / f"{name}.c").read_text(encoding="utf-8")


def _head(graph: Graph, name: str, *, in_bytes: bool, wide: bool) -> str:
    pixels = "bytes, 0 to 255" if in_bytes else "floats in [0, 1]"
    pixel, classes = ("unsigned char" if in_bytes else "float"), graph.n_classes
    cells = max(form.cells for form in graph.forms)
    total = ("int64_t" if wide else "int32_t") if in_bytes else "float"
    names = ", ".join(quoted(label) for label in graph.class_names)
    probabilities = f"void {name}_probabilities(const {pixel} *image, float *probabilities);\n"
    return f"""/* A network of units, trained on {comment(graph.dataset) or "some images"}; written by varpro-export.

   image: {" x ".join(map(str, graph.shape))} pixels, row by row, {pixels}; {classes} outputs.  Reentrant; C99. */

#include <math.h>
{"#include <stdint.h>" if in_bytes else ""}
/* the outputs, one for each class; the largest is the class */
void {name}_scores(const {pixel} *image, float *scores);
/* the number of the class, from 0 */
int {name}_predict(const {pixel} *image);
{"/* calibrated probabilities, whose sum is 1 */" if graph.calibration is not None else ""}
{probabilities if graph.calibration is not None else ""}
/* the classes by name */
extern const char *const {name}_classes[{classes}];
const char *const {name}_classes[{classes}] = {{{names}}};

typedef {pixel} pixel;
typedef {"signed char" if in_bytes else "float"} weight;
typedef {total} sum;
enum {{ CLASSES = {classes}, LARGEST_CELLS = {cells} }};

"""


def _squash(form: Forms) -> str:
    body = f"sqrtf(q * q + {literal(form.smoothing)})" if form.squash == "smooth_abs" else SQUASH[form.squash]
    return f"\nstatic float squash(float q) {{ return {body}; }}\n"


def _largest_sum(graph: Graph) -> int:
    """A bound on the sums of whole numbers in a file with int8 weights."""
    largest = 0
    for form in graph.forms:
        for term, plane in zip(form.terms, form.planes, strict=True):
            sizes = [int(np.abs(vector.astype(int)).sum(axis=0).max()) for vector in term]
            if form.slide is None:
                largest = max(largest, BRIGHTEST * sizes[-1])
                continue
            mix = sizes[0] if len(term) == 3 and plane is None else 1
            largest = max(largest, BRIGHTEST * mix * sizes[-2] * sizes[-1])
    return largest
