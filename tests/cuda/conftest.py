"""The driver program and the device that tests run on, each built once per session."""

import contextlib
import importlib
import os

import pytest

from tests.cuda import host
from tests.cuda.stand_in import device as stand_in
from varpro.arrays import Device, cuda_available
from varpro.errors import BackendError

BUILDING = 1500
"""Seconds: whichever test comes first waits until all kernels are compiled, minutes on a busy machine."""


def pytest_collection_modifyitems(items):
    if os.environ.get("VARPRO_REQUIRE_GPU"):
        _require_gpu()
    for item in items:
        if "tests/cuda" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(BUILDING))


def _require_gpu():
    """End the run unless a GPU computes: the tests would pass on the host, and nobody would see that they did."""
    if os.environ.get("VARPRO_STAND_IN"):
        raise pytest.UsageError("VARPRO_REQUIRE_GPU and VARPRO_STAND_IN contradict each other: unset one")
    try:
        Device.choose()
    except BackendError as error:
        raise pytest.UsageError(f"VARPRO_REQUIRE_GPU is set, but no GPU can be used: {error}") from error


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    if host.compiler() is None:
        pytest.skip("no C++ compiler: the kernels cannot be compiled for the host")
    folder = tmp_path_factory.mktemp("cuda")
    host.compile_sources(host.SOURCES, folder)
    return host.Driver(host.link(sorted(folder.glob("*.o")), folder / "driver"), folder)


@pytest.fixture(scope="session")
def device_module(tmp_path_factory):
    """varpro._cuda for the host; None where a GPU is here, which then takes its place.

    VARPRO_STAND_IN=1 keeps to the host all the same; VARPRO_REQUIRE_GPU=1 makes a missing GPU an error.
    """
    if cuda_available() and not os.environ.get("VARPRO_STAND_IN"):
        return None
    if host.compiler() is None:
        pytest.skip("no GPU, and no C++ compiler to build the kernels for the host")
    return stand_in.build(tmp_path_factory.mktemp("module"), str(host.compiler()))


@pytest.fixture
def xp(device_module):
    """The module cupy: the real one on a GPU, else the stand-in with the kernels on the host."""
    if device_module is None:
        yield importlib.import_module("cupy")
        return
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(stand_in.installed(device_module))
