"""Convolutional units on the host shim against the formula written out."""

import numpy as np
import pytest

from tests.cuda.host import KernelError, barriers, same_in_every_order
from varpro.kernels.convolve import SQUASHES, Patches
from varpro.kernels.convolve.reference import jacobian_reference, values_reference

PIXELS = [np.uint8, np.float32, np.float64]  # in the order of varpro::Pixel
CASES = {  # problems, images of each, planes, height, width, filters, patches
    "sides that differ, padding, a lone filter beside four": (
        *(2, 2, 1, 8, 7, 5),
        {"height": 4, "width": 3, "padding": (2, 1)},
    ),
    "colours mixed, rank two, cells": (
        *(1, 2, 3, 6, 6, 3),
        {"height": 3, "width": 5, "mixed": True, "cells": (2, 2), "padding": (1, 2), "terms": 2},
    ),
    "a form for each plane, strides": (
        *(2, 1, 2, 9, 9, 4),
        {"height": 3, "width": 3, "terms": 4, "stride": 2, "cells": (2, 2), "padding": (0, 0)},
    ),
    "one pixel": (1, 2, 1, 4, 4, 1, {"height": 1, "width": 1, "cells": (4, 4)}),
    "more cells across than down": (
        *(1, 2, 1, 12, 20, 5),
        {"height": 5, "width": 3, "padding": (2, 1), "cells": (3, 5)},
    ),
    "more cells down than across, colours mixed": (
        *(2, 1, 3, 9, 14, 3),
        {"height": 3, "width": 3, "padding": (1, 1), "mixed": True, "cells": (9, 2)},
    ),
    "strips that do not divide the places": (1, 1, 1, 41, 30, 2, {"height": 4, "width": 3}),
}
KINDS = ["values", "jacobian", "tangent", "contract"]
precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32])
kinds = pytest.mark.parametrize("kind", KINDS)


class Bank:
    """Tables side by side, the images that they share, and what the formula makes of them."""

    def __init__(self, case, dtype, pixel=np.uint8, sigma="smooth_abs"):
        self.problems, self.n, planes, height, width, filters, patches = case
        rng = np.random.default_rng(height + filters)
        self.patches, self.dtype = Patches(sigma=sigma, **patches), dtype
        images = rng.random((self.n + 2, planes, height, width)) * (256 if pixel == np.uint8 else 1)
        self.images = images.astype(pixel)
        self.index = rng.integers(0, self.n + 2, (self.problems, self.n)).astype(np.int32)
        self.table = (self.problems, self.patches.rows(planes), filters)
        self.w, self.dw = (rng.standard_normal(self.table).astype(dtype) for _ in range(2))
        self.cells = (self.problems, self.n, filters, self.patches.cell_count)
        self.b = rng.standard_normal(self.cells).astype(dtype)

    def run(self, driver, kind, *, index="own", images=None, **more):
        images = self.images if images is None else images
        more = {
            "along": self.dw if kind == "tangent" else None,
            "weights": self.b if kind == "contract" else None,
        } | more
        geometry = self.patches.geometry() | {"squash": SQUASHES.index(self.patches.sigma)}
        return driver(
            f"convolve_{kind}", images=images, index=self.index if index == "own" else index, w=self.w, n=self.n,
            problems=self.problems, planes=images.shape[1], height=images.shape[2], width=images.shape[3],
            filters=self.table[2], pixel=PIXELS.index(images.dtype), is_float=self.dtype == np.float32, **geometry,
            **more,
        )  # fmt: skip

    def formula(self, kind):
        made = []
        for b in range(self.problems):
            images, w = self.images[self.index[b]], self.w[b].astype(float)
            if kind == "values":
                made.append(values_reference(images, w, self.patches))
                continue
            d = jacobian_reference(images, w, self.patches)
            if kind == "tangent":
                d = np.einsum("ncrf,rf->nfc", d, self.dw[b].astype(float))
            elif kind == "contract":
                d = np.einsum("ncrf,nfc->rf", d, self.b[b].astype(float))
            made.append(d)
        return np.stack(made)

    def array(self, kind, result):
        shape = {
            "jacobian": (*self.cells[:2], self.cells[3], *self.table[1:]),
            "contract": self.table,
        }.get(kind, self.cells)
        return np.frombuffer(result, dtype=np.float64 if kind == "contract" else self.dtype).reshape(shape)

    def assert_is_the_formula(self, kind, result):
        """A sum of n terms is off by n eps of their size; the largest entry stands for the size."""
        found, expected = self.array(kind, result), self.formula(kind)
        places = np.prod(self.patches.places(self.images.shape))
        terms = self.patches.terms * self.patches.height * self.patches.width + places + self.table[1]
        error = np.abs(found - expected).max()
        kept = np.finfo(self.dtype)
        assert error <= terms * (kept.eps * np.abs(expected).max() + kept.tiny)  # below it, digits are lost


