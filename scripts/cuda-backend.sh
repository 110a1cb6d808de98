#!/usr/bin/env bash
# Builds llama.cpp's CUDA backend for edge-eval and puts it beside the engine's other libraries,
# where it is picked up at the next run. Needs nvcc, cmake and a C++ compiler; no network.
#
# usage: scripts/cuda-backend.sh LIB_DIR [BUNDLE] [ARCHITECTURES]
#   LIB_DIR        lib/ of a dist folder, or .cache/llama/lib of a checkout
#   BUNDLE         llama.cpp's source (default: .cache/llama/src.bundle, which make deps fetches)
#   ARCHITECTURES  as CMAKE_CUDA_ARCHITECTURES: 75 for a T4, 90 for an H100 (default: native)
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lib_dir=$(cd "$1" && pwd)
bundle=${2:-${EDGE_EVAL_CACHE:-$root/.cache}/llama/src.bundle}
arch=${3:-native}
for tool in nvcc cmake git; do
    command -v "$tool" >/dev/null || { echo "cuda-backend: error: $tool is not here" >&2; exit 1; }
done
[ -f "$bundle" ] || { echo "cuda-backend: error: no llama.cpp source at $bundle" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet -c advice.detachedHead=false "$bundle" "$work/src"
# NCCL serves several GPUs at once and would be one more library that has to be there at run time.
cmake -S "$work/src" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON \
    -DGGML_CUDA_NCCL=OFF -DCMAKE_SKIP_RPATH=ON \
    -DGGML_BACKEND_DL=ON -DGGML_NATIVE=OFF -DCMAKE_CUDA_ARCHITECTURES="$arch" \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF \
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_APP=OFF >"$work/cmake.log" ||
    { tail -n 20 "$work/cmake.log" >&2; exit 1; }
cmake --build "$work/build" --target ggml-cuda -j "$(nproc)" >"$work/build.log" 2>&1 ||
    { tail -n 20 "$work/build.log" >&2; exit 1; }
found=$(find "$work/build" -name libggml-cuda.so | head -n 1)
[ -n "$found" ] || { echo "cuda-backend: error: the build made no libggml-cuda.so" >&2; exit 1; }
install -m 755 "$found" "$lib_dir/libggml-cuda.so"
echo "cuda-backend: $lib_dir/libggml-cuda.so"
