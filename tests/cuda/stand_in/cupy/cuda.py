"""One device that is always there, with as much memory as a test says."""

import types

from cupy_backends.cuda.libs import cublas, cusolver

FREE = [1 << 34]
"""Bytes that the device says are free."""
used = []
"""Devices chosen, in order."""


class CUDARuntimeError(RuntimeError):
    """Made from the runtime's number of an error."""

    def __init__(self, status):
        super().__init__(f"cudaError{int(status)}")


class OutOfMemoryError(MemoryError):
    def __init__(self, size, total, limit=0):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


runtime = types.SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=lambda: 1,
    memGetInfo=lambda: (FREE[0], 1 << 34),
    driverGetVersion=lambda: 13000,
    getDeviceProperties=lambda number: {"name": b"stand-in"},
)
memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
device = types.SimpleNamespace(get_cublas_handle=lambda: 1, get_cusolver_handle=lambda: 2)


class Device:
    compute_capability = "90"

    def __init__(self, device=0):
        self.id = device

    def use(self):
        used.append(self.id)

    def synchronize(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class Stream:
    """All streams are the host's own order here."""

    null = None

    def __init__(self, ptr):
        self.ptr = ptr

    @classmethod
    def from_external(cls, obj):
        """The stream of an object with the CUDA stream protocol."""
        version, ptr = obj.__cuda_stream__()
        assert version == 0, "the protocol has another version"
        return cls(ptr)

    def synchronize(self):
        pass

    def __enter__(self):
        _streams.append(self)
        return self

    def __exit__(self, *_):
        _streams.pop()


Stream.null = Stream(0)
_streams = [Stream.null]


def get_current_stream():
    return _streams[-1]


__all__ = ["Device", "Stream", "cublas", "cusolver", "device", "get_current_stream", "memory", "runtime"]
