"""`import varpro` loads nothing but itself, and the public names are there when they are asked for."""

import ast
import os
import subprocess
import sys
from importlib import import_module

import varpro

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


def loaded_by(code, modules):
    """Those of modules that a fresh interpreter has loaded after it ran code."""
    code = f"import sys; {code}; print(*[m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_import_loads_numpy_and_scipy_alone():
    assert loaded_by("import varpro, varpro.losses; varpro.fit, varpro.models", OPTIONAL) == []


def test_threads_of_blas_are_told_to_sleep_before_a_program_loads_it():
    name = "OPENBLAS_THREAD_TIMEOUT"
    plain = {key: value for key, value in os.environ.items() if key != name}
    code = f"import os, sys; import varpro.cli; print(os.environ.get({name!r}), 'numpy' in sys.modules)"
    for given, expected in (({}, "14"), ({name: "20"}, "20")):  # what the user has set counts
        done = subprocess.run(
            [sys.executable, "-c", code], env=plain | given, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.split() == [expected, "False"], done.stderr
    code = f"import os, varpro; varpro.fit; print(os.environ.get({name!r}))"  # a library leaves the process as it is
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["None"], done.stderr


def test_import_waits_with_numpy_scipy_and_the_kernels():
    late = ("numpy", "scipy", "varpro._cpu")
    assert loaded_by("import varpro", late) == []
    assert loaded_by("import varpro; varpro.fit", late) == list(late)


def test_a_training_loads_what_it_draws_with_when_it_draws():
    """Every rank would pay for it, in seconds and in memory that `--dry-run` does not count."""
    late = ("matplotlib", "jinja2", "scipy.stats", "scipy.signal", "torch", "onnx")
    code = "import varpro.cli._train_job, varpro.train.scalarized.trainer, varpro.train.scalarized.prune"
    assert loaded_by(code, late) == []


def test_every_public_name_is_there():
    assert all(hasattr(varpro, name) for name in varpro.__all__)
    assert set(varpro.__all__) <= set(dir(varpro))


def test_a_public_name_is_the_same_object_at_every_look():
    assert all(getattr(varpro, name) is getattr(varpro, name) for name in varpro.__all__)


def test_a_name_that_does_not_exist_is_told_as_python_tells_it():
    assert not hasattr(varpro, "fits")


def test_what_a_type_checker_sees_is_what_a_program_gets():
    with open(varpro.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in varpro.__all__
    }
    assert seen.keys() >= {"fit", "Status", "models"}
    for name, module in seen.items():
        home = import_module(module)
        expected = import_module(f"{module}.{name}") if module == "varpro" else getattr(home, name)
        assert getattr(varpro, name) is expected
