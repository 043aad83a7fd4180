"""Which tests should notice a fault in which file.

Of these, the ones that enter the function in question are run (`covering`); for compiled code, all of them.
"""

from fnmatch import fnmatch
from pathlib import Path

SMALL_FITS = (
    "tests/kernels/test_small_fits.py", "tests/kernels/test_search.py", "tests/fit/test_fit.py",
    "tests/fit/test_batch.py", "tests/fit/test_extremes.py", "tests/models/test_ready_derivatives.py",
)  # fmt: skip
RULES: tuple[tuple[str, tuple[str, ...]], ...] = (  # the first pattern that fits; a folder takes what is below it
    ("varpro/losses/*", ("tests/losses", "tests/adapters/test_torch.py")),
    (
        "varpro/train/*",
        ("tests/train", "tests/cli/test_dry_run.py", "tests/cli/test_resume.py", "tests/report/test_layered_report.py"),
    ),
    ("varpro/search/device.py", ("tests/search/test_device_search.py", "tests/cuda/test_cupy.py")),
    ("varpro/search/*", ("tests/search", "tests/test_gauss_newton.py", "tests/fit", "tests/train/test_wiring.py")),
    ("varpro/fitting/smoothness.py", ("tests/fit/test_smoothness.py", "tests/models/test_kernel.py")),
    ("varpro/fitting/*", ("tests/fit", "tests/adapters/test_scipy.py", "tests/adapters/test_sklearn.py")),
    ("varpro/problems/entropy_layer.py", ("tests/train/test_glue_entropy.py",)),
    ("varpro/problems/*", ("tests/search", "tests/test_gauss_newton.py", "tests/fit", "tests/train/test_wiring.py")),
    ("varpro/statistics.py", ("tests/fit",)),
    ("varpro/report/*", ("tests/report",)),
    ("varpro/linalg/projected_jacobian.py", ("tests/fit",)),
    ("varpro/linalg/*", ("tests/linalg", "tests/test_gauss_newton.py", "tests/train/test_glue.py")),
    ("csrc/*/class_moments*", ("tests/kernels/test_class_moments.py", "tests/losses/test_classifier.py")),
    ("csrc/*/softmax_*", ("tests/kernels/test_softmax_divergence.py", "tests/losses/test_weight_separability.py")),
    ("csrc/*/inward_scale*", ("tests/kernels/test_inward_scale.py", "tests/losses/test_inward_scale.py")),
    ("csrc/cpu/gauss_newton.cpp", ("tests/kernels/test_gauss_newton.py", "tests/kernels/test_damped_solve.py")),
    ("csrc/*/few_rows*", ("tests/kernels/test_few_rows.py",)),
    ("csrc/*/projector*", ("tests/kernels/test_projector.py", "tests/linalg/test_projector.py")),
    ("csrc/cpu/scalarize.cpp", ("tests/kernels/test_scalarize.py", "tests/kernels/test_activate.py")),
    ("csrc/cpu/gauss_newton_weigh.cpp", ("tests/kernels/test_jacobian_products.py", "tests/kernels/test_windows.py")),
    ("csrc/cpu/scalarize_windows.cpp", ("tests/kernels/test_windows.py", "tests/models/test_units.py")),
    ("csrc/*/convolve*", ("tests/kernels/test_convolve.py", "tests/models/test_convolutional.py")),
    ("csrc/*/search*", ("tests/kernels/test_search.py", "tests/kernels/test_small_fits.py")),
    ("csrc/*/small_fits*", SMALL_FITS),
    ("csrc/cpu/dots.hpp", SMALL_FITS),
    ("csrc/*", ("tests/kernels", "tests/fit/test_fit.py", "tests/fit/test_batch.py", "tests/models")),
)
DEFAULT_PATHS = (
    *(f"varpro/{room}" for room in ("search", "problems", "fitting", "train", "losses", "linalg", "statistics.py")),
    "csrc/cpu",
    "csrc/kernels",
)


def suite_of(path: str) -> tuple[str, ...]:
    """Test files and folders that are to notice a fault in a source file; all tests where no rule says which."""
    return next((tests for pattern, tests in RULES if fnmatch(path, pattern)), ("tests",))


def files(root: Path, paths: tuple[str, ...]) -> list[str]:
    """Python and C++ files at or below the paths, sorted; ValueError for a path that is not there."""
    found: set[str] = set()
    for path in paths:
        place = root / path
        if not place.exists():
            raise ValueError(f"{path} is not there; name a file or a folder below {root}")
        inside = [place] if place.is_file() else sorted(place.rglob("*"))
        found.update(str(p.relative_to(root)) for p in inside if p.suffix in (".py", ".cpp", ".hpp"))
    return sorted(found)
