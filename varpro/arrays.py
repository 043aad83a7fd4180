"""Which array library a layer runs on.  Only this module knows of CuPy."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from types import ModuleType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from varpro.errors import BackendError

Array = npt.NDArray[Any]
"""An array of any dtype; the docstrings give shape and dtype."""
ArrayLike = npt.ArrayLike
"""What a caller may pass as an array: lists, numbers, arrays of other libraries."""
Batch = TypeVar("Batch")
"""A frozen dataclass whose arrays have the problem as first axis."""


def is_device_array(a: object) -> bool:
    """Whether a is on a CUDA device, determined without importing CuPy."""
    return not isinstance(a, np.ndarray) and type(a).__module__.partition(".")[0] == "cupy"


def namespace(a: object) -> ModuleType:
    """numpy or cupy, whichever a belongs to."""
    return importlib.import_module("cupy") if is_device_array(a) else np


def to_host(a: object) -> Array:
    """a as a NumPy array, copied only if it is on a device."""
    return a.get() if is_device_array(a) else np.asarray(a)  # type: ignore[attr-defined]


def settled(a: object) -> Array:
    """to_host(a), after all streams of the device have finished, for an a from an unknown stream."""
    if is_device_array(a):
        a.device.synchronize()  # type: ignore[attr-defined]
    return to_host(a)


def cuda_available() -> bool:
    """Whether CuPy, its libraries, the kernels, a driver and at least one device are available."""
    try:
        device_namespace()
    except BackendError:
        return False
    return True


def device_namespace() -> ModuleType:
    """The module cupy, ready for use.  Raises BackendError, which names what is missing and the remedy."""
    try:
        cupy = importlib.import_module("cupy")
        importlib.import_module("cupy_backends.cuda.libs.cublas")
        importlib.import_module("cupy_backends.cuda.libs.cusolver")
    except ImportError as error:
        raise BackendError(
            f"CUDA was asked for, but CuPy or one of its libraries is not here ({_first_line(error)}); "
            "pip install 'varpro[cuda]', or use the CPU"
        ) from error
    try:
        kernels = importlib.import_module("varpro._cuda")
    except ImportError as error:
        raise BackendError(
            "CUDA was asked for, but this build of varpro has no CUDA kernels; install it again where nvcc is on the "
            "path (VARPRO_CUDA=ON tells why it fails), or use the CPU"
        ) from error
    try:
        driver = int(cupy.cuda.runtime.driverGetVersion())
        if driver // 1000 < kernels.cuda_version // 1000:
            raise BackendError(
                f"the CUDA driver is for CUDA {driver // 1000}.{driver % 1000 // 10}, the kernels need "
                f"{kernels.cuda_version // 1000}.0; install a newer driver, or use the CPU"
            )
        kernels.device_count()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(f"CUDA was asked for, but its driver does not answer ({error}); use the CPU") from error
    return cupy


def _first_line(error: Exception) -> str:
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
        xp.cuda.Device(number).use()
        return cls(number, xp)

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
            raise BackendError(f"device {self.number} has no memory left ({_first_line(error)}); {remedy}") from error

    def wait(self) -> None:
        """Wait until all work given to the device is done."""
        self.xp.cuda.Device(self.number).synchronize()


def beside(a: Array, like: object) -> Array:
    """a where `like` is, on the host or a device; unchanged if it is there already."""
    if is_device_array(like):
        return namespace(like).asarray(a)
    return to_host(a) if is_device_array(a) else a


def borrowed(a: object) -> Array:
    """The memory of another library's array on a CUDA device as a CuPy array (DLPack), not copied."""
    return device_namespace().from_dlpack(a)


@contextmanager
def working_on(device: int, stream: int) -> Iterator[None]:
    """Inside, CuPy allocates on this device, and its work and that of the kernels goes to this cudaStream_t."""
    cuda = device_namespace().cuda
    with cuda.Device(device), cuda.ExternalStream(stream, device) if stream else cuda.Stream.null:
        yield


# A batch is a frozen dataclass whose arrays all have the problem as first axis; anything that is not an array is
# shared.  Masks and orders are on the host, and so is every small array that a decision depends on; large arrays may be
# on a device.


def _map(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    if hasattr(first, "ndim"):
        return function(first, *others)
    if is_dataclass(first):
        names = [f.name for f in fields(first)]
        make: Any = type(first)
        return make(**{n: _map(function, getattr(first, n), *(getattr(o, n) for o in others)) for n in names})
    return first


def take(mask: Array, batch: Batch) -> Batch:
    """The problems where mask (b,) is True."""
    whole: Batch = batch if mask.all() else _map(lambda a: a[beside(mask, a)], batch)
    return whole


def choose(mask: Array, yes: Batch, no: Batch) -> Batch:
    """`yes` where mask (b,) is True, else `no`; not copied if one of them supplies everything."""
    if mask.all():
        return yes
    if not mask.any():
        return no

    def pick(a: Array, b: Array) -> Array:
        chosen: Array = namespace(a).where(beside(mask.reshape(-1, *[1] * (a.ndim - 1)), a), a, b)
        return chosen

    mixed: Batch = _map(pick, yes, no)
    return mixed


def scatter(mask: Array, whole: Batch, part: Batch) -> Batch:
    """`whole` with the problems where mask (b,) is True replaced by those of `part`, in order."""

    def put(a: Array, b: Array) -> Array:
        a = a.copy()
        a[beside(mask, a)] = b
        return a

    mixed: Batch = part if mask.all() else _map(put, whole, part)
    return mixed


def join(parts: list[Batch], order: Array) -> Batch:
    """The parts one after another, then reordered by `order` (B,)."""
    if len(parts) == 1:
        return parts[0]
    whole: Batch = _map(lambda *a: namespace(a[0]).concatenate(a)[beside(order, a[0])], *parts)
    return whole


def changed(batch: Batch, **arrays: Array) -> Batch:
    """The batch with some of its arrays replaced."""
    new: Batch = replace(batch, **arrays)  # type: ignore[type-var]
    return new
