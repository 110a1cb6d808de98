#!/usr/bin/env bash
# Makes dist/edge-eval-VERSION-linux-ARCH/ (and a .tar.gz of it), which runs from any path on a
# Linux of that architecture with a new enough C library, without network or installation:
#
#   edge-eval        launcher: falls back to lib/compat where the system's C++ library is too old
#   bin/edge-eval    the program
#   lib/             every library it needs but the C library; a backend put here is picked up
#   lib/compat/      the C++ library, used only by the launcher's fallback: a GPU backend built
#                    on a newer system needs that system's own, which must therefore come first
#   data/ plans/ licenses/ README.md LICENSE THIRD_PARTY.md
#
# usage: scripts/dist.sh [BUILD_DIR]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build}

die() {
    printf 'dist: error: %s\n' "$*" >&2
    exit 1
}

version=$(sed -n 's/^project(edge_eval VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
name=edge-eval-$version-linux-$(uname -m)
mkdir -p dist
work=$(mktemp -d dist/.tmp.XXXXXX)
trap 'rm -rf "$work"' EXIT
tree=$work/$name

# The C library's own files, which always come from the system.
is_glibc() {
    case $1 in
    ld-linux*.so.* | libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.* | \
        libutil.so.* | libmvec.so.* | libanl.so.* | libnss_*.so.* | linux-vdso.so.*) return 0 ;;
    *) return 1 ;;
    esac
}

is_cxx() {
    case $1 in
    libstdc++.so.* | libgcc_s.so.*) return 0 ;;
    *) return 1 ;;
    esac
}

# The text that Debian ships with the package that owns a library.
copy_licence() {
    local package real
    real=$(readlink -f "$1")
    package=$(dpkg -S "$real" 2>/dev/null || dpkg -S "${real#/usr}" 2>/dev/null || true)
    package=${package%%:*}
    if [ -z "$package" ] || [ ! -e "/usr/share/doc/$package/copyright" ]; then
        printf 'dist: warning: no licence text is known for %s\n' "$1" >&2
        return
    fi
    cp -L "/usr/share/doc/$package/copyright" "$tree/licenses/$package.txt"
}

# Loaded by its name where it is needed (src/serve/curl_lib.h), so that ldd does not tell.
loaded_libraries() {
    local path
    path=$("${CC:-cc}" -print-file-name=libcurl.so.4)
    [ -e "$path" ] || die "libcurl.so.4 is not on this machine"
    printf 'libcurl.so.4 => %s\n' "$path"
    LC_ALL=C ldd "$path"
}

collect_libraries() {
    local elf soname path
    {
        for elf in "$tree/bin/edge-eval" "$tree"/lib/*.so; do
            LC_ALL=C ldd "$elf"
        done
        loaded_libraries
    } | awk '$2 == "=>" { print $1, $3, $4 }' | sort -u >"$work/needed"
    if grep -q ' not found$' "$work/needed"; then
        die "libraries are missing on this machine: $(awk '/ not found$/ { print $1 }' "$work/needed" | tr '\n' ' ')"
    fi
    while read -r soname path _; do
        if is_glibc "$soname" || [[ $(readlink -f "$path") == "$(readlink -f "$tree")"/* ]]; then
            continue
        fi
        if is_cxx "$soname"; then
            cp -L "$path" "$tree/lib/compat/$soname"
        else
            cp -L "$path" "$tree/lib/$soname"
        fi
        copy_licence "$path"
    done <"$work/needed"
}

# newest_symbol FAMILY FILE...: the highest version of a symbol family that any of the files needs.
newest_symbol() {
    local family=$1
    shift
    objdump -p "$@" | grep -oE " ${family}_[0-9.]+$" | grep -oE '[0-9.]+$' | sort -uV | tail -n 1
}

write_launcher() {
    cat >"$tree/edge-eval" <<'EOF'
#!/bin/sh
# Starts the program with the system's C++ library, or with the one in lib/compat where the system
# has none or an older one.
root=$(dirname -- "$(readlink -f -- "$0")")
if ! "$root/bin/edge-eval" --version >/dev/null 2>&1; then
    LD_LIBRARY_PATH=$root/lib/compat${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
fi
exec "$root/bin/edge-eval" "$@"
EOF
    chmod 755 "$tree/edge-eval"
}

[ -x "$build/edge-eval" ] || die "$build/edge-eval is not there: run make build"
cmake --install "$build" --prefix "$work/prefix" >/dev/null
[ -d "$work/prefix/lib/edge-eval" ] || die "this build uses an installed llama.cpp; configure it with the pinned one" \
    "(make deps) or with EDGE_EVAL_LLAMA_DIR, whose libraries can be taken along"

mkdir -p "$tree/bin" "$tree/lib/compat" "$tree/licenses"
mv "$work/prefix/bin/edge-eval" "$tree/bin/"
strip --strip-debug "$tree/bin/edge-eval"
mv "$work"/prefix/lib/edge-eval/* "$tree/lib/"
mv "$work"/prefix/share/edge-eval/* "$tree/"
if [ -d "$work"/prefix/share/doc/edge-eval/licenses ]; then
    mv "$work"/prefix/share/doc/edge-eval/licenses/* "$tree/licenses/"
fi
for doc in README.md LICENSE THIRD_PARTY.md; do
    [ ! -e "$doc" ] || cp "$doc" "$tree/"
done
collect_libraries
write_launcher
compgen -G "$tree/lib/libggml-cpu-*.so" >/dev/null || printf 'dist: warning: %s\n' \
    "this llama.cpp was built for this machine's CPU alone; make deps LLAMA=source LLAMA_CPU=all mends that" >&2

libraries=("$tree"/lib/*.so*)
needs="glibc $(newest_symbol GLIBC "$tree/bin/edge-eval" "${libraries[@]}")"
needs+=", and glibc $(newest_symbol GLIBC "$tree"/lib/compat/*) where the system's libstdc++"
needs+=" lacks GLIBCXX_$(newest_symbol GLIBCXX "${libraries[@]}")"
if ! env -i PATH=/usr/bin:/bin "$tree/edge-eval" --version; then
    die "the folder does not run on the machine that made it"
fi
rm -rf "dist/$name" "dist/$name.tar.gz"
mv "$tree" "dist/$name"
tar -C dist --sort=name --owner=0 --group=0 --numeric-owner -czf "dist/$name.tar.gz" "$name"
printf 'dist: dist/%s (%s) and dist/%s.tar.gz (%s)\ndist: needs %s\n' "$name" \
    "$(du -sh "dist/$name" | cut -f1)" "$name" "$(du -h "dist/$name.tar.gz" | cut -f1)" "$needs"
