#!/bin/sh
# The two commands of the README from nothing: a bare Debian in a folder, a clone of this checkout's HEAD,
# then make demo and make check as a newcomer types them, with the time that each took.
#   sudo sh tests/fresh.sh [SUITE [FOLDER]]     bookworm (Debian 12, the default), trixie (Debian 13)
# Needs root, debootstrap and a network; MIRROR names another Debian mirror. The folder is removed when all
# went well, and is kept for a look otherwise.
set -u
suite=${1:-bookworm}
root=$(realpath -m "${2:-/var/tmp/consilium-fresh-$suite}")
mirror=${MIRROR:-http://deb.debian.org/debian}
cd "$(dirname "$0")/.." || exit

refuse() { echo "fresh: $1" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || refuse "needs root, for debootstrap and chroot"
command -v debootstrap >/dev/null || refuse "debootstrap is missing: apt-get install debootstrap"
[ ! -e "$root" ] || refuse "$root is there already; remove it or name another folder"

inside() { chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" sh -c "$1"; }
mounted= # last first
stop_all() { # that lives in there: the demo's nodes, and what an interrupt left behind
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/root")" != "$root" ] || kill -9 "${process##*/}"
    done
    sleep 1
} 2>/dev/null
leave() {
    trap - EXIT INT TERM
    stop_all
    for folder in $mounted; do umount "$root$folder" || exit 1; done # what is mounted must not be removed
    mounted=
}
trap 'leave; exit 130' INT TERM
trap leave EXIT

step() { # what it is called, how it is done
    began=$(date +%s)
    "$2" </dev/null >"$root.log" 2>&1 ||
        { tail -n 40 "$root.log" >&2; refuse "$1 failed after $(($(date +%s) - began)) s; its output is in $root.log"; }
    echo "$suite: $1: $(($(date +%s) - began)) s"
}
bootstrap() { debootstrap --variant=minbase --include=make "$suite" "$root" "$mirror"; }
demo() { inside 'cd /src && make demo'; }
check() { inside 'cd /src && make check'; }

mkdir -p "$root" || exit
step "a bare system" bootstrap
for folder in /proc /dev /dev/pts; do
    mount --bind "$folder" "$root$folder" || refuse "cannot mount $folder into $root"
    mounted="$folder $mounted"
done
echo '127.0.0.1 localhost' >"$root/etc/hosts" || exit # Debian's installer writes it, debootstrap doesn't
git clone -q . "$root/src" || exit
step "make demo" demo
step "make check" check
tail -n 1 "$root.log"
leave
rm -rf --one-file-system "$root" "$root.log"
