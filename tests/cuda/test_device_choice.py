"""CUDA is asked for but not available: one line names what is missing and what to do."""

import os
import subprocess
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest

from tests.cuda.host import ROOT
from varpro import arrays
from varpro.arrays import Device
from varpro.arrays.batch import choose, join, scatter, take
from varpro.errors import BackendError, ShapeError
from varpro.kernels.scalarize import cuda


def test_cupy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r"CuPy is not installed.*varpro\[cuda\]"):
        arrays.device_namespace()
    assert not arrays.cuda_available()


class Lacking:
    """cupy.cuda without a library, as the real one says it."""

    def __init__(self, cuda, library):
        self.cuda, self.library = cuda, library

    def __getattr__(self, name):
        if name == self.library:
            raise ImportError(f'Failure finding "lib{name}.so": No such file\nsecond line')
        return getattr(self.cuda, name)


@pytest.mark.parametrize("library", ["cublas", "cusolver"])
def test_a_library_of_cupy_is_missing(xp, monkeypatch, library):
    monkeypatch.setattr(xp, "cuda", Lacking(xp.cuda, library))
    words = rf'finds no {library} \(Failure finding "lib{library}.so": No such file\); pip'
    with pytest.raises(BackendError, match=words):
        arrays.device_namespace()


def test_cupy_is_too_old(xp, monkeypatch):
    monkeypatch.setattr(xp, "__version__", "13.6.0")
    with pytest.raises(BackendError, match=r"CuPy 13\.6\.0 is installed, varpro needs 14; pip install"):
        arrays.device_namespace()


def test_kernels_were_not_built(xp, monkeypatch):
    monkeypatch.setitem(sys.modules, "varpro._cuda", None)
    with pytest.raises(BackendError, match=r"no CUDA kernels.*VARPRO_CUDA=ON"):
        arrays.device_namespace()


def test_driver_is_too_old(xp, monkeypatch):
    monkeypatch.setattr(xp.cuda.runtime, "driverGetVersion", lambda: 12020)
    with pytest.raises(BackendError, match=r"driver is for CUDA 12\.2, the kernels need 13\.0"):
        arrays.device_namespace()


def test_there_is_no_driver(xp, monkeypatch):
    monkeypatch.setattr(xp.cuda.runtime, "driverGetVersion", lambda: 0)
    with pytest.raises(BackendError, match=r"no CUDA driver, the kernels need 13\.0"):
        arrays.device_namespace()


def test_the_kernels_find_no_driver_before_cupy_is_imported(xp, monkeypatch):
    from varpro import _cuda

    def refuse():
        raise BackendError("its driver is missing")

    monkeypatch.setattr(_cuda, "device_count", refuse)
    monkeypatch.delitem(sys.modules, "cupy")
    with pytest.raises(BackendError, match="its driver is missing"):
        arrays.device_namespace()
    assert "cupy" not in sys.modules


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ("75", "80-real 90-real 90-virtual", False),  # a T4
        ("80", "80-real 90-real 90-virtual", True),
        ("86", "80-real", True),
        ("80", "86-real", False),
        ("90", "80-real", False),
        ("120", "80-real 90-real 90-virtual", True),  # by PTX
        ("120", "80-real 90-real", False),
        ("100", "90", True),
        ("75", "native", True),
        ("90", "90a-real", True),  # no number: not for us to judge
    ],
)
def test_code_runs_within_a_major_version_and_ptx_on_later_devices(capability, architectures, runs):
    assert arrays.runs_on(capability, architectures) == runs


def test_a_device_that_the_kernels_were_not_built_for(xp, monkeypatch):
    from varpro import _cuda

    real = xp.cuda.Device(0).compute_capability
    monkeypatch.setattr(_cuda, "architectures", f"{int(real) + 20}-real")
    with pytest.raises(BackendError, match=r"compute capability \d+\.\d, the kernels were built for .*CMAKE_ARGS"):
        Device.choose()


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


def test_problems_are_taken_by_number_and_not_by_mask(xp, monkeypatch):
    """A device scans a whole array for a mask: 219 million entries for the matrices of 104 sub-networks."""
    if not hasattr(xp.ndarray, "fetched"):
        pytest.skip("a GPU is here: what an index was cannot be seen")
    keys = []
    for name in ("__getitem__", "__setitem__"):
        method = getattr(xp.ndarray, name)

        def seen(self, key, *value, method=method):
            keys.append(key)
            return method(self, key, *value)

        monkeypatch.setattr(xp.ndarray, name, seen)
    batch, mask = Numbers(xp.asarray(np.arange(12.0).reshape(3, 4))), np.array([True, False, True])
    some = take(mask, batch)
    whole = scatter(mask, batch, some)
    assert len(keys) == 2
    assert all(key.dtype.kind == "i" for key in keys)
    assert np.array_equal(whole.values.get(), batch.values.get())


@dataclass(frozen=True)
class Numbers:
    values: object


def run_requiring_a_gpu(**environment):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cuda/test_shim.py", "--collect-only"],
        cwd=ROOT, env=os.environ | {"VARPRO_REQUIRE_GPU": "1"} | environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


@pytest.mark.skipif(arrays.cuda_available(), reason="a GPU is here: nothing is missing")
def test_a_run_that_requires_a_gpu_ends_without_one():
    """Or it would pass on the host, and nobody would see that it did."""
    done = run_requiring_a_gpu()
    assert done.returncode != 0
    assert "VARPRO_REQUIRE_GPU is set, but no GPU can be used: " in done.stdout + done.stderr


def test_a_run_cannot_require_a_gpu_and_its_stand_in():
    done = run_requiring_a_gpu(VARPRO_STAND_IN="1")
    assert done.returncode != 0
    assert "contradict each other" in done.stdout + done.stderr
