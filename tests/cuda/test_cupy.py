"""The real CuPy, which imports without a GPU: the names, signatures and messages that varpro relies on; the stand-in.

No stand-in can show any of this.  Without CuPy the tests are skipped and say so; CI installs it where it can be had.
"""

import importlib
import importlib.util
import inspect
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tests.cuda import cupy_signatures
from tests.cuda.host import ROOT
from varpro import arrays
from varpro.config.scalarized import parse_config
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import BackendError
from varpro.kernels import vendor
from varpro.train.scalarized.backend import choose_place

STAND_IN = ROOT / "tests/cuda/stand_in"
USES = cupy_signatures.uses(ROOT / "varpro", ROOT / "bench")


@pytest.fixture(scope="module")
def cupy():
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed: `pip install 'varpro[cuda]'` has its names compared, no GPU is needed")
    return importlib.import_module("cupy")


@pytest.fixture(scope="module")
def libraries(cupy):
    """cuBLAS and cuSOLVER as the package reaches them."""
    try:
        return {"cublas": cupy.cuda.cublas, "cusolver": cupy.cuda.cusolver}
    except ImportError as error:
        pytest.skip(f"CuPy is installed without CUDA's libraries, [ctk] brings them: {error}")


@pytest.fixture(scope="module")
def stand_in():
    """The stand-in's tables, without the stand-in: two modules of one name do not live side by side."""
    spec = importlib.util.spec_from_file_location("stand_in_names", STAND_IN / "cupy/_names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(module, name):
    for part in name.split("."):
        module = getattr(module, part)
    return module


@pytest.mark.parametrize("name", USES)
def test_every_name_that_the_package_reaches_is_there(cupy, request, name):
    if ".cublas" in name or ".cusolver" in name:
        request.getfixturevalue("libraries")
    assert found(cupy, name) is not None, f"used at {USES[name][0][0]}"


CALLS = [(name, place, call) for name, where in USES.items() for place, call in where if call is not None]


@pytest.mark.parametrize(("name", "place", "call"), CALLS, ids=[f"{name} at {place}" for name, place, _ in CALLS])
def test_every_call_has_arguments_that_cupy_takes(cupy, request, name, place, call):
    if ".cublas" in name or ".cusolver" in name:
        request.getfixturevalue("libraries")
    function = found(cupy, name)
    function = function.__init__ if isinstance(function, type) else function  # a compiled one tells only * and **
    known = cupy_signatures.parameters(function)
    given = [k.arg for k in call.keywords if k.arg is not None]
    assert "**" in known or set(given) <= set(known), f"{place}: {name}({known})"
    if "*" not in known and not any(type(a).__name__ == "Starred" for a in call.args):
        assert len(call.args) <= len(known), f"{place}: {name}({known})"


@pytest.mark.parametrize("table", ["FUNCTIONS", "LINALG", "METHODS"])
def test_the_stand_in_takes_the_arguments_of_the_real_one(cupy, stand_in, table):
    owner = {"FUNCTIONS": cupy, "LINALG": cupy.linalg, "METHODS": cupy.ndarray}[table]
    told = getattr(stand_in, table)
    assert told == {name: " ".join(cupy_signatures.parameters(getattr(owner, name))) for name in told}
    assert all(hasattr(cupy, name) for name in stand_in.OPERATORS)


LISTED = """
import sys
sys.path.insert(0, sys.argv[1])
import cupy
def public(thing):
    return sorted(n for n in vars(thing) if not n.startswith("_"))
print(public(cupy.ndarray))
print([f"{k}.{n}" for k in ("Device", "Stream", "memory", "device", "runtime") for n in public(getattr(cupy.cuda, k))])
"""


def test_the_stand_in_has_no_attribute_that_the_real_one_lacks(cupy):
    done = subprocess.run(
        [sys.executable, "-c", LISTED, str(STAND_IN)], capture_output=True, text=True, timeout=120, check=True
    )
    of_arrays, of_cuda = map(eval, done.stdout.splitlines())
    assert [name for name in of_arrays if not hasattr(cupy.ndarray, name)] == ["fetched"]  # what tests look at
    assert len(of_cuda) > 12
    for name in of_cuda:
        if name not in ("Device.id", "Stream.ptr"):  # set when made
            found(cupy.cuda, name)


@pytest.mark.parametrize("name", ["cublas", "cusolver"])
def test_the_vendors_functions_have_the_parameters_of_the_real_ones(libraries, name, monkeypatch):
    """The tests on the stand-in then show that each call of the package has as many arguments as the library wants."""
    monkeypatch.syspath_prepend(str(STAND_IN / "cupy_backends/cuda/libs"))
    source = (STAND_IN / f"cupy_backends/cuda/libs/{name}.py").read_text().replace("cupy_backends.cuda.libs.", "")
    module = types.ModuleType(f"stand_in_{name}")
    exec(compile(source, name, "exec"), module.__dict__)
    functions = {n: f for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__}
    public = {n: f for n, f in functions.items() if not n.startswith("_")}
    assert public
    for function, mine in public.items():
        theirs = getattr(libraries[name], function)
        assert cupy_signatures.parameters(theirs) == list(inspect.signature(mine).parameters), function
        with pytest.raises(TypeError, match=rf"exactly {len(inspect.signature(mine).parameters)} positional"):
            theirs()
    for constant, value in vars(module).items():
        if constant.startswith("CUBLAS"):
            assert getattr(libraries[name], constant) == value


def test_the_mode_that_the_bindings_do_not_name_is_the_header_s(libraries):
    """If they come to name it, the package should use the name."""
    assert not hasattr(libraries["cublas"], "CUBLAS_TF32_TENSOR_OP_MATH")
    headers = [p for root in sys.path if root for p in Path(root).glob("nvidia/*/include/cublas_api.h")]
    if not headers:
        pytest.skip("cublas_api.h is not installed: the number cannot be compared")
    assert f"CUBLAS_TF32_TENSOR_OP_MATH = {vendor.TF32_MATH}," in headers[0].read_text()


@pytest.fixture
def there(cupy):
    """A CuPy array over the host's memory: enough for what it refuses before it would need a device."""
    host = np.arange(6.0)
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
    return cupy.ndarray((6,), dtype=np.float64, memptr=cupy.cuda.MemoryPointer(memory, 0))


def test_an_array_is_known_by_its_type(there):
    assert arrays.is_device_array(there)
    assert arrays.namespace(there).__name__ == "cupy"
    assert there.flags.c_contiguous
    assert isinstance(there.data.ptr, int)
    assert there.device.id == 0


@pytest.mark.parametrize(
    "mix",
    [
        lambda xp, a: np.asarray(a),
        lambda xp, a: np.stack([a, np.ones(6)]),
        lambda xp, a: xp.stack([a, np.ones(6)]),
        lambda xp, a: xp.ascontiguousarray(np.ones(6)),
        lambda xp, a: xp.matmul(a, np.ones(6)),
        lambda xp, a: np.sum(a, where=np.ones(6, dtype=bool)),
    ],
    ids=["implicit copy", "NumPy's stack", "stack", "contiguous", "matmul", "an option it does not have"],
)
def test_what_leaves_the_device_is_a_type_error(cupy, there, mix):
    """search.device turns these into words for the author of a model."""
    with pytest.raises(TypeError):
        mix(cupy, there)


def test_errors_are_made_and_caught_as_on_the_stand_in(cupy):
    full = cupy.cuda.memory.OutOfMemoryError(10, 5)
    assert isinstance(full, MemoryError)
    assert "Out of memory allocating 10 bytes (allocated so far: 5 bytes)" in str(full)
    assert isinstance(cupy.cuda.runtime.CUDARuntimeError(35), RuntimeError)
    with pytest.raises(TypeError):
        cupy.cuda.runtime.CUDARuntimeError("insufficient driver")


def test_the_stream_of_another_library_is_taken_without_a_deprecation(cupy, recwarn):
    stream = cupy.cuda.Stream.from_external(arrays._Lent(77))
    assert stream.ptr == 77
    assert not [w for w in recwarn if issubclass(w.category, DeprecationWarning)]


def test_version_and_libraries_suffice(cupy, libraries):
    assert arrays._cupy() is cupy


@pytest.fixture
def without_gpu(cupy):
    try:
        if cupy.cuda.runtime.getDeviceCount():
            pytest.skip("a GPU is here: what is said without one cannot be seen")
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return str(error)


def kernels(**changes):
    return types.SimpleNamespace(cuda_version=13000, architectures="90-real", device_count=lambda: 1, **changes)


def test_without_a_driver_the_driver_is_named_and_not_cupy(without_gpu, libraries, monkeypatch):
    """As far as a machine without a GPU goes: CuPy, its libraries and the kernels are there."""
    monkeypatch.setitem(sys.modules, "varpro._cuda", kernels())
    monkeypatch.setattr("varpro._cuda", kernels(), raising=False)
    with pytest.raises(BackendError, match=r"no CUDA driver, the kernels need 13\.0"):
        arrays.device_namespace()


def test_auto_says_why_it_took_the_cpu(without_gpu):
    config = parse_config({"data": {"source": "digits"}, "subnetworks": 2, "units": 3, "samples": 50}, "test")
    place = choose_place(config, SerialCommunicator())
    assert place.device is None
    assert "driver" in place.why_cpu or "no CUDA kernels" in place.why_cpu or "no CUDA device" in place.why_cpu
    assert "use the CPU" not in place.why_cpu
