"""The CUDA kernels compiled for the host, under the address and undefined-behaviour sanitizers, as a program."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHIM = [ROOT / "csrc/cuda/host/cuda_host.cpp", ROOT / "csrc/cuda/host/fiber.cpp"]
PROJECTOR = ("projector", "projector_factor", "projector_reveal", "projector_rows")
KERNELS = [
    ROOT / "csrc/cuda" / f"{name}.cu"
    for name in (
        "class_moments",
        "convolve",
        "gauss_newton",
        "inward_scale",
        "jacobian_products",
        *PROJECTOR,
        "scalarize_bilinear",
        "scalarize_gram",
        "scalarize_quadratic",
        "scalarize_values",
        "small_fits",
        "softmax_divergence",
    )
]
DRIVER = [
    ROOT / "tests/cuda" / name
    for name in ("driver.cpp", "driver_convolve.cpp", "driver_losses.cpp", "driver_small_fits.cpp", "shim_kernels.cu")
]
SOURCES = [*KERNELS, *SHIM, *DRIVER]
FLAGS = ["-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
ORDERS = (0, 1, 2, 3, 4)  # forward, backward, three random
UNWRITTEN = 0xCD


def compiler() -> str | None:
    names = [name for name in (os.environ.get("CXX"), "g++", "c++") if name]
    return next(filter(None, map(shutil.which, names)), None)


def compile_sources(sources: list[Path], folder: Path, *flags: str) -> None:
    """An object of each source into the folder, two at a time."""

    def compiled(source: Path) -> None:
        out = folder / f"{source.name}.o"
        command = [str(compiler()), *FLAGS, *SANITIZERS, *flags, "-x", "c++", "-c", str(source), "-o", str(out)]
        subprocess.run(command, check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compiled, sources))


def link(objects: list[Path], program: Path) -> Path:
    subprocess.run([str(compiler()), *SANITIZERS, *map(str, objects), "-o", str(program)], check=True)
    return program


class KernelError(RuntimeError):
    """The program has ended with an error: a divergent barrier, or what a sanitizer has found."""


@dataclass(frozen=True)
class Driver:
    program: Path
    folder: Path

    def __call__(self, kernel: str, *, orders=ORDERS, drop: str | None = None, seconds=120, **arguments) -> list[bytes]:
        """What the kernel wrote, for each order.  Arrays among the arguments go through files; None is left out.

        Raises KernelError, also where it has not ended after `seconds`: without a barrier a loop may have no end.
        """
        words = [f"orders={','.join(map(str, orders))}", f"out={self.folder / 'out'}"]
        if drop:
            words.append(f"drop={drop}")
        for key, value in arguments.items():
            if isinstance(value, np.ndarray):
                (self.folder / key).write_bytes(np.ascontiguousarray(value).tobytes())
                words.append(f"{key}={self.folder / key}")
            elif value is not None:
                words.append(f"{key}={value if isinstance(value, float) else int(value)}")
        settings = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
        command = [str(self.program), kernel, *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise KernelError(f"{kernel} has not ended after {seconds} s") from error
        if done.returncode != 0:
            raise KernelError(done.stderr)
        written = (self.folder / "out").read_bytes()
        size = len(written) // len(orders)
        return [written[k * size : (k + 1) * size] for k in range(len(orders))]


def barriers(name: str, folder: str = "csrc/cuda", suffix: str = "cu") -> list[str]:
    """Every barrier of a kernel's source as "file:line"."""
    source = ROOT / folder / f"{name}.{suffix}"
    lines = source.read_text().splitlines()
    return [f"{source.name}:{n}" for n, line in enumerate(lines, 1) if re.search(r"__sync(threads|warp)\(\)", line)]


def same_in_every_order(results: list[bytes]) -> bytes:
    assert all(result == results[0] for result in results), "the order of threads or blocks shows in the result"
    return results[0]
