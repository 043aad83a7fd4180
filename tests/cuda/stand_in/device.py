"""A device that is the host: the CUDA kernels compiled for the CPU as varpro._cuda, and the stand-in for CuPy."""

import contextlib
import importlib
import importlib.util
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import varpro

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FLAGS = ["-std=c++20", "-O1", "-fPIC", "-fvisibility=hidden", "-w"]


def build(folder: Path, compiler: str) -> Path:
    """varpro._cuda from the kernels' own sources, for the host."""
    import pybind11

    sources = [*sorted((ROOT / "csrc/cuda").glob("*.cu")), *sorted((ROOT / "csrc/cuda/host").glob("*.cpp"))]
    sources += sorted((ROOT / "csrc/bindings/cuda").glob("*.cpp"))
    include = [HERE / "include", pybind11.get_include(), sysconfig.get_paths()["include"]]

    options = [f"-I{path}" for path in include]
    # pybind11's headers take longer than all that is made of them: they are read once, and their code, which passes
    # arguments on, need not be fast
    shared = folder / "shared.hpp"
    shared.write_text(f'#include "{ROOT / "csrc/bindings/cuda/cuda.hpp"}"\n')
    header = ["-O0", "-x", "c++-header", *options, str(shared), "-o", f"{shared}.gch"]
    subprocess.run([compiler, *FLAGS, *header], check=True)

    def compiled(source: Path) -> Path:
        out = folder / f"{source.name}.o"
        binding = ["-O0", "-include", str(shared)] if source.parent.parent.name == "bindings" else []
        command = [*FLAGS, *binding, "-x", "c++", *options, "-c", str(source), "-o", str(out)]
        subprocess.run([compiler, *command], check=True)
        return out

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources))
    module = folder / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([compiler, "-shared", *map(str, objects), "-o", str(module)], check=True)
    return module


@contextlib.contextmanager
def installed(module: Path):
    """The stand-in for CuPy, and the module built above, as Python finds them; all taken away again after."""
    names = ("cupy", "cupy_backends", "varpro._cuda")
    before = {k: v for k, v in sys.modules.items() if k in names or k.startswith(("cupy.", "cupy_backends."))}
    attribute = getattr(varpro, "_cuda", None)
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(HERE))
    # Under a name of its own: pybind11 returns the module that it first made under a name, which may be that for a GPU.
    spec = importlib.util.spec_from_file_location("on_host._cuda", module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    sys.modules["varpro._cuda"] = varpro._cuda = loaded
    try:
        yield importlib.import_module("cupy")
    finally:
        sys.path.remove(str(HERE))
        for name in [k for k in sys.modules if k in names or k.startswith(("cupy.", "cupy_backends."))]:
            del sys.modules[name]
        sys.modules.update(before)
        if attribute is None:
            del varpro._cuda
        else:
            varpro._cuda = attribute
