"""One device that is always there, with as much memory as a test says."""

import types

FREE = [1 << 34]
"""Bytes that the device says are free."""
used = []
"""Devices chosen, in order."""


class CUDARuntimeError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


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
    def __init__(self, number=0):
        self.id = number

    def use(self):
        used.append(self.id)

    def synchronize(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class ExternalStream:
    """A stream that another library made: all of them are the host's own order here."""

    def __init__(self, ptr, device_id=-1):
        self.ptr, self.device_id = ptr, device_id

    def synchronize(self):
        pass

    def __enter__(self):
        _streams.append(self)
        return self

    def __exit__(self, *_):
        _streams.pop()


Stream = types.SimpleNamespace(null=ExternalStream(0))
_streams = [Stream.null]


def get_current_stream():
    return _streams[-1]
