"""What `import varpro` loads: numpy and scipy, nothing else."""

import subprocess
import sys

OPTIONAL = (
    "yaml",
    "pydantic",
    "h5py",
    "matplotlib",
    "mpi4py",
    "rich",
    "sklearn",
    "torch",
    "cupy",
    "threadpoolctl",
    "pandas",
)


def test_import_loads_numpy_and_scipy_alone():
    code = f"import sys, varpro, varpro.losses; print(*[m for m in {OPTIONAL} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_every_public_name_is_there():
    import varpro

    assert all(hasattr(varpro, name) for name in varpro.__all__)
