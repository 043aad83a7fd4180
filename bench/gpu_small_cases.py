"""Every CUDA kernel once at small, odd sizes: what compute-sanitizer is shown.  Checked against the references, too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gpu_kernels import Size, cases

from varpro.arrays import Device


def main() -> int:
    device, wrong = Device.choose(), 0
    for size in (Size(3, 61, 7, 5, 3), Size(1, 33, 5, 1, 1), Size(2, 130, 9, 17, 10)):
        for case in cases(device, size):
            case.run()
            error = case.error()
            device.wait()
            if not error <= case.tolerance:
                print(f"{case.kernel}, {case.name}, {case.dtype}: error {error:.1e} above {case.tolerance:.0e}")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
