"""Registers, shared memory and spills of every kernel, as the compiler reports them, against a table."""

import re
import shutil
import subprocess

import pytest

from tests.cuda.host import KERNELS

nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH: registers are its to count")
ARCHITECTURES = ("80", "90")
LOSSES = [  # kind of divergence, best weights or a gradient: 64 at most, so that four blocks of 256 threads fit
    *("order_kernel", "within_kernel", "values_kernel"),
    *(f"{name}_kernelI{dtype}E" for name in ("moments", "normalise") for dtype in "df"),
    *(f"inward_kernelI{dtype}Lb{back}E" for dtype in "df" for back in (0, 1)),
    *(f"rows_kernelILNS_10DivergenceE{kind}E{dtype}E" for kind in range(3) for dtype in "df"),
    *(
        f"weights_kernelILNS_10DivergenceE{kind}E{dtype}Lb{best}E"
        for kind in range(3)
        for dtype in "df"
        for best in (0, 1)
    ),
]
STATIC_BYTES = {
    "assemble_kernelIdd": 8192,
    "assemble_kernelIfd": 8192,
    "assemble_kernelIff": 4096,
    **{name: 2048 for name in LOSSES if name.startswith(("moments", "weights"))},
    "factor_kernel": 1536,
    "householder_kernelId": 1536,
    "householder_kernelIf": 1536,
    "reveal_kernel": 3072,
}
PRODUCTS = {  # types of D, pairs of products side by side: both where D is aligned and where it is not
    "d": [(96, 104), (128, 128), (144, 152), (168, 168)],
    "f": [(88, 96), (112, 128), (128, 128), (152, 160)],
}
CONVOLVE = {
    "d": [(32, 48), (48, 48), (48, 48), (48, 48)],
    "f": [(32, 32), (40, 40), (40, 40), (40, 48)],
}
REGISTERS = {  # name and types (d double, f float; Lb1: colours, gram): at most, on sm_80 and sm_90, in eights
    "quadratic_kernelIddLb0ELb0": (64, 64),
    "quadratic_kernelIddLb0ELb1": (80, 80),
    "quadratic_kernelIddLb1ELb0": (120, 120),
    "quadratic_kernelIddLb1ELb1": (160, 168),
    "quadratic_kernelIdfLb0ELb0": (64, 64),
    "quadratic_kernelIdfLb0ELb1": (80, 80),
    "quadratic_kernelIdfLb1ELb0": (120, 120),
    "quadratic_kernelIdfLb1ELb1": (160, 168),
    "quadratic_kernelIffLb0ELb0": (64, 64),
    "quadratic_kernelIffLb0ELb1": (80, 80),
    "quadratic_kernelIffLb1ELb0": (80, 96),
    "quadratic_kernelIffLb1ELb1": (128, 128),
    **{f"bilinear_kernelI{types}Lb0": (64, 64) for types in ("dd", "df", "ff")},
    **{f"bilinear_kernelI{types}Lb1": (80, 80) for types in ("dd", "df", "ff")},
    "gram_kernelId": (64, 64),
    "gram_kernelIf": (64, 64),
    "gram_sum_kernel": (32, 32),
    "pack_kernelId": (32, 32),
    "pack_kernelIf": (32, 32),
    "activate_kernelId": (32, 32),
    "activate_kernelIf": (32, 32),
    **{
        f"products_kernelI{dtype}Lb{aligned}ELi{pairs}": most
        for dtype, table in PRODUCTS.items()
        for pairs, most in enumerate(table, 1)
        for aligned in (0, 1)
    },
    "products_sum_kernel": (32, 32),
    **{
        f"gram_strips_kernelI{dtype}Li{apart}E": most
        for dtype in "df"
        for apart, most in {7: (128, 128), 10: (160, 160), 13: (168, 168), 16: (256, 256)}.items()
    },
    **{f"basis_kernelI{types}E": (128, 128) for types in ("dd", "fd", "ff")},
    **{f"write_kernelI{types}E": (96, 96) for types in ("dd", "fd", "ff")},
    "factor_kernel": (48, 40),
    "householder_kernelId": (40, 40),
    "householder_kernelIf": (40, 40),
    "reveal_kernel": (56, 64),
    **{  # first flag: the basis is given; second: bounds on the parameters
        f"small_fits_kernelI{dtype}Lb{given}ELb{boxed}": (128, 128)
        for dtype, given in ("d0", "d1", "f0")
        for boxed in (0, 1)
    },
    "resume_kernel": (32, 32),
    "assemble_kernelIdd": (128, 128),
    "assemble_kernelIfd": (128, 128),
    "assemble_kernelIff": (80, 80),
    **{  # values, D, along a direction, contraction
        f"convolve_kernelI{dtype}LNS1_4KindE{kind}E": most
        for dtype, table in CONVOLVE.items()
        for kind, most in enumerate(table)
    },
    "convolve_sum_kernel": (32, 32),
    **dict.fromkeys(LOSSES, (64, 64)),
}


# bytes: in double precision on sm_80 the compiler keeps to 32 and 48 registers, and a few numbers do not fit; nor do
# they where a search has bounds, whose steps one lane of a team computes
SPILLED = {
    ("convolve_kernelIdLNS1_4KindE0E", "80"): 40,
    ("convolve_kernelIdLNS1_4KindE3E", "80"): 24,
    ("small_fits_kernelIdLb0ELb1", "80"): 8,
    ("small_fits_kernelIdLb0ELb1", "90"): 24,
    ("small_fits_kernelIfLb0ELb1", "80"): 8,
    ("small_fits_kernelIfLb0ELb1", "90"): 24,
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the compiler says of each kernel and architecture; no warnings of either compiler."""
    folder, text = tmp_path_factory.mktemp("nvcc"), ""
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    for source in KERNELS:
        command = ["nvcc", "-std=c++17", "-O3", *codes, "--resource-usage", "-Werror=all-warnings"]
        command += ["-Xcompiler=-Wall,-Wextra,-Werror", "-c", str(source), "-o", str(folder / "object.o")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        text += done.stdout + done.stderr
    parts = re.split(r"Compiling entry function '(\w+)' for 'sm_(\d+)'", text)[1:]
    return {
        (next(n for n in REGISTERS if n in mangled), architecture): figures
        for mangled, architecture, figures in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def figure(text, pattern):
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


@nvcc
def test_the_table_holds_every_kernel(told):
    assert set(told) == {(name, architecture) for name in REGISTERS for architecture in ARCHITECTURES}


@nvcc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", REGISTERS)
def test_a_kernel_keeps_to_its_registers_and_memory(told, name, architecture):
    text = told[name, architecture]
    spilled = SPILLED.get((name, architecture), 0)
    assert figure(text, r"(\d+) bytes stack frame") <= spilled
    assert figure(text, r"(\d+) bytes spill stores") <= spilled
    assert 0 < figure(text, r"Used (\d+) registers") <= REGISTERS[name][ARCHITECTURES.index(architecture)]
    assert figure(text, r"(\d+) bytes smem") == STATIC_BYTES.get(name, 0)
