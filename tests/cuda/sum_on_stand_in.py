"""A sum over ranks of an array on the stand-in's device, by an MPI that reads it (1) or does not (0)."""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE / "stand_in")]

if __name__ == "__main__":
    import cupy

    from varpro.distributed import world
    from varpro.linalg.row_sums import over_ranks

    comm = world()
    assert not comm.reads_devices, "this MPI was built without CUDA"
    comm.reads_devices = sys.argv[1] == "1"
    part = cupy.asarray(np.arange(6.0).reshape(2, 3) + comm.rank)
    total = over_ranks(part, comm)
    assert isinstance(total, cupy.ndarray)
    assert (total is part) == comm.reads_devices
    assert cupy.ndarray.fetched == ([] if comm.reads_devices else [6]), "what was copied to the host"
    assert np.array_equal(total.get(), 2 * np.arange(6.0).reshape(2, 3) + 1)
