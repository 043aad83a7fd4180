# make demo    set up, train on the embedded digits on two ranks, and say where the report is
# make test    set up, run the tests (PYTEST_ARGS=...)
# make bench   time the kernels against their references (BENCH_ARGS=--quick)
# make lint    ruff, mypy, clang-format
# make docs    build the documentation into build/docs, warnings as errors
# make wheel   build a wheel for other machines into dist/ (VARPRO_CUDA=ON with the CUDA kernels)
# make clean   remove everything that these made
#
# PYTHON=python3.12   another interpreter, 3.11 or later
# RANKS=4             ranks of the demo
# MPI=site            use the mpicc and mpirun on PATH; MPI=none runs serially.
#                     By default MPI comes with pip, into the virtual environment only.

PYTHON ?= python3
MPI    ?= wheel
RANKS  ?= 2
VENV   ?= .venv$(patsubst %,-%,$(filter-out wheel,$(MPI)))

ifeq ($(filter wheel site none,$(MPI)),)
  $(error MPI=$(MPI) is not known: use MPI=wheel, MPI=site or MPI=none)
endif
EXTRAS_wheel := train,mpi,test
EXTRAS_site  := train,test
EXTRAS_none  := train,test
LAUNCH_wheel := $(VENV)/bin/mpirun -n $(RANKS)
LAUNCH_site  := mpirun -n $(RANKS)

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check --quiet
KERNELS := $(shell find csrc -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh')

.DELETE_ON_ERROR:
.PHONY: demo test bench lint docs wheel clean

demo: $(VENV)/.package
	$(LAUNCH_$(MPI)) $(BIN)/varpro-train digits.yaml --output runs/digits --overwrite
	@echo "The report: $(CURDIR)/runs/digits/report.html"

PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest
ifeq ($(strip $(PYTEST_ARGS)),)
# The kernels, with those of CUDA on the host, take as long as all the rest: both at once, the first told when it ends.
test: $(VENV)/.package
	@$(PYTEST) tests/cuda tests/kernels -p no:cacheprovider >$(VENV)/kernel-tests.log 2>&1 & kernels=$$!; \
	trap 'kill $$kernels' INT TERM; \
	$(PYTEST) --ignore tests/cuda --ignore tests/kernels; rest=$$?; wait $$kernels; code=$$?; \
	printf '\n== tests/cuda tests/kernels\n'; cat $(VENV)/kernel-tests.log; exit $$((rest | code))
else
test: $(VENV)/.package
	$(PYTEST) $(PYTEST_ARGS)
endif

bench: $(VENV)/.package
	$(BIN)/varpro-bench $(BENCH_ARGS)

lint: $(VENV)/.linters
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(KERNELS)

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html -d build/doctrees docs build/docs
	@echo "The documentation: $(CURDIR)/build/docs/index.html"

# build/lib: what an earlier build left there would go into the wheel
wheel: $(VENV)/.wheel
	rm -rf build/lib* build/wheel dist
	@mkdir -p build
	VARPRO_CUDA=$${VARPRO_CUDA:-OFF} $(BIN)/python -m build --wheel --outdir build/wheel . >build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m auditwheel repair --wheel-dir dist build/wheel/*.whl
	$(BIN)/python -m auditwheel show dist/*.whl

clean:
	rm -rf docs/gallery docs/api/generated docs/sg_execution_times.rst
	rm -rf .venv .venv-site .venv-none build dist runs *.egg-info varpro/_cpu*.so varpro/_cuda*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Set-up in steps.  Each leaves a stamp, and runs again only when what it depends on has changed.

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "varpro: $(PYTHON) was not found: install Python 3.11 or later, or give PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "varpro: Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): give PYTHON=/path/to/newer" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "varpro: $(PYTHON) cannot make virtual environments: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.compiler: | $(VENV)/.python
	@command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || { echo "varpro: no C++ compiler was found: apt install g++, or set CXX" >&2; exit 1; }
	@$(BIN)/python -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { echo "varpro: Python.h was not found: apt install python3-dev" >&2; exit 1; }
ifeq ($(MPI),site)
	@command -v mpicc >/dev/null || { echo "varpro: MPI=site needs mpicc on PATH: module load the site's MPI, or apt install libopenmpi-dev" >&2; exit 1; }
endif
	@touch $@

$(VENV)/.package: pyproject.toml setup.py CMakeLists.txt $(wildcard cmake/*) $(KERNELS) | $(VENV)/.compiler
	@echo "Installing varpro into $(VENV): downloads its libraries and compiles the kernels, a minute or two"
	$(PIP) install --editable '.[$(EXTRAS_$(MPI))]'
ifeq ($(MPI),site)
	$(PIP) install --no-binary mpi4py 'mpi4py>=4.0'
endif
	@touch $@

# The packages of one extra, without a second build of varpro itself.
EXTRA_linters := dev
EXTRA_docs    := docs
EXTRA_wheel   := wheel

$(VENV)/.linters $(VENV)/.docs $(VENV)/.wheel: $(VENV)/.%: $(VENV)/.package
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$(EXTRA_$*)"], sep="\n")' > $(VENV)/$*.txt
	$(PIP) install --requirement $(VENV)/$*.txt
	@touch $@
