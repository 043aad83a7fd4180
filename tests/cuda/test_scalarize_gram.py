"""Phi^T Phi along with quadratic and bilinear units on the host shim, against the product of their Phi."""

import numpy as np
import pytest

from tests.cuda import test_scalarize_bilinear, test_scalarize_quadratic
from tests.cuda.host import ROOT, UNWRITTEN, KernelError, same_in_every_order
from tests.kernels.contract import assert_within

KINDS = {"quadratic": test_scalarize_quadratic, "bilinear": test_scalarize_bilinear}
CASES = {
    "quadratic": [  # problems, n, planes, side, units
        (1, 1, 1, 1, 1),
        (2, 3, 1, 5, 3),
        (2, 8, 1, 4, 7),  # one part of eight rows, one tile of columns, both full
        (1, 9, 1, 9, 8),  # one more of each
        (2, 37, 1, 9, 8),  # three blocks share a problem; the last has five images
        (1, 18, 1, 20, 24),  # four warps
        (1, 18, 3, 9, 9),
        (1, 2, 1, 28, 50),
        (2, 37, 1, 6, 16),  # too few warps: from memory
        (1, 19, 1, 3, 40),
        (1, 3, 1, 7, 300),  # two tiles of units: from memory
        (1, 3, 3, 32, 64),  # no room: from memory
    ],
    "bilinear": [  # problems, n, height, width, units
        (1, 1, 1, 1, 1),
        (2, 37, 9, 12, 8),
        (1, 18, 20, 7, 24),
        (1, 9, 13, 2, 7),
        (1, 2, 28, 20, 50),
        (2, 37, 6, 5, 16),
        (1, 3, 7, 5, 300),
    ],
}
every_case = pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind in KINDS for case in CASES[kind]])
DOUBLE, MIXED, SINGLE = (np.float64, np.float64), (np.float64, np.float32), (np.float32, np.float32)


def run(driver, kind, case, types=DOUBLE, **more):
    module = KINDS[kind]
    given = module.problem(case, real=types[0])
    results = module.run(driver, case, *given, jacobian=types[1], with_gram=1, **more)
    size = 8 * case[0] * (case[-1] + 1) ** 2
    return given, [result[:-size] for result in results], [result[-size:] for result in results]


def assert_is_the_product(gram, phi):
    """Sums of n products in double; what is above the diagonal is left alone."""
    phi = phi.astype(np.float64)
    gram = np.frombuffer(gram).reshape(len(phi), *[phi.shape[2]] * 2)
    bound = (phi.shape[1] + 4) * np.finfo(float).eps * (np.abs(phi).mT @ np.abs(phi))
    assert_within(np.tril(gram), np.tril(phi.mT @ phi), bound)
    above = np.triu_indices(phi.shape[2], 1)
    assert (np.ascontiguousarray(gram[:, above[0], above[1]]).view(np.uint8) == UNWRITTEN).all()


@pytest.mark.parametrize("types", [DOUBLE, MIXED, SINGLE])
@every_case
def test_gram_is_the_product_in_every_order_and_changes_nothing_else(driver, kind, case, types):
    given, others, grams = run(driver, kind, case, types)
    phi, _ = KINDS[kind].arrays(same_in_every_order(others), case, *types)
    assert_is_the_product(same_in_every_order(grams), phi)
    assert KINDS[kind].run(driver, case, *given, jacobian=types[1], orders=(0,))[0] == others[0]


@every_case
def test_gram_has_the_same_bits_without_d(driver, kind, case):
    _, _, with_d = run(driver, kind, case, orders=(0,))
    _, others, grams = run(driver, kind, case, with_d=False)
    assert same_in_every_order(grams) == with_d[0]
    assert KINDS[kind].arrays(same_in_every_order(others), case, *DOUBLE)[1] is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_workspace_that_is_missing_is_named_with_its_size(driver, kind):
    """Three parts of 9 x 9 sums for each of two problems."""
    case = CASES[kind][1 if kind == "bilinear" else 4]
    with pytest.raises(KernelError, match=rf"{kind}: workspace is null; gram with these sizes needs {2 * 3 * 81 * 8}"):
        run(driver, kind, case, no_workspace=1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_barrier_before_the_sums_cannot_be_left_out(driver, kind):
    """The one that is there for the slopes too: without D it serves Phi alone."""
    source = f"scalarize_{kind}"
    lines = (ROOT / f"csrc/cuda/{source}.cu").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "rows of Phi, are ready" in text)
    case = CASES[kind][1 if kind == "bilinear" else 4]
    with pytest.raises((AssertionError, KernelError)):  # noqa: PT012
        _, others, grams = run(driver, kind, case, with_d=False, drop=f"{source}.cu:{line}")
        phi, _ = KINDS[kind].arrays(same_in_every_order(others), case, *DOUBLE)
        assert_is_the_product(same_in_every_order(grams), phi)
