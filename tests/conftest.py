"""Settings for all tests: one BLAS thread, reproducible examples, the folder of the real data sets."""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

settings.register_profile("repository", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("repository")


def _data_directory() -> Path | None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    directory = Path(os.environ.get("VARPRO_DATA", beside))
    return directory if directory.is_dir() else None


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """Folder of the real data sets (mnist/, fashion-mnist/, cifar10/, optdigits/)."""
    directory = _data_directory()
    if directory is None:
        pytest.skip("no real data here: set VARPRO_DATA to the folder that holds mnist/, cifar10/, ...")
    return directory
