"""The driver program, built once a session."""

import pytest

from tests.cuda import host


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    if host.compiler() is None:
        pytest.skip("no C++ compiler: the kernels cannot be compiled for the host")
    folder = tmp_path_factory.mktemp("cuda")
    host.compile_sources(host.SOURCES, folder)
    return host.Driver(host.link(sorted(folder.glob("*.o")), folder / "driver"), folder)
