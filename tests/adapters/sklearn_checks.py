"""scikit-learn's own checks of estimators, as tests."""

from unittest import SkipTest

import pytest


def run(check, estimator):
    """One of its checks; what it leaves out is a skip with its reason."""
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(f"scikit-learn: {reason}")
