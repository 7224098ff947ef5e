#!/bin/sh
# Runs test programs (cmocka, or any that exits with 0 for passed), one after the
# other, and ends with the line "N passed, N failed". A program's output is
# shown only when it fails, or with V=1. TEST_TIMEOUT: seconds for each program.
#   tests/run.sh PROGRAM...      a program with arguments: one quoted word
set -u
passed=0 failed=0 broken=
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
for command in "$@"; do
    start=$(date +%s)
    # shellcheck disable=SC2086  # words on purpose
    timeout -k 10 "${TEST_TIMEOUT:-300}" $command >"$out" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    ok=$(grep -acE '^\[       OK \]' "$out")
    bad=$(grep -acE '^\[  FAILED  \] [A-Za-z_0-9]+$' "$out")
    skip=$(grep -acE '^\[  SKIPPED \] [A-Za-z_0-9]+$' "$out")
    bad=$((bad / 2)) # cmocka names each failed test twice
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    [ "$status" -eq 0 ] && [ "$ok" -eq 0 ] && ok=1
    passed=$((passed + ok)) failed=$((failed + bad))
    if [ "$status" -ne 0 ]; then
        broken="$broken
  $command (exit $status)"
        echo "FAIL  $command: exit $status after $seconds s"
        cat "$out"
    else
        note=
        [ "$skip" -gt 0 ] && note=", $skip skipped"
        printf '  ok  %-40s %3d tests%s, %d s\n' "$(basename "${command%% *}")" "$ok" "$note" "$seconds"
        [ -n "${V:-}" ] && cat "$out"
    fi
done
[ -n "$broken" ] && echo "failed:$broken"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
