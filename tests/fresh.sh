#!/bin/sh
# Consilium from nothing: a bare Debian in a folder and a clone of this checkout's HEAD in there.
#   sudo sh tests/fresh.sh [SUITE [FOLDER]]           make demo and make check as a newcomer types them, timed
#   sudo sh tests/fresh.sh --short [SUITE [FOLDER]]   make short: all compiled, with every warning an error, the
#                                                     unit tests and some of the cluster's; the other Debian unless
#                                                     SUITE says which. What CI runs: where no bare Debian can be
#                                                     made it says so, and that is no failure.
# SUITE is bookworm (Debian 12, the default) or trixie (Debian 13); MIRROR names another Debian mirror. Needs root,
# debootstrap and a network. The folder is removed when all went well, by --short always; the output of what
# failed stays in FOLDER.log. All of it runs in namespaces of its own for mounts and processes: with the end of
# this script, however it comes, nothing stays mounted in the folder and nothing runs there.
set -u
cd "$(dirname "$0")/.." || exit
NO_SYSTEM=3 # exit status: what is to be tried wasn't reached
MISTAKE=2   # of install-dependencies.sh: its list names what this Debian doesn't know

# --- inside the namespaces -------------------------------------------------------------------------------------
in_root() {
    chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
        ${http_proxy:+http_proxy="$http_proxy"} sh -c "cd /src && $1"
}
step() { # status if it fails, what it is called, how it is done
    began=$(date +%s)
    "$3" </dev/null >"$root.log" 2>&1
    ended=$?
    [ $ended -eq 0 ] || {
        tail -n 40 "$root.log" >&2
        echo "$suite: $2 failed after $(($(date +%s) - began)) s; its output is in $root.log" >&2
        [ $ended -ne $MISTAKE ] || exit 1
        exit "$1"
    }
    echo "$suite: $2: $(($(date +%s) - began)) s"
}
answers() { wget -nv --spider -T 20 -t 2 "$mirror/dists/$suite/Release"; } # debootstrap itself would try for hours
bootstrap() { timeout 1200 debootstrap --variant=minbase --include=make "$suite" "$root" "$mirror"; }
mounts() {
    for folder in /proc /dev /dev/pts; do
        mount --bind "$folder" "$root$folder" || return
    done
    echo '127.0.0.1 localhost' >"$root/etc/hosts" # Debian's installer writes it, debootstrap doesn't
}
clone() { git clone -q . "$root/src"; }
packages() {
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/thrown-away" &&
        in_root 'sh configs/install-dependencies.sh build short'
}
demo() { in_root 'make demo'; }
check() { in_root 'make check'; }
short() { in_root 'make short'; }

try_there() {
    trap 'exit 130' INT TERM # as process 1 it would sleep through them
    step $NO_SYSTEM "the mirror's answer" answers
    step $NO_SYSTEM "a bare system" bootstrap
    step $NO_SYSTEM "what is mounted there" mounts
    step 1 "a clone" clone
    case $kind in
    --short)
        step $NO_SYSTEM "packages" packages
        step 1 "make short" short
        ;;
    *)
        step 1 "make demo" demo
        step 1 "make check" check
        ;;
    esac
    tail -n 1 "$root.log"
}
if [ "${1:-}" = --inside ]; then
    kind=$2 suite=$3 root=$4 mirror=$5
    try_there
    exit
fi

# --- outside ---------------------------------------------------------------------------------------------------
kind=--fresh
if [ "${1:-}" = --short ]; then kind=$1; shift; fi
suite=${1:-}
if [ -z "$suite" ]; then
    suite=bookworm
    [ $kind = --fresh ] || ! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || suite=trixie
fi
root=${2:-/var/tmp/consilium-${kind#--}-$suite}
# One that was killed with -9 left its folder: CI's next run must not stumble over it.
[ $kind = --fresh ] || [ -n "${2:-}" ] || root=$root.$$
root=$(realpath -m "$root")

cannot() {
    if [ $kind = --short ]; then echo "NOT TRIED on $suite: $1"; exit 0; fi
    echo "fresh: $1" >&2
    exit 1
}
[ "$(id -u)" -eq 0 ] || cannot "needs root, for debootstrap and chroot"
command -v debootstrap >/dev/null || cannot "debootstrap is missing: apt-get install debootstrap"
unshare --mount --pid --fork --kill-child --mount-proc true 2>/dev/null || cannot "namespaces are not allowed here"
git rev-parse --git-dir >/dev/null 2>&1 || cannot "this folder is no git checkout that root may read"
[ ! -e "$root" ] || { echo "fresh: $root is there already; remove it or name another folder" >&2; exit 1; }
mkdir -p "$root" || exit

unshare --mount --pid --fork --kill-child --mount-proc \
    sh tests/fresh.sh --inside $kind "$suite" "$root" "${MIRROR:-http://deb.debian.org/debian}" &
there=$!
trap 'kill -9 $there; wait $there; exit 130' INT TERM # and all of it with that one
wait $there
status=$?
[ $status -eq 0 ] && rm -f "$root.log"
if [ $status -eq 0 ] || [ $kind = --short ]; then rm -rf --one-file-system "$root"; fi
[ $status -ne $NO_SYSTEM ] || cannot "no bare system could be made, for the reason above"
exit $status
