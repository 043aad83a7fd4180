"""A loss says what is wrong with a batch by an error: no warning of NumPy's about a number comes out of the package."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(r"error::RuntimeWarning:varpro\."), append=False)