@precisions
@kinds
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_formula_in_every_order(driver, case, kind, dtype):
    bank = Bank(CASES[case], dtype)
    bank.assert_is_the_formula(kind, same_in_every_order(bank.run(driver, kind)))


@precisions
@kinds
@pytest.mark.parametrize("sigma", SQUASHES)
def test_every_squash_and_its_slope(driver, sigma, kind, dtype):
    bank = Bank((1, 2, 1, 5, 5, 2, {"height": 3, "width": 2}), dtype, np.float64, sigma)
    bank.assert_is_the_formula(kind, bank.run(driver, kind, orders=(0,))[0])


@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize("sigma", ["softplus", "tanh"])
def test_every_kind_of_pixel(driver, pixel, sigma):
    bank = Bank((1, 2, 2, 5, 4, 2, {"height": 2, "width": 2, "terms": 2}), np.float64, pixel, sigma)
    bank.assert_is_the_formula("jacobian", bank.run(driver, "jacobian", orders=(0,))[0])


@kinds
def test_without_an_index_images_follow_each_other(driver, kind):
    bank = Bank(CASES["a form for each plane, strides"], np.float64)
    gathered = bank.images[bank.index].reshape(-1, *bank.images.shape[1:])
    own = bank.run(driver, kind, orders=(0,))
    assert bank.run(driver, kind, index=None, images=gathered, orders=(0,)) == own


@pytest.mark.parametrize("sigma", ["softplus", "logistic"])
def test_large_forms_do_not_overflow(driver, sigma):
    bank = Bank((1, 2, 1, 4, 4, 4, {"height": 1, "width": 1}), np.float32, np.float64, sigma)
    bank.w[:, -1] = [-300.0, 300.0, -90.0, 90.0]
    bank.w[:, :-1] *= 1e-3
    for kind in KINDS:
        bank.assert_is_the_formula(kind, bank.run(driver, kind, orders=(0,))[0])


@precisions
def test_parts_of_images_are_added(driver, dtype):
    """64 images to a part."""
    bank = Bank((2, 65, 1, 3, 3, 5, {"height": 2, "width": 2}), dtype)
    bank.assert_is_the_formula("contract", same_in_every_order(bank.run(driver, "contract", orders=(0, 1))))


def test_a_workspace_that_is_missing_is_named_with_its_size(driver):
    bank = Bank((1, 65, 1, 3, 3, 2, {"height": 2, "width": 2}), np.float64)
    with pytest.raises(KernelError, match="convolve_contract: workspace is null; these sizes need 160 bytes"):
        bank.run(driver, "contract", orders=(0,), no_workspace=1)


def test_patches_that_do_not_fit_are_named(driver):
    bank = Bank((1, 1, 1, 64, 500, 1, {"height": 50, "width": 50}), np.float64)
    with pytest.raises(KernelError, match="convolve_jacobian: patches of 50 x 50 on images of 1 x 64 x 500 do not fit"):
        bank.run(driver, "jacobian", orders=(0,))


@pytest.mark.parametrize("barrier", barriers("convolve"))
def test_no_barrier_can_be_left_out(driver, barrier):
    """Each is needed by one of these: terms and planes, or strips."""
    caught = 0
    for case in ("colours mixed, rank two, cells", "strips that do not divide the places"):
        bank = Bank(CASES[case], np.float64)
        for kind in KINDS:
            try:
                bank.assert_is_the_formula(kind, same_in_every_order(bank.run(driver, kind, drop=barrier)))
            except (AssertionError, KernelError):
                caught += 1
                break
    assert caught
