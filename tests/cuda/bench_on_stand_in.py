"""bench/gpu.py with the device of the tests: MODULE (varpro._cuda for the host), then the program's own arguments."""

import sys
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / name) for name in (".", "bench")]

if __name__ == "__main__":
    from tests.cuda.stand_in.device import installed

    with installed(Path(sys.argv[1])):
        import gpu

        from varpro.train.scalarized import trainer
        from varpro.train.scalarized.device_subnetworks import device_gemm_gflops

        trainer.device_gemm_gflops = partial(device_gemm_gflops, size=64)
        del sys.argv[1]
        raise SystemExit(gpu.main())
