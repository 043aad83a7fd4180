"""Which array library a layer runs on.  Only this module knows of CuPy."""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from varpro.errors import BackendError

Array = npt.NDArray[Any]
"""An array of any dtype; the docstrings give shape and dtype."""
ArrayLike = npt.ArrayLike
"""What a caller may pass as an array: lists, numbers, arrays of other libraries."""

CUPY = 14
"""The oldest major version of CuPy: earlier ones have no ndarray.mT, and bring no libraries of CUDA 13."""


def is_device_array(a: object) -> bool:
    """Whether a is on a CUDA device, determined without importing CuPy."""
    return not isinstance(a, np.ndarray) and type(a).__module__.partition(".")[0] == "cupy"


def namespace(a: object) -> ModuleType:
    """numpy or cupy, whichever a belongs to."""
    return importlib.import_module("cupy") if is_device_array(a) else np


def to_host(a: object) -> Array:
    """a as a NumPy array, copied only if it is on a device."""
    return a.get() if is_device_array(a) else np.asarray(a)  # type: ignore[attr-defined]


ON_HOST = (type(None), bool, int, float, complex, str, np.ndarray)
"""What needs no further look: asking whether something is a Mapping takes a microsecond."""


def as_array(a: ArrayLike) -> Array:
    """a unchanged if it is on a device, else as a NumPy array."""
    return a if is_device_array(a) else np.asarray(a)  # type: ignore[return-value]


