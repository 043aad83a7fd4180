"""Rules for every kernel, each a check of one call: `function(*arrays)` returns an array or a tuple of arrays."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

EPS = np.finfo(float).eps


def parts_of(result):
    return [a for a in (result if isinstance(result, tuple) else (result,)) if a is not None]


def assert_same_bits(found, expected):
    for one, other in zip(parts_of(found), parts_of(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def assert_within(found, expected, bound):
    """|found - expected| <= bound entry by entry; a NaN is never within."""
    assert found.shape == expected.shape
    error = np.abs(found - expected)
    assert (error <= bound).all(), f"{error.max()} is over {np.max(bound)}"


def strided(a):
    """The values of a at every second place of a larger array."""
    return np.repeat(a, 2, axis=-1)[..., ::2]


def assert_inputs_are_kept(function, *arrays):
    before = [a.copy() for a in arrays]
    function(*arrays)
    for one, other in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_strides_do_not_matter(function, *arrays):
    assert_same_bits(function(*map(strided, arrays)), function(*arrays))


def assert_batch_is_one_by_one(function, *arrays):
    together = parts_of(function(*arrays))
    for b in range(len(arrays[0])):
        alone = function(*(a[b : b + 1] for a in arrays))
        assert_same_bits(tuple(a[b : b + 1] for a in together), alone)


def assert_callers_do_not_meet(function, *arrays):
    """Calls from two threads at once, on other sizes too, give the bits of a call alone."""
    alone, alone_first = function(*arrays), function(*(a[:1] for a in arrays))
    with ThreadPoolExecutor(2) as pool:
        whole = [pool.submit(function, *arrays) for _ in range(8)]
        first = [pool.submit(function, *(a[:1] for a in arrays)) for _ in range(8)]
    for future in whole:
        assert_same_bits(future.result(), alone)
    for future in first:
        assert_same_bits(future.result(), alone_first)
