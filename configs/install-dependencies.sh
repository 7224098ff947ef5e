#!/bin/sh
# Installs what is missing of configs/dependencies.txt for the purposes named:
#   sh configs/install-dependencies.sh build check
# Says what to do where it can't (not Debian, not root). Exit code 2: a name that apt doesn't know.
set -u
list=$(dirname "$0")/dependencies.txt
purposes=${*:-build}

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }
known() { apt-cache show "$1" >/dev/null 2>&1; }

if ! command -v apt-get >/dev/null 2>&1; then
    echo "This system has no apt-get, so nothing was installed. Consilium is built on Debian 12 and 13;" >&2
    echo "elsewhere install the libraries of configs/dependencies.txt with your package manager, then run make." >&2
    exit 1
fi

wanted() { # one line per alternative group that is not installed
    for purpose in $purposes; do
        awk -v p="$purpose" '$1 == p { print $2 }' "$list"
    done | while read -r group; do
        have=
        for package in $(echo "$group" | tr '|' ' '); do
            if installed "$package"; then have=1; break; fi
        done
        [ -n "$have" ] || echo "$group"
    done | awk '!seen[$0]++'
}

missing=$(wanted)
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "Missing packages: $(echo "$missing" | tr '\n' ' ')" >&2
    # At a terminal sudo may ask for a password; elsewhere it must need none.
    if command -v sudo >/dev/null 2>&1 && { [ -t 2 ] || sudo -n true 2>/dev/null; }; then
        echo "Only for installing them, sudo is used:" >&2
        exec sudo sh "$0" "$@"
    fi
    echo "Run this once as root, then make again:  sh configs/install-dependencies.sh $purposes" >&2
    exit 1
fi
apt-get update -qq || echo "apt-get update failed; trying with the lists that are here" >&2
packages=
for group in $missing; do
    for package in $(echo "$group" | tr '|' ' '); do
        if known "$package"; then packages="$packages $package"; continue 2; fi
    done
    echo "No package of \"$group\" is known to apt: check /etc/apt/sources.list" >&2
    exit 2
done
echo "Installing with apt-get:$packages" >&2
# shellcheck disable=SC2086  # one word per package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
    { echo "apt-get could not install:$packages (is there a network? \"apt-get install$packages\" says more)" >&2; exit 1; }
