#!/usr/bin/env bash
# Builds the programs that edge-eval is measured and tested against, from the same llama.cpp source
# that its libraries come from, into $EDGE_EVAL_CACHE/peers/bin. About 5 minutes on 2 cores, once.
# usage: bench/peers.sh [TARGET...]     (default: llama-batched-bench)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${EDGE_EVAL_CACHE:-$root/.cache}
bundle=$cache/llama/src.bundle
[ -f "$bundle" ] || { echo "peers: $bundle is not there; run \"make deps\" first" >&2; exit 1; }
[ $# -gt 0 ] || set -- llama-batched-bench

src=$cache/peers/src
build=$cache/peers/build
if [ ! -d "$src/.git" ]; then
    rm -rf "$src.part"
    git clone --quiet -c advice.detachedHead=false "$bundle" "$src.part"
    mv "$src.part" "$src"
fi
# Without a CPU backend of their own: they get edge-eval's, so that both compute with the same code
# and a comparison sees nothing but what is around it.
cmake -S "$src" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=OFF \
    -DGGML_BACKEND_DL=ON -DGGML_CPU=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_USE_PREBUILT_UI=OFF >"$cache/peers/cmake.log"
cmake --build "$build" --target "$@"
cp "$cache"/llama/lib/libggml-cpu*.so "$build/bin/"
echo "peers: $build/bin"
