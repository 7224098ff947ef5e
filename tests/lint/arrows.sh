#!/bin/sh
# Checks the include arrows of the layers: a folder includes only folders below it,
# and each foreign library only where it belongs. Prints every arrow that is wrong.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0

allow() { # folder, the folders that it may include
    folder=$1; shift
    for file in "$folder"/*.c "$folder"/*.h; do
        [ -f "$file" ] || continue
        grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' "$file" |
            sed -E 's/^([0-9]+):.*"([^"]+)".*/\1 \2/' | while read -r line path; do
                to=${path%%/*}
                case " $* $folder " in
                *" $to "*) ;;
                *) echo "$file:$line: $folder/ may not include $path" ;;
                esac
            done
    done
}

only() { # header pattern, the files that may include it
    pattern=$1; shift
    grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+<$pattern" --include='*.[ch]' \
        base crypto storage ledger net consensus node cli |
        while IFS=: read -r file line _; do
            for allowed in "$@"; do
                # shellcheck disable=SC2254  # patterns on purpose
                case $file in $allowed) continue 2 ;; esac
            done
            echo "$file:$line: only $* may include <$pattern>"
        done
}

found=$(
    allow base
    allow crypto base
    allow storage crypto base
    allow net crypto base
    allow ledger crypto base
    allow consensus ledger storage net crypto base
    allow node consensus ledger storage net crypto base
    allow cli ledger storage net crypto base
    only 'lmdb\.h' 'storage/store.c' 'storage/store_*.c' 'storage/store_internal.h'
    only 'sodium' 'crypto/*'
    only 'nettle' 'crypto/hash.c'
    only 'mbedtls/' 'net/*' 'crypto/aead*.c'
    only 'msgpack' 'base/pack.c'
    only 'llhttp' 'net/http_request.c'
    only 'uv\.h' 'net/*' 'consensus/*' 'node/*'
    for file in consensus/raft*.c consensus/raft*.h; do
        [ -f "$file" ] && grep -nE '^#include "(crypto|storage|ledger|net|node|cli)/' "$file" /dev/null |
            sed 's/$/   (the core includes base only)/'
    done
)
if [ -n "$found" ]; then
    echo "$found"
    bad=1
fi
exit $bad
