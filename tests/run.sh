#!/bin/sh
# Runs test programs (cmocka, or any that exits with 0 for passed), JOBS at once
# (one per processor), and ends with the line "N passed, N failed", and how many
# were skipped if any. A program's output is shown only when it fails, without the
# lines of tests that passed, or whole with V=1. TEST_TIMEOUT: seconds for each.
#   tests/run.sh PROGRAM...      a program with arguments: one quoted word
# WAITING: more programs, without arguments, that hardly use a processor: one after the other, beside those JOBS.
set -u

# The test that a program came to.
last_begun() { sed -n 's/^\[ RUN      \] //p' "$1" | tail -n 1; }

# One program: a line on standard output, "passed failed status skipped command" into the folder RESULTS.
if [ "${1:-}" = --one ]; then
    command=$2
    out=$(mktemp "$RESULTS/out.XXXXXX") || exit 1
    start=$(date +%s)
    # shellcheck disable=SC2086  # words on purpose
    timeout -k 10 "${TEST_TIMEOUT:-900}" $command >"$out" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    ok=$(grep -acE '^\[       OK \]' "$out")
    bad=$(grep -acE '^\[  FAILED  \] [A-Za-z_0-9]+$' "$out")
    skip=$(grep -acE '^\[  SKIPPED \] [A-Za-z_0-9]+$' "$out")
    [ "$skip" -eq 0 ] && skip=$(grep -ac '^skipped: ' "$out") # the whole program, where this machine can't do it
    bad=$((bad / 2)) # cmocka names each failed test twice
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    [ "$status" -eq 0 ] && [ "$ok" -eq 0 ] && [ "$skip" -eq 0 ] && ok=1
    {
        flock 9 # one program's words at a time
        if [ "$status" -ne 0 ]; then
            at=
            [ "$status" -ge 124 ] && at=", in $(last_begun "$out")" # ended by a signal, or too late
            echo "FAIL  $command: exit $status after $seconds s$at"
            grep -aE '^(FAILED|\[   LINE   \]|.*(Assertion|: error: |ERROR: ))' "$out" | cut -c 1-600 | head -n 12 # first
            if [ -n "${V:-}" ]; then cat "$out"; else grep -avE '^\[ (RUN     |      OK) \]' "$out"; fi
        else
            note=
            [ "$skip" -gt 0 ] && note=", $skip skipped$(sed -n 's/^skipped//p' "$out" | head -n 1)"
            printf '  ok  %-40s %3d tests%s, %d s\n' "$(basename "${command%% *}")" "$ok" "$note" "$seconds"
            [ -n "${V:-}" ] && cat "$out"
        fi
        echo "$ok $bad $status $skip $command" >>"$RESULTS/results"
    } 9>"$RESULTS/lock"
    rm -f "$out"
    exit 0
fi

RESULTS=$(mktemp -d) || exit 1
export RESULTS
beside=
trap '[ -n "$beside" ] && kill "$beside" 2>/dev/null; rm -rf "$RESULTS"' EXIT
trap 'exit 130' INT TERM
: >"$RESULTS/results"
# shellcheck disable=SC2086  # words on purpose
if [ -n "${WAITING:-}" ]; then
    printf '%s\n' $WAITING | xargs -r -n 1 sh "$0" --one &
    beside=$!
fi
printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-$(nproc)}" sh "$0" --one
[ -n "$beside" ] && wait "$beside"
beside=
awk -v wanted="$(($# + $(printf '%s' "${WAITING:-}" | wc -w)))" '
    { passed += $1; failed += $2; skipped += $4 }
    $3 != 0 { line = $0; sub(/^[0-9]+ [0-9]+ [0-9]+ [0-9]+ /, "", line); broken = broken "\n  " line " (exit " $3 ")" }
    END {
        if (NR != wanted) { failed++; broken = broken "\n  " wanted - NR " programs did not run" }
        if (broken != "") print "failed:" broken
        print passed + 0 " passed, " failed + 0 " failed" (skipped ? ", " skipped " skipped" : "")
        exit failed > 0
    }' "$RESULTS/results"
