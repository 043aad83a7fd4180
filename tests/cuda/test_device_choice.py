"""CUDA is asked for but not available: one line names what is missing and what to do."""

import importlib
import sys
import types

import numpy as np
import pytest

from varpro import arrays
from varpro.arrays import Device, choose, join, scatter, take
from varpro.errors import BackendError, ShapeError
from varpro.kernels.scalarize import cuda


def test_cupy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r"CuPy or one of its libraries is not here.*varpro\[cuda\]"):
        arrays.device_namespace()
    assert not arrays.cuda_available()


def test_a_library_of_cupy_is_missing(xp, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cublas", None)
    with pytest.raises(BackendError, match="libraries"):
        arrays.device_namespace()


def test_kernels_were_not_built(xp, monkeypatch):
    monkeypatch.setitem(sys.modules, "varpro._cuda", None)
    with pytest.raises(BackendError, match=r"no CUDA kernels.*VARPRO_CUDA=ON"):
        arrays.device_namespace()


def test_driver_is_too_old(xp, monkeypatch):
    monkeypatch.setattr(xp.cuda.runtime, "driverGetVersion", lambda: 12020)
    with pytest.raises(BackendError, match=r"driver is for CUDA 12\.2, the kernels need 13\.0"):
        arrays.device_namespace()


def test_driver_does_not_answer(xp, monkeypatch):
    def refuse():
        raise xp.cuda.runtime.CUDARuntimeError("insufficient driver")

    monkeypatch.setattr(xp.cuda.runtime, "driverGetVersion", refuse)
    if isinstance(xp.cuda.runtime.CUDARuntimeError, type) and xp.cuda.runtime.__class__ is types.SimpleNamespace:
        with pytest.raises(BackendError, match="does not answer"):
            arrays.device_namespace()


@pytest.mark.parametrize("number", [-1, 99])
def test_device_number(xp, number):
    with pytest.raises(BackendError, match=rf"device {number} was asked for, but there are \d"):
        Device.choose(number)


def test_ranks_take_devices_in_turn(xp, monkeypatch):
    monkeypatch.setattr(xp.cuda.runtime, "getDeviceCount", lambda: 1)
    assert [Device.choose(None, rank).number for rank in (0, 1, 5)] == [0, 0, 0]


def test_arrays_of_the_host_or_of_another_device_are_refused(xp):
    square = {"w": xp.zeros((1, 4, 2)), "n": 5, "logistic": False, "jacobian": None}
    with pytest.raises(ShapeError, match="images lies on the host"):
        cuda.units("quadratic", np.zeros((5, 1, 3, 3)), None, **square)
    with pytest.raises(ShapeError, match="not C-contiguous"):
        cuda.units("quadratic", xp.zeros((5, 1, 3, 6))[..., ::2], None, **square)
    if xp.__name__ == "cupy" and "stand_in" in str(getattr(xp, "__file__", "")):
        elsewhere = xp.zeros((5, 1, 3, 3))
        elsewhere.device = types.SimpleNamespace(id=1)
        with pytest.raises(BackendError, match="images lies on device 1, other arrays on 0"):
            cuda.units("quadratic", elsewhere, None, **square)


def test_a_full_device_is_told(xp):
    device = Device.choose()
    with pytest.raises(BackendError, match=r"device 0 has no memory left.*lower it"), device.told_when_full("lower it"):
        raise xp.cuda.memory.OutOfMemoryError(10, 5)


def test_batches_of_both_kinds_of_arrays(xp):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Batch:
        small: np.ndarray
        large: object

    a, b = Batch(np.arange(3), xp.arange(6).reshape(3, 2)), Batch(-np.arange(3), -xp.arange(6).reshape(3, 2))
    mask = np.array([True, False, True])
    assert take(mask, a).large.get().tolist() == [[0, 1], [4, 5]]
    assert choose(mask, a, b).large.get().tolist() == [[0, 1], [-2, -3], [4, 5]]
    assert scatter(mask, a, take(mask, b)).large.get().tolist() == [[0, -1], [2, 3], [-4, -5]]
    both = join([take(mask, a), take(~mask, a)], np.array([0, 2, 1]))
    assert both.small.tolist() == [0, 1, 2]
    assert both.large.get().tolist() == [[0, 1], [2, 3], [4, 5]]


def test_the_stand_in_offers_only_what_cupy_has(xp):
    if "stand_in" not in str(xp.__file__):
        pytest.skip("a GPU is here: the stand-in is not in use")
    names = list(xp.NAMES)
    sys.path_importer_cache.clear()
    spec = importlib.machinery.PathFinder.find_spec("cupy", [p for p in sys.path if "stand_in" not in p])
    if spec is None:
        pytest.skip("CuPy is not installed: its names cannot be compared")
    # a process of its own: two modules of one name do not live side by side
    import subprocess

    lines = "import cupy, sys; print([n for n in sys.argv[1:] if not hasattr(cupy, n)])"
    done = subprocess.run([sys.executable, "-c", lines, *names], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