def on_host(value: Any) -> Any:
    """value with the device arrays in it, also in tuples, lists and mappings, as NumPy arrays; all else unchanged."""
    if isinstance(value, ON_HOST):
        return value
    if isinstance(value, (tuple, list)):
        items = [on_host(item) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else tuple(items) if isinstance(value, tuple) else items
    if is_device_array(value):
        return to_host(value)
    if isinstance(value, Mapping):
        moved = {key: on_host(item) for key, item in value.items()}
        return moved if any(moved[key] is not value[key] for key in moved) else value
    return value


def largest(a: Array) -> float:
    """The largest absolute value in a, 0 if a is empty; waits for a device."""
    return float(abs(a).max()) if a.size else 0.0


def settled(a: object) -> Array:
    """to_host(a), after all streams of the device have finished, for an a from an unknown stream."""
    if is_device_array(a):
        settle(a)
    return to_host(a)


def settle(a: object) -> None:
    """Wait until all streams of the device of a have finished."""
    a.device.synchronize()  # type: ignore[attr-defined]


def cupy_installed() -> bool:
    """Whether CuPy could be imported, determined without importing it."""
    return importlib.util.find_spec("cupy") is not None


def cuda_available() -> bool:
    """Whether CuPy, its libraries, the kernels, a driver and at least one device are available."""
    try:
        device_namespace()
    except BackendError:
        return False
    return True


def device_namespace() -> ModuleType:
    """The module cupy, ready for use.  Raises BackendError, which names what is missing and the remedy.

    What is cheap to find missing comes first: CuPy takes a second to import.
    """
    if not cupy_installed():
        raise BackendError("CUDA was asked for, but CuPy is not installed; pip install 'varpro[cuda]', or use the CPU")
    kernels = _kernels()
    kernels.device_count()
    cupy = _cupy()
    driver, needed = int(cupy.cuda.runtime.driverGetVersion()), kernels.cuda_version // 1000
    if driver // 1000 < needed:
        found = f"the CUDA driver is for CUDA {driver // 1000}.{driver % 1000 // 10}" if driver else "no CUDA driver"
        raise BackendError(f"{found}, the kernels need {needed}.0; install a newer driver, or use the CPU")
    return cupy


def _kernels() -> ModuleType:
    try:
        return importlib.import_module("varpro._cuda")
    except ImportError as error:
        raise BackendError(
            "CUDA was asked for, but this build of varpro has no CUDA kernels; install it again where nvcc is on the "
            "path (VARPRO_CUDA=ON tells why it fails), or use the CPU"
        ) from error


def _cupy() -> ModuleType:
    """cupy with cuBLAS and cuSOLVER.  Its attributes find the libraries; importing its modules by path does not."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise BackendError(f"CuPy is installed but does not import ({first_line(error)}); or use the CPU") from error
    if int(cupy.__version__.partition(".")[0]) < CUPY:
        raise BackendError(
            f"CuPy {cupy.__version__} is installed, varpro needs {CUPY}; pip install 'varpro[cuda]', or use the CPU"
        )
    for library in ("cublas", "cusolver"):
        try:
            getattr(cupy.cuda, library)
        except ImportError as error:
            raise BackendError(
                f"CuPy is installed, but finds no {library} ({first_line(error)}); "
                "pip install 'cupy-cuda13x[ctk]' brings it, or set CUDA_PATH to a toolkit; or use the CPU"
            ) from error
    return cupy


def runs_on(capability: str, architectures: str) -> bool:
    """Whether a device of this compute capability ("90") can run code built for these ("80-real 90-real 90-virtual").

    Machine code runs within its major version from its own minor one on, PTX on all later devices.  Names that tell no
    number (native, all) are taken to fit.
    """
    device = int(capability)
    for name in architectures.split():
        number, _, kind = name.partition("-")
        if not number.isdigit():
            return True
        same = int(number) // 10 == device // 10
        if int(number) <= device and (same or kind != "real"):
            return True
    return False


def first_line(error: Exception) -> str:
    """The first line of an exception's message."""
    return str(error).partition("\n")[0]


@dataclass(frozen=True)
class Device:
    """A GPU that this process computes on."""

    number: int
    xp: ModuleType
    """The module cupy."""

    @classmethod
    def choose(cls, number: int | None = None, local_rank: int = 0) -> Self:
        """Device `number`, or that of this rank: the ranks of a node take its devices in turn.  Raises BackendError."""
        xp = device_namespace()
        count = int(xp.cuda.runtime.getDeviceCount())
        if number is None:
            number = local_rank % count
        if not 0 <= number < count:
            raise BackendError(f"CUDA device {number} was asked for, but there are {count}, numbered from 0")
        made = cls(number, xp)
        made._require_code()
        xp.cuda.Device(number).use()
        return made

    def _require_code(self) -> None:
        """Raise BackendError if the kernels were not built for this device: the first launch would fail."""
        capability, built = str(self.xp.cuda.Device(self.number).compute_capability), str(_kernels().architectures)
        if not runs_on(capability, built):
            raise BackendError(
                f"device {self.number} ({self.name}) has compute capability {capability[:-1]}.{capability[-1]}, the "
                f"kernels were built for {built}; build varpro with CMAKE_ARGS=-DCMAKE_CUDA_ARCHITECTURES="
                f"{capability} (80 or later), or use the CPU"
            )

    def put(self, a: ArrayLike) -> Array:
        """a on this device, C-contiguous; not copied if it is there already."""
        return self.xp.ascontiguousarray(self.xp.asarray(a))

    @property
    def free_bytes(self) -> int:
        """The memory that is free now, including what the pool holds but does not use."""
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free) + int(self.xp.get_default_memory_pool().free_bytes())

    @property
    def name(self) -> str:
        """The name that the driver reports."""
        name = self.xp.cuda.runtime.getDeviceProperties(self.number)["name"]
        return name.decode() if isinstance(name, bytes) else str(name)

    @contextmanager
    def told_when_full(self, remedy: str) -> Iterator[None]:
        """Raise BackendError with the device's own words and the remedy if an allocation inside fails."""
        try:
            yield
        except self.xp.cuda.memory.OutOfMemoryError as error:
            raise BackendError(f"device {self.number} has no memory left ({first_line(error)}); {remedy}") from error

    @contextmanager
    def current(self) -> Iterator[None]:
        """Inside, this thread computes on this device; a new thread computes on the first one."""
        with self.xp.cuda.Device(self.number):
            yield

    def wait(self) -> None:
        """Wait until all work given to the device is done."""
        self.xp.cuda.Device(self.number).synchronize()


def beside(a: Array, like: object) -> Array:
    """a where `like` is, on the host or a device; unchanged if it is there already."""
    if is_device_array(like):
        return namespace(like).asarray(a)
    return to_host(a) if is_device_array(a) else a


class Twin:
    """An array of the host, and a copy of it on this process's device from when it is first needed there."""

    def __init__(self, here: Array) -> None:
        self.here = here
        self._there: Array | None = None

    def beside(self, like: object) -> Array:
        """The one that is where `like` is; not to be changed."""
        if not is_device_array(like):
            return self.here
        if self._there is None:
            self._there = beside(self.here, like)
        return self._there


def borrowed(a: object) -> Array:
    """The memory of another library's array on a CUDA device as a CuPy array (DLPack), not copied."""
    return device_namespace().from_dlpack(a)


@contextmanager
def working_on(device: int, stream: int) -> Iterator[None]:
    """Inside, CuPy allocates on this device, and its work and that of the kernels goes to this cudaStream_t."""
    cuda = device_namespace().cuda
    with cuda.Device(device), cuda.Stream.from_external(_Lent(stream)) if stream else cuda.Stream.null:
        yield


@dataclass(frozen=True)
class _Lent:
    """A stream of another library, by the CUDA stream protocol."""

    stream: int

    def __cuda_stream__(self) -> tuple[int, int]:
        """Version of the protocol, and the cudaStream_t."""
        return 0, self.stream
