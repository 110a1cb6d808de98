#!/usr/bin/env bash
# Proves that a fresh machine needs nothing but git, make and a package manager: builds a clean
# Debian 12 root, copies a clean checkout in, and runs `make demo` and `make test` there. Needs root
# and debootstrap. What lets this machine through a proxy with a CA of its own (the CA bundle, the
# package clients' settings) is taken along.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: scripts/chroot-check.sh [--dir DIR] [--worktree] [--keep] [--] [COMMAND...]
  --dir DIR    where the base system is kept between runs (default: /var/tmp/edge-eval-chroot)
  --worktree   check the files as they are here, not the last commit
  --keep       leave the used system in DIR/run for a look; the next run replaces it
  COMMAND      what to run in it, each word one shell line (default: 'make demo' 'make test')
EOF
}

die() {
    printf 'chroot-check: error: %s\n' "$*" >&2
    exit 1
}

dir=/var/tmp/edge-eval-chroot
worktree=0
keep=0
while [ $# -gt 0 ]; do
    case $1 in
    --dir)
        dir=${2:?--dir needs a directory}
        shift
        ;;
    --worktree) worktree=1 ;;
    --keep) keep=1 ;;
    -h | --help)
        usage
        exit 0
        ;;
    --)
        shift
        break
        ;;
    -*)
        usage >&2
        exit 2
        ;;
    *) break ;;
    esac
    shift
done
[ $# -gt 0 ] || set -- 'make demo' 'make test'

source_tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ "$(id -u)" = 0 ] || die "needs root"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
base=$dir/base
run=$dir/run
mkdir -p "$dir"
if [ ! -e "$base/.complete" ]; then
    echo "chroot-check: making a Debian 12 base system in $base" >&2
    rm -rf "$base"
    debootstrap --variant=minbase --include=git,make,ca-certificates bookworm "$base" \
        >"$dir/debootstrap.log" 2>&1 || die "debootstrap failed; see $dir/debootstrap.log"
    sed -i 'p; s/ bookworm / bookworm-updates /' "$base/etc/apt/sources.list"
    touch "$base/.complete"
fi

rm -rf --one-file-system "$run"
cp -a "$base" "$run"
for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/npmrc /usr/etc/npmrc "$HOME/.npmrc"; do
    [ -e "$file" ] || continue
    target=$run$file
    [ "$file" != "$HOME/.npmrc" ] || target=$run/root/.npmrc
    mkdir -p "$(dirname "$target")"
    cp -L "$file" "$target"
done
# Every installed machine has this; a bare root does not, and browsers look the name up.
printf '127.0.0.1 localhost\n::1 localhost\n' >"$run/etc/hosts"
for file in /etc/apt/apt.conf.d/*; do
    if grep -qiE 'proxy|CaInfo' "$file" 2>/dev/null; then
        cp "$file" "$run/etc/apt/apt.conf.d/"
    fi
done
# Settings of the network's kind; a file that one names is taken along.
settings=()
while IFS= read -r -d '' pair; do
    name=${pair%%=*}
    value=${pair#*=}
    case $name in
    *_CA_* | *_CERT | *_CERTS | *_CAINFO | SSL_* | PIP_* | *_proxy | *_PROXY | NPM_CONFIG_* | npm_config_*)
        settings+=("$pair")
        if [ -f "$value" ] && [ ! -e "$run$value" ]; then
            mkdir -p "$(dirname "$run$value")"
            cp -L "$value" "$run$value"
        fi
        ;;
    esac
done < <(env -0)

if [ $worktree = 1 ]; then
    mkdir -p "$run/root/edge-eval"
    git -C "$source_tree" ls-files -co --exclude-standard -z |
        (cd "$source_tree" && tar -c --null --ignore-failed-read -T - 2>/dev/null) | tar -x -C "$run/root/edge-eval"
else
    git clone -q "$source_tree" "$run/root/edge-eval"
fi

# run_inside LINE: one shell line in the new system, as its root file system and not by chroot alone,
# in which mount namespaces and /proc/self/exe behave otherwise than on a machine.
run_inside() {
    # shellcheck disable=SC2016  # expanded by the inner shell
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        "${settings[@]}" unshare --mount --pid --fork --kill-child sh -c '
            set -e
            mount --bind "$1" "$1"
            cd "$1"
            mount -t proc proc proc
            mount --rbind /sys sys
            mount --rbind /dev dev
            mkdir -p .outside
            pivot_root . .outside
            cd /root/edge-eval
            umount -l /.outside
            rmdir /.outside
            exec sh -c "$2"' inner "$run" "$1" </dev/null
}

status=0
for line in "$@"; do
    start=$SECONDS
    printf 'chroot-check: %s\n' "$line" >&2
    run_inside "$line" || status=$?
    printf 'chroot-check: %s: exit %d after %d s\n' "$line" $status $((SECONDS - start)) >&2
    [ $status = 0 ] || break
done
[ $keep = 1 ] || rm -rf --one-file-system "$run"
exit $status
