#!/usr/bin/env bash
# Proof and figures on a machine with a GPU and no network: builds, tests on the device, looks for races and bad accesses,
# measures, and leaves bench/results/<device>-<date>.{json,md} to commit.
#   PYTHON   interpreter with varpro's dependencies and CuPy (default python3)
#   VARPRO_DATA   folder of the data sets; without it the training run is left out
# Steps that cannot be done here (no sanitizer, no CuPy) are named at the end, and the exit code is not 0.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
DATA=${VARPRO_DATA:-}
OUT=${GPU_RESULTS:-bench/results}
export PYTHONPATH=$PWD OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
mkdir -p "$OUT"
missed=()

step() {  # step SECONDS NAME COMMAND...
  local seconds=$1 name=$2
  shift 2
  printf '\n== %s\n' "$name"
  timeout --kill-after=10 "$seconds" "$@" || missed+=("$name (exit $?)")
}

step 600 build env VARPRO_CUDA=ON "$PYTHON" setup.py -q build_ext --inplace
step 60 device "$PYTHON" -c 'from varpro.arrays import Device; d = Device.choose(); print(d.name, d.free_bytes >> 30, "GiB free")'
step 900 "tests on the device" "$PYTHON" -m pytest -q -p no:cacheprovider tests/cuda

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)
if [[ -n $sanitizer ]]; then
  for tool in memcheck racecheck synccheck initcheck; do
    step 900 "$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 --kernel-regex kns=varpro \
      "$PYTHON" bench/gpu_small_cases.py
  done
else
  missed+=("compute-sanitizer (not installed)")
fi

name=$("$PYTHON" -c 'from varpro.arrays import Device; print(Device.choose().name.replace(" ", "-"))' 2>/dev/null)
stem="$OUT/${name:-unknown}-$(date +%F)"
extra=(--config none)
[[ -n $DATA ]] && extra=(--data "$DATA")
step 1800 measure "$PYTHON" bench/gpu.py --json "$stem.json" --table "$stem.md" "${extra[@]}"
[[ -z $DATA ]] && missed+=("training (VARPRO_DATA is not set)")

printf '\n'
if ((${#missed[@]})); then
  printf 'not done: %s\n' "${missed[@]}"
  exit 1
fi
echo "all done: $stem.md"
