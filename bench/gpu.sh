#!/usr/bin/env bash
# Proof and figures on a machine with a GPU, in one call that ends by itself inside nine minutes: builds for its one
# architecture, checks and times every kernel, trains, runs the tests on the device, looks for bad accesses and races.
#   GPU_RESULTS   folder of the results (default bench/results): gpu.json, gpu.md and gpu.log, written as they are known.
#                 Called again with the same folder, it goes on with what is missing there.
#   GPU_SECONDS   how long it may take (default 525)
#   WHEELS        folder of wheels for what Python lacks, since there is no network: numpy, scipy, threadpoolctl,
#                 pybind11, cmake, ninja, setuptools; pytest, pytest-timeout, hypothesis for the tests; those of
#                 varpro[train] for training
#   PYTHON        interpreter with CuPy (default python3)
#   VARPRO_DATA   folder of the data sets; without it, training says so and is left out
# The exit code is not 0 if something is wrong or could not be done; the last lines name it.
set -uo pipefail
END=$((SECONDS + ${GPU_SECONDS:-525}))
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
OUT=${GPU_RESULTS:-bench/results}
DATA=${VARPRO_DATA:-}
TRAINING=${GPU_TRAINING:-train:mnist:0 train:mnist:1 train:mnist_conv:0 train:mnist_conv:1 train:mnist_local:0 train:mnist_local:1}
read -ra BENCH <<<"${GPU_BENCH:-$PYTHON bench/gpu.py}" # the dry run puts the stand-in before it
TESTS=${GPU_TESTS:-tests/cuda}
ADDED=$PWD/build/gpu-packages
export PYTHONPATH=$PWD:$ADDED${PYTHONPATH:+:$PYTHONPATH} PATH=$ADDED/bin:$PATH
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
mkdir -p "$OUT" build
OUT=$(realpath "$OUT")
JSON=$OUT/gpu.json LOG=$OUT/gpu.log
missed=()

step() { # step NAME SECONDS COMMAND...: unless its end is known; SECONDS at most, and no more than are left
  local name=$1 seconds=$2 left=$((END - SECONDS)) code begun=$SECONDS
  shift 2
  code=$("$PYTHON" bench/gpu_results.py known "$JSON" "$name")
  if [[ -n $code ]]; then
    ((code == 0)) || missed+=("$name (exit code $code, in an earlier call)")
    return "$code"
  fi
  ((seconds > left)) && seconds=$left
  if ((seconds < 3)); then
    missed+=("$name (no time left: call again)")
    return 1
  fi
  printf '\n== %s, %d s at most\n' "$name" "$seconds" | tee -a "$LOG"
  timeout --kill-after=3 "$seconds" "$@" >build/gpu-step.log 2>&1
  code=$?
  cat build/gpu-step.log >>"$LOG"
  tail -n 15 build/gpu-step.log
  "$PYTHON" bench/gpu_results.py ended "$JSON" "$name" "$code" $((SECONDS - begun)) build/gpu-step.log
  [[ -s $JSON ]] && "$PYTHON" bench/gpu_table.py "$JSON" >"$OUT/gpu.md"
  ((code == 0)) || missed+=("$name (exit code $code)")
  return "$code"
}

LACKING='import importlib.util, sys
print(*[p.partition(":")[2] for p in sys.argv[1:] if importlib.util.find_spec(p.partition(":")[0]) is None])'

packages() { # installs the distributions that cannot be imported, MODULE:DISTRIBUTION each
  local lacking
  read -ra lacking <<<"$("$PYTHON" -c "$LACKING" "$@")"
  ((${#lacking[@]})) || return 0
  if [[ -z ${WHEELS:-} ]]; then
    echo "gpu.sh: ${lacking[*]} not installed; WHEELS names a folder that holds them" >&2
    return 2
  fi
  "$PYTHON" -m pip install --quiet --no-index --find-links "$WHEELS" --target "$ADDED" "${lacking[@]}"
}

build() { # for the one architecture; what this machine has built already is kept
  local wanted tools=()
  wanted=$("$PYTHON" -c 'import cupy; print(cupy.cuda.Device(0).compute_capability)') || return 2
  "$PYTHON" -c "from varpro import _cpu, _cuda; import sys; sys.exit(_cuda.architectures != '$wanted-real')" 2>/dev/null && return 0
  command -v cmake >/dev/null || tools+=(cmake:cmake)
  command -v ninja make >/dev/null || tools+=(ninja:ninja)
  packages setuptools:setuptools pybind11:pybind11 "${tools[@]}" || return 2
  VARPRO_CUDA=ON CMAKE_ARGS=-DCMAKE_CUDA_ARCHITECTURES=$wanted-real "$PYTHON" setup.py -q build_ext --inplace
}

packages numpy:numpy scipy:scipy threadpoolctl:threadpoolctl || exit 2
if [[ -z ${GPU_BENCH:-} ]]; then
  packages cupy:cupy-cuda13x || exit 2
  export -f build packages
  export PYTHON ADDED LACKING WHEELS=${WHEELS:-}
  # on every machine anew, whatever the results know
  timeout --kill-after=3 300 bash -c build >>"$LOG" 2>&1 || { tail -n 20 "$LOG" >&2; echo "gpu.sh: the build failed" >&2; exit 2; }
fi

SPEED=("--seconds" "${GPU_CASE_SECONDS:-0.15}")
read -ra MORE <<<"${GPU_OPTIONS:-}"
[[ -n $DATA ]] && MORE+=(--data "$DATA")
if step device 60 "${BENCH[@]}" "$JSON" device "${SPEED[@]}" "${MORE[@]}"; then
  step "small cases" 120 "${BENCH[@]}" "$JSON" small "${MORE[@]}"
  step kernels 150 "${BENCH[@]}" "$JSON" kernels "${SPEED[@]}" "${MORE[@]}"
  step iteration 60 "${BENCH[@]}" "$JSON" iteration "${SPEED[@]}" "${MORE[@]}"
  step fits 60 "${BENCH[@]}" "$JSON" fits "${MORE[@]}"
  if packages yaml:pyyaml pydantic:pydantic h5py:h5py rich:rich jinja2:jinja2 matplotlib:matplotlib sklearn:scikit-learn; then
    for run in $TRAINING; do
      step "$run" 90 "${BENCH[@]}" "$JSON" "$run" "${MORE[@]}"
    done
  else
    missed+=("training (packages)")
  fi
  if packages pytest:pytest pytest_timeout:pytest-timeout hypothesis:hypothesis; then
    step "tests on the device" 240 env VARPRO_REQUIRE_GPU="${GPU_REQUIRED-1}" \
      "$PYTHON" -m pytest -q -p no:cacheprovider $TESTS
  else
    missed+=("tests (packages)")
  fi
  sanitizer=${GPU_SANITIZER:-$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)}
  if [[ -n $sanitizer ]]; then
    for tool in memcheck racecheck; do
      step "$tool" 240 "$sanitizer" --tool "$tool" --report-api-errors no --error-exitcode 9 --kernel-regex kns=varpro \
        "${BENCH[@]}" "$OUT/$tool.json" small "${MORE[@]}"
    done
  else
    missed+=("memcheck, racecheck (compute-sanitizer is not installed)")
  fi
fi

printf '\n'
if ((${#missed[@]})); then
  printf 'not done, or wrong: %s\n' "${missed[@]}"
  exit 1
fi
echo "all done: $JSON"
