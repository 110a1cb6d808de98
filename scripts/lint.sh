#!/usr/bin/env bash
# Style and static checks over the whole tree. Needs a configured build directory, whose
# compile_commands.json clang-tidy reads. A file that passed is not looked at by clang-tidy again
# until it, a header or the checks' configuration changes.
# shellcheck disable=SC2317  # functions that are called by their name through step
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build}
jobs=$(nproc)
failed=0

# step NAME COMMAND...
step() {
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        printf 'lint: %-12s ok (%d s)\n' "$name" $((SECONDS - start))
    else
        printf 'lint: %-12s FAILED\n' "$name"
        failed=1
    fi
}

mapfile -t c_files < <(find src cmd tests bench -name '*.c' 2>/dev/null | sort)
mapfile -t headers < <(find src cmd tests bench -name '*.h' 2>/dev/null | sort)
mapfile -t shell_files < <(find scripts .ci tests -type f \( -name '*.sh' -o -path .ci/run \) | sort)
mapfile -t python_files < <(find scripts tests -name '*.py' | sort)

format() {
    clang-format --dry-run -Werror "${c_files[@]}" "${headers[@]}"
}

# A layer includes itself and the layers after it, and only those named here see the engine's API.
layers() {
    awk -v order='report metrics lifecycle adapt serve quality engine energy store stats base' '
        BEGIN { n = split(order, names, " "); for (i = 1; i <= n; i++) rank[names[i]] = i }
        FNR == 1 { split(FILENAME, path, "/"); layer = path[2] }
        /^#include "/ {
            split($2, q, "\""); split(q[2], to, "/")
            if (to[1] in rank && rank[to[1]] < rank[layer]) {
                printf "%s:%d: %s is above %s: an include must not point up\n", FILENAME, FNR, to[1], layer
                bad = 1
            }
        }
        /^#include [<"](llama|ggml|gguf)[a-z-]*\.h[>"]/ && layer !~ /^(engine|adapt)$/ &&
            FILENAME !~ /lifecycle\/(stage_)?quantize/ {
            printf "%s:%d: only src/engine, src/adapt and quantize use llama.cpp itself\n", FILENAME, FNR
            bad = 1
        }
        END { exit bad }' "$@"
}

tidy() {
    local passed=$build/lint common todo=()
    mkdir -p "$passed"
    common=$(cat .clang-tidy CMakeLists.txt "${headers[@]}" | sha256sum)
    while read -r sum file; do
        sum=$(printf '%s %s' "$sum" "$common" | sha256sum | cut -c1-32)
        [ -e "$passed/$sum" ] || todo+=("$passed/$sum" "$file")
    done < <(sha256sum "${c_files[@]}")
    [ ${#todo[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2016  # expanded by the inner shell
    printf '%s\0' "${todo[@]}" | xargs -0 -n 2 -P "$jobs" sh -c '
        model=--extra-arg=-include$PWD/scripts/analyzer_model.h
        [ "$2" != src/base/err.c ] || model=--extra-arg=-DERR_ITSELF
        out=$(clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option "$model" -p "$0" "$2" 2>&1) && exec touch "$1"
        printf "%s\n" "$out" | grep -vE "warnings? .*(treated|generated)|^Suppressed |^Error while processing"
        exit 1' "$build"
}

# Suppressed: readdir is safe on a stream of one's own; a failed assertion in a test does not return.
check_c() {
    mkdir -p "$build/cppcheck"
    cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress={missingIncludeSystem,unmatchedSuppression,readdirCalled,ctuuninitvar} \
        '--suppress=resourceLeak:tests/*' \
        --library=posix --library=gnu --cppcheck-build-dir="$build/cppcheck" -j "$jobs" \
        -D_GNU_SOURCE -Isrc -Itests "${c_files[@]}"
}

compile_python() {
    python3 - "$@" <<'EOF'
import sys
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as f:
        compile(f.read(), name, "exec", dont_inherit=True)
EOF
}

if [ ${#c_files[@]} -gt 0 ]; then
    step format format
    step cppcheck check_c
    step clang-tidy tidy
fi
mapfile -t src_files < <(find src -name '*.[ch]' | sort)
[ ${#src_files[@]} = 0 ] || step layers layers "${src_files[@]}"
[ ${#shell_files[@]} = 0 ] || step shellcheck shellcheck "${shell_files[@]}"
[ ${#python_files[@]} = 0 ] || step python compile_python "${python_files[@]}"
step tasks python3 scripts/check-tasks.py
exit $failed
