#!/usr/bin/env bash
# The story of Consilium on this machine: four hospitals, their patients, what is
# allowed, what is refused, and what happens when a node dies or lies. Each step
# checks its own result and ends the demo with an error if it isn't so.
#
#   make demo [DATA=folder of FHIR R4 bundles]     make demo-stop
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
if locale -a 2>/dev/null | grep -qix 'c\.utf-\?8'; then export LC_ALL=C.UTF-8; fi # lines are cut between characters

BUILD=${BUILD:-build}
RUN=$PWD/demo-run
KEYS=$RUN/other-device
NODES=(mercy st-anna northside harbour)
HOSPITALS=("Mercy General" "St. Anna Clinic" "Northside Hospital" "Harbour Medical")
started=$(date +%s)
bold='' dim='' green='' red='' off='' columns=190
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'
fi
# The client folds its tables to COLUMNS; what is shown here stands behind a margin of 5.
if [ -t 1 ] && read -r _ columns < <(stty size 2>/dev/null) && [ "$columns" -ge 60 ]; then :; else columns=190; fi
columns=$((columns - 5))
export COLUMNS=$columns

step=0
title() { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$off"; shift; [ $# -eq 0 ] || printf '   %s\n' "$@"; }
shown() { printf '%s   $ %s%s\n' "$dim" "$1" "$off"; }
ok() { printf '   %sok%s  %s\n' "$green" "$off" "$1"; }
die() {
    printf '\n%sThe demo stopped at step %d: %s%s\n' "$red" "$step" "$1" "$off" >&2
    [ -n "${2:-}" ] && printf '%s\n' "$2" >&2
    printf 'The nodes are stopped; their logs are in %s/*.log. make demo-stop removes that folder.\n' "$RUN" >&2
    exit 1
}

command_of() { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null # process

stop_nodes() {
    for file in "$RUN"/*.pid; do
        [ -f "$file" ] || continue
        pid=$(cat "$file")
        # Only a process that is still the node started here.
        if command_of "$pid" | grep -qF "$RUN"; then
            kill "$pid" 2>/dev/null
            for _ in $(seq 50); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
            kill -9 "$pid" 2>/dev/null
        fi
        rm -f "$file"
    done
}
# The process that tells the story in this folder, if it still does.
teller() {
    local pid
    pid=$(cat "$RUN/teller" 2>/dev/null) || return 1
    [ "$pid" != $$ ] && command_of "$pid" | grep -q 'demo\.sh' && echo "$pid"
}

if [ "${1:-}" = stop ]; then
    if [ ! -d "$RUN" ]; then echo "No demo runs here."; exit 0; fi
    if pid=$(teller); then
        kill "$pid"
        for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
    fi
    stop_nodes
    rm -rf "$RUN"
    echo "The demo's nodes are stopped and its folder is removed."
    exit 0
fi

consilium() { "$BUILD/consilium" --cluster "$RUN/genesis" "$@"; }
as() { local who=$1; shift; consilium --identity "$RUN/$who.key" "$@"; }

# Runs as somebody, shows the command, keeps the output in $out; dies unless it exits with the code wanted.
expect() {
    local code=$1 who=$2 got; shift 2
    shown "consilium --identity $who.key $*"
    out=$(as "$who" "$@" 2>&1); got=$?
    [ "$got" -eq "$code" ] || die "expected exit code $code, got $got from: consilium $*" "$out"
}
quiet() {
    local code=$1 who=$2 got; shift 2
    out=$(as "$who" "$@" 2>"$RUN/stderr"); got=$?
    [ "$got" -eq "$code" ] || die "expected exit code $code, got $got from: consilium $*" "$out $(cat "$RUN/stderr")"
}
# The first lines of $out; what is longer than the screen is wide goes on below, up to three times.
show() {
    local line part pieces
    while IFS= read -r line; do
        pieces=0
        while [ ${#line} -gt "$columns" ] && [ $pieces -lt 2 ]; do
            part=${line:0:$columns}
            [[ $part == *[!\ ]*' '* ]] && part=${part% *}
            printf '   | %s\n' "$part"
            line=${line:${#part}}
            line="    ${line# }"
            pieces=$((pieces + 1))
        done
        [ ${#line} -le "$columns" ] || line="${line:0:$((columns - 3))}..."
        printf '   | %s\n' "$line"
    done < <(printf '%s\n' "$out" | head -n "${1:-14}")
}
field() { printf '%s' "$out" | jq -er "$1" || die "no $1 in the answer" "$out"; }
contains() { printf '%s' "$out" | grep -qF -- "$1" || die "expected to find \"$1\"" "$out"; }

start_node() { # number
    local name=${NODES[$1]}
    "$BUILD/consiliumd" run --dir "$RUN/$name" --genesis "$RUN/genesis" --map-gib 64 >>"$RUN/$name.log" 2>&1 </dev/null &
    echo $! >"$RUN/$name.pid"
    disown
}
wait_ready() { # number, lives
    local log=$RUN/${NODES[$1]}.log
    for _ in $(seq 450); do
        [ "$(grep -c ' ready: ' "$log")" -ge "$2" ] && return 0
        sleep 0.1
    done
    die "node ${NODES[$1]} is not ready after 45 s" "$(tail -n 12 "$log")"
}
free_port() { # from this one on
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do exec 3>&-; port=$((port + 1)); done
    echo "$port"
}
status_of() { # node number, jq of its row
    local got=0
    out=$(as auditor --via "${NODES[$1]}" --json status 2>"$RUN/stderr") || got=$?
    # 5: a node that is just back has not heard of enough others yet
    [ "$got" -eq 0 ] || [ "$got" -eq 5 ] || die "no status of ${NODES[$1]}" "$out $(cat "$RUN/stderr")"
    printf '%s' "$out" | jq -er --arg n "${NODES[$1]}" ".members[] | select(.name == \$n) | $2"
}

refuse() { printf '%sThe demo did not start: %s%s\n' "$red" "$1" "$off" >&2; exit 1; }
is_bundle() {
    jq -e '.resourceType == "Bundle" and ([.entry[]? | select(.resource.resourceType == "Patient")] | length == 1)' \
        "$1" >/dev/null 2>"$2"
}

command -v jq >/dev/null || refuse "jq is missing; as root: apt-get install jq"
if pid=$(teller); then
    refuse "another one is under way in this folder (process $pid); wait for its end, or end it with make demo-stop"
fi
data=${DATA:-}
bundles=()
if [ -n "$data" ]; then
    [ -d "$data" ] || refuse "DATA=$data is no folder; name one with FHIR R4 bundles (*.json), or leave DATA out"
    why=$(mktemp) && trap 'rm -f "$why"' EXIT
    for file in "$data"/*.json; do
        [ -f "$file" ] || continue
        if is_bundle "$file" "$why"; then bundles+=("$file"); continue; fi
        reason=$(head -n 1 "$why")
        echo "passed by: $file: ${reason:-no bundle of one patient}" >&2
    done
    [ ${#bundles[@]} -gt 0 ] ||
        refuse "$data has no FHIR R4 bundle of a patient (*.json); name another folder, or leave DATA out"
    rm -f "$why"
fi
[ -d "$RUN" ] && { stop_nodes; rm -rf "$RUN"; }
mkdir -p "$RUN" "$KEYS" || refuse "the folder $RUN cannot be made"
chmod 700 "$RUN" "$KEYS"
echo $$ >"$RUN/teller"
export XDG_CACHE_HOME=$RUN/cache # what the auditor's client remembers goes with the demo
trap 'code=$?; rm -f "$RUN/teller"; [ $code -eq 0 ] || stop_nodes' EXIT
interrupted() {
    trap '' INT TERM
    printf '\n%sInterrupted at step %d; the nodes are being stopped. make demo-stop removes their folder.%s\n' \
        "$red" "$step" "$off" >&2
    exit 130
}
trap interrupted INT TERM

echo "${bold}Consilium: four hospitals share patients, and trust no single one of them.${off}"

title "Four hospitals make their nodes" \
    "Each makes its own keys. The storage key, which seals all it stores, lies on another device." \
    "They exchange public descriptors, and agree on one genesis file: that is all a client ever trusts."
members=() port=7411
for i in 0 1 2 3; do
    port=$(free_port $port)
    "$BUILD/consiliumd" init --dir "$RUN/${NODES[$i]}" --name "${NODES[$i]}" --hospital "${HOSPITALS[$i]}" \
        --listen "127.0.0.1:$port" --storage-key-file "$KEYS/${NODES[$i]}.key" >/dev/null 2>"$RUN/stderr" ||
        die "consiliumd init failed" "$(cat "$RUN/stderr")"
    members+=(--member "$RUN/${NODES[$i]}/node.descriptor")
    port=$((port + 1))
done
"$BUILD/consilium" key new --no-passphrase -o "$RUN/root.key" >/dev/null 2>&1 || die "no administrator's key"
"$BUILD/consilium" genesis --origin consilium/demo --admin "$RUN/root.key" "${members[@]}" -o "$RUN/genesis" \
    >/dev/null 2>"$RUN/stderr" || die "no genesis" "$(cat "$RUN/stderr")"
out=$("$BUILD/consilium" genesis show "$RUN/genesis") || die "genesis show failed"
show 24

title "The nodes start, elect a leader, and generate the collective key together" \
    "The key that opens records never exists anywhere: each hospital holds a share, 3 of 4 are needed."
for i in 0 1 2 3; do start_node $i; done
for i in 0 1 2 3; do wait_ready $i 1; done
ok "all four are ready"

title "People get their roles" \
    "Private keys stay with their users. Every step is an entry in the ledger, decided by each node by itself."
add_user() { # login, role, hospital, name
    "$BUILD/consilium" key new --no-passphrase -o "$RUN/$1.key" >/dev/null 2>&1 || die "no key for $1"
    quiet 0 "${5:-root}" --json user add --role "$2" --hospital "$3" --login "$1" --name "$4" --key "$RUN/$1.key"
}
add_user admin admin "Mercy General" "Alex Administrator"
add_user auditor auditor "St. Anna Clinic" "Avery Auditor"
for person in "registrar:registrar:Mercy General:Robin Registrar" "doctor:doctor:Mercy General:Dr. Dana Doctor" \
    "nurse:nurse:Mercy General:Noor Nurse"; do
    IFS=: read -r login role hospital name <<<"$person"
    add_user "$login" "$role" "$hospital" "$name" admin
done
ok "an administrator, a registrar, a doctor, a nurse and an auditor"

title "Patients move in" "FHIR bundles: the registrar imports each patient and every resource as an encrypted record." \
    "Encrypted here, before it leaves this process; the nodes never see content."
if [ -z "$data" ]; then
    sh tests/demo/patients.sh "$RUN/patients" || die "could not generate patients"
    bundles=("$RUN"/patients/*.json)
    echo "   (no DATA=folder given: using patients that this project generates)"
fi
shown "consilium --identity registrar.key import ${#bundles[@]} bundles"
before=$(date +%s%N)
quiet 0 registrar --json import "${bundles[@]}"
created=$(field .created)
patient=$(field '.patients[0].id')
ms=$((($(date +%s%N) - before) / 1000000))
ok "${#bundles[@]} patients, $created records in $((ms / 1000)).$(printf %03d $((ms % 1000))) s; each co-signed by 3 nodes and checked here"
quiet 0 registrar --json import "${bundles[0]}"
[ "$(field .created)" = 0 ] || die "a second import created records again" "$out"
ok "importing again changes nothing: $(field .unchanged) unchanged"
name=$(jq -r '[.entry[].resource | select(.resourceType == "Patient")][0].name[0] | "\(.given[0]) \(.family)"' "${bundles[0]}")
family=$(jq -r '[.entry[].resource | select(.resourceType == "Patient")][0].name[0].family' "${bundles[0]}")

title "A doctor of the patient's team reads and updates a record" \
    "Reading is an entry first; then 3 nodes, which each saw the entry under a co-signed checkpoint, give a share."
"$BUILD/consilium" key new --no-passphrase -o "$RUN/patient.key" >/dev/null 2>&1 || die "no key for the patient"
quiet 0 registrar user key "$patient" "$RUN/patient.key"
"$BUILD/consilium" key assign "$RUN/patient.key" --user "$patient" >/dev/null 2>&1 || die "the key can't be assigned"
expect 3 doctor record list "$patient"
ok "not in the team yet: denied, and the attempt is in the ledger"
quiet 0 registrar team add "$patient" doctor
quiet 0 registrar team add "$patient" nurse
quiet 0 doctor --json record list "$patient" --limit 200
record=$(field '[.[] | select(.kind == "Observation")][0].record')
expect 0 doctor record show "$record"
contains '"Observation"'
show 6
expect 0 doctor record create --patient "$patient" --set temperature=38.5 --set blood_pressure=120/80
quiet 0 doctor --json record create --patient "$patient" --kind note --confidentiality R "$0"
restricted=$(field .record)
quiet 0 doctor --json record create --patient "$patient" --kind note LICENSE
mine=$(field .record)
quiet 0 doctor record show "$mine"
[ "$(as doctor record show "$mine" | sha256sum)" = "$(sha256sum <LICENSE)" ] || die "the record did not come back byte for byte"
printf 'amended by the doctor\n' >"$RUN/amended.txt"
expect 0 doctor record update "$mine" --base 1 --yes "$RUN/amended.txt"
[ "$(as doctor record show "$mine")" = "amended by the doctor" ] || die "the update is not there"
expect 7 doctor record update "$mine" --base 1 --yes LICENSE
ok "updated; a second update of version 1 is told apart as a conflict (exit code 7)"

title "A nurse is denied a restricted record" "Denied by each node's own decision, and recorded with the reason."
expect 3 nurse record show "$restricted"
show 4
ok "exit code 3"

title "The patient sees both in their own log"
expect 0 patient log --limit 6
show 22
contains record.read
contains denied

title "One hospital's disk alone opens nothing" \
    "A thief with a copy of one node's disk has sealed values; one with its keys as well has ciphertext and one share of three."
cp -r "$RUN/harbour" "$RUN/stolen"
rm -f "$RUN/stolen/lock"
for word in "$family" "amended by the doctor" "Dana Doctor"; do
    if grep -rqaF -- "$word" "$RUN/stolen" "$RUN"/mercy "$RUN"/st-anna "$RUN"/northside; then die "\"$word\" stands on a disk in the clear"; fi
done
ok "neither the name $name nor the doctor's text is on any disk"
head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$RUN/guess.key" && echo >>"$RUN/guess.key" && chmod 600 "$RUN/guess.key"
if out=$("$BUILD/consiliumd" dump attachment --dir "$RUN/stolen" --storage-key-file "$RUN/guess.key" 2>&1); then
    die "a stolen disk opened without its storage key" "$out"
fi
show 2
out=$("$BUILD/consiliumd" dump attachment --dir "$RUN/stolen" 2>&1) || die "the dump with the key failed" "$out"
if printf '%s' "$out" | grep -qF "amended by the doctor"; then die "one node alone reads content"; fi
ok "even with that node's storage key: only ciphertext; the content key needs shares of 3 nodes"
rm -rf "$RUN/stolen"

title "The leader is killed with kill -9, and work goes on" "Nothing that was acknowledged is lost; no person is needed."
quiet 0 auditor --json status
leader=$(printf '%s' "$out" | jq -er '[.members[] | select(.leads)][0].name') || die "no leader" "$out"
for i in 0 1 2 3; do [ "${NODES[$i]}" = "$leader" ] && dead=$i; done
shown "kill -9 $leader"
kill -9 "$(cat "$RUN/$leader.pid")" || die "could not kill $leader"
before=$(date +%s%N)
quiet 0 doctor event add "$patient" bill.print invoice-1
quiet 0 doctor record show "$mine"
[ "$out" = "amended by the doctor" ] || die "the record changed" "$out"
ok "a write and a read with one node dead, $((($(date +%s%N) - before) / 1000000)) ms after the kill"

title "The dead node returns and catches up by itself"
lives=$(($(grep -c ' ready: ' "$RUN/$leader.log") + 1))
start_node "$dead"
wait_ready "$dead" "$lives"
for _ in $(seq 100); do
    a=$(status_of "$dead" '"\(.size) \(.root)"') || die "no status" "$out"
    b=$(status_of $(((dead + 1) % 4)) '"\(.size) \(.root)"') || die "no status" "$out"
    [ "$a" = "$b" ] && break
    sleep 0.1
done
[ "$a" = "$b" ] || die "$leader has $a, another node $b"
sleep 0.5 # nodes tell each other how they are several times a second
expect 0 auditor status
show 12
ok "same size and root everywhere"

title "One node's ledger is altered, and the auditor's cross-check names it" \
    "The administrator of Harbour Medical has that node's keys, and turns a denial into an approval in its own database."
quiet 0 auditor --json log --decision denied --limit 5
index=$(field '[.[] | select(.action == "record.read")][0].index')
kill "$(cat "$RUN/harbour.pid")" && while [ -d "/proc/$(cat "$RUN/harbour.pid")" ]; do sleep 0.1; done
"$BUILD/tamper" --dir "$RUN/harbour" leaf "$index" || die "could not alter the ledger"
lives=$(($(grep -c ' ready: ' "$RUN/harbour.log") + 1))
CONSILIUMD_SCRUB_RATE=0 start_node 3 # a node that scrubs would repair itself from the others, with an alarm
wait_ready 3 "$lives"
expect 6 auditor verify --all
show 16
contains harbour
contains "$index"
ok "exit code 6: the node harbour, at entry $index"
kill "$(cat "$RUN/harbour.pid")" && while [ -d "/proc/$(cat "$RUN/harbour.pid")" ]; do sleep 0.1; done
shown "consiliumd rebuild --dir harbour"
"$BUILD/consiliumd" rebuild --dir "$RUN/harbour" >/dev/null || die "rebuild failed"
lives=$((lives + 1))
start_node 3
wait_ready 3 "$lives"
quiet 0 auditor status --state-digest # the others see that it is as they are, and take back their alarms
for _ in $(seq 100); do
    quiet 0 auditor --json alarm list
    [ "$(field length)" = 0 ] && break
    sleep 0.2
done
expect 0 auditor verify --all
show 8
ok "harbour threw its altered state away and derived it anew; all four agree"

trap - EXIT INT TERM
rm -f "$RUN/teller"
cat <<TEXT

${bold}Done in $(($(date +%s) - started)) s. The cluster goes on running; type next:${off}
  export CONSILIUM_CLUSTER=$RUN/genesis CONSILIUM_IDENTITY=$RUN/doctor.key PATH=$(realpath "$BUILD"):\$PATH
  consilium status
  consilium record list $patient
  consilium record show $mine
  consilium --identity $RUN/patient.key log
  consilium --identity $RUN/auditor.key verify --all
  make demo-stop
TEXT
