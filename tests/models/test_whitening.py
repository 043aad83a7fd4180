"""Whitened starts of filters: factors drawn against the correlations of the images."""

import numpy as np
import pytest

from varpro.models.units import ConvolutionalUnits
from varpro.models.units.convolutional import ConvolutionOptions
from varpro.models.units.whitening import Whitening


def smooth_images(rng, n=60, shape=(3, 24, 20)):
    """Images whose neighbouring pixels are alike, more so along rows, and whose planes are nearly the same."""
    x = rng.standard_normal((n, *shape))
    for axis, memory in ((2, 0.7), (3, 0.9)):
        x = np.moveaxis(x, axis, 0)
        for k in range(1, len(x)):
            x[k] = memory * x[k - 1] + np.sqrt(1 - memory**2) * x[k]
        x = np.moveaxis(x, 0, axis)
    x += 2.0 * x[:, :1]
    return (x - x.min()) / np.ptp(x)


def covariance(images, size, axis):
    """That of the pixels of all runs of `size` pixels along the axis, over their variance, measured directly."""
    runs = np.lib.stride_tricks.sliding_window_view(images - images.mean(axis=(0, 2, 3), keepdims=True), size, axis)
    return np.cov(runs.reshape(-1, size).T) / runs.var()


@pytest.mark.parametrize(("side", "axis"), [("down", 2), ("across", 3)])
def test_a_factor_is_white_to_the_images(side, axis):
    images = smooth_images(np.random.default_rng(1))
    root = getattr(Whitening(images, 1e-3), side)(5)
    before = covariance(images, 5, axis)
    after = root @ before @ root.T
    assert np.linalg.cond(before) > 15
    assert np.linalg.cond(after) < 2
    np.testing.assert_allclose(root, root.T, atol=1e-12 * np.abs(root).max())


def test_planes_are_white_to_each_other():
    images = smooth_images(np.random.default_rng(2))
    root = Whitening(images, 1e-6).planes()
    flat = np.moveaxis(images, 1, 0).reshape(3, -1)
    after = root @ np.cov(flat) @ root.T
    np.testing.assert_allclose(after / after[0, 0], np.eye(3), atol=1e-3)


def test_noise_limits_what_is_blown_up():
    images = smooth_images(np.random.default_rng(3))
    spread = [np.linalg.cond(Whitening(images, noise).across(7)) for noise in (1e-3, 0.3, 1e3)]
    assert spread[0] > 2 * spread[1] > 2 * spread[2]
    assert spread[2] < 1.01


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_the_scale_of_the_pixels_does_not_matter(scale):
    images = smooth_images(np.random.default_rng(4))
    here, there = (Whitening(x, 0.3).down(4) for x in (images, scale * images))
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-12)


def test_images_without_a_shape_leave_the_draw_as_it_is():
    flat = np.full((4, 2, 6, 6), 0.5)
    whitening = Whitening(flat, 0.3)
    for root, size in ((whitening.down(3), 3), (whitening.across(3), 3), (whitening.planes(), 2)):
        np.testing.assert_array_equal(root, np.eye(size))


def test_a_filter_longer_than_the_image():
    images = smooth_images(np.random.default_rng(5), shape=(1, 5, 5))
    root = Whitening(images, 0.3).down(9)
    assert np.isfinite(root).all()
    assert (np.linalg.eigvalsh(root) > 0).all()


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"colour": "planes"}, {"filter": (3, 5)}])
def test_the_start_is_the_independent_draw_whitened(options):
    """Up to each form's size, which the start sets by itself."""
    images = smooth_images(np.random.default_rng(6))
    both = {}
    for whitening in (0.1, None):
        o = ConvolutionOptions(**{"filter": (5,), **options}, whitening=whitening)
        rng = np.random.default_rng(7)
        units = ConvolutionalUnits.create((3, 24, 20), 4, rng, o)
        both[whitening] = units.tables(units.start(rng, images), "square", np.float64)
    whitening = Whitening(images, 0.1)
    for (table, patches), (plain, _) in zip(both[0.1], both[None], strict=True):
        side = patches.height
        for t in range(patches.terms):
            for k, root in enumerate((whitening.down(side), whitening.across(side))):
                rows = slice((2 * t + k) * side, (2 * t + k + 1) * side)
                _parallel(table[rows], root @ plain[rows])
        if patches.mixed:
            _parallel(table[2 * side * patches.terms : -1], whitening.planes() @ plain[2 * side * patches.terms : -1])
        np.testing.assert_array_equal(table[-1], plain[-1])


def _parallel(found, wanted):
    ratio = np.linalg.norm(found, axis=0) / np.linalg.norm(wanted, axis=0)
    np.testing.assert_allclose(found, wanted * ratio, rtol=1e-10, atol=1e-12 * np.abs(found).max())
