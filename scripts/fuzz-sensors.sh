#!/usr/bin/env bash
# Fuzzes every sensor's parser with the address and undefined-behaviour sanitizers, a minute each
# (tests/test_sensor_fuzz.c says what must hold). Exits with 1 at the first finding; the round's
# seed is then in the last lines.
#
# usage: scripts/fuzz-sensors.sh [SECONDS [SEED]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export EDGE_EVAL_FUZZ_SECONDS=${1:-60}
export EDGE_EVAL_FUZZ_SEED=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
export EDGE_EVAL_FUZZ_VERBOSE=1 EDGE_EVAL_SOURCE_DIR=$PWD
EDGE_EVAL_CACHE=$(realpath -m "${EDGE_EVAL_CACHE:-.cache}")
export EDGE_EVAL_CACHE

echo "seed $EDGE_EVAL_FUZZ_SEED, $EDGE_EVAL_FUZZ_SECONDS s for each parser"
cmake -G Ninja -DEDGE_EVAL_SANITIZE=address,undefined -DEDGE_EVAL_CACHE="$EDGE_EVAL_CACHE" -B build-asan -S . >/dev/null
cmake --build build-asan --target test_sensor_fuzz
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! build-asan/tests/test_sensor_fuzz >"$log" 2>&1; then
    tail -n 60 "$log"
    exit 1
fi
grep -E ' rounds$|OK|PASSED' "$log"
