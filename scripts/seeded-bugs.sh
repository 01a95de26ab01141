#!/usr/bin/env bash
# Runs the tests once without and once with each known mistake that the feature `faults` builds in. A mistake that no
# test notices is a hole in the tests. Prints, for each, the first test that failed and what it said.
#
# usage: scripts/seeded-bugs.sh [BUG…]      all by default
set -euo pipefail
cd "$(dirname "$0")/.."

features=leadersboard-adapters/faults,leadersboard-cli/faults,leadersboard-events/faults,leadersboard-tests/faults
features+=,leadersboard-projections/faults,leadersboard-worker/faults
binary=$PWD/target/faults/leadersboard
log=$(mktemp)
trap 'rm -f "$log"' EXIT

bugs=("$@")
if [ ${#bugs[@]} -eq 0 ]; then
    mapfile -t bugs < <(grep -rhoE 'seeded_bug!\("[a-z_]+"\)' --include='*.rs' adapters events projections worker |
        cut -d'"' -f2 | sort -u)
fi

# The tests of the tracker wait out slow requests, and those of the sandbox attack it: they look for mistakes made there,
# and no others do.
tests_for() {
    if grep -rq "seeded_bug!(\"$1\")" worker/src/tracking adapters/src/mlflow; then
        echo 'test(/tracking/)'
    elif grep -rq "seeded_bug!(\"$1\")" worker/src/confinement; then
        echo 'binary(sandbox)'
    else
        echo 'not binary(sandbox) and not test(/tracking/)'
    fi
}

# Two tests of slow lines take a minute by themselves and look for none of this.
run() {
    LEADERSBOARD_BINARY=$binary RUST_BACKTRACE=0 cargo nextest run --profile seeded-bugs --workspace \
        --features "$features" --test-threads 5 --hide-progress-bar \
        -E "not test(/faults::network/) and $(tests_for "$1")" >"$log" 2>&1
}

# What fails by itself would seem to notice everything.
if ! run none; then
    cat "$log"
    echo "the tests fail without any mistake" >&2
    exit 2
fi

missed=0
printf '%-36s %-6s %s\n' BUG CAUGHT "FIRST TEST THAT FAILED, AND WHAT IT SAID"
for bug in "${bugs[@]}"; do
    began=$SECONDS
    # A mistake is often noticed by a deadline: waiting longer would notice no more.
    if FIXED_DEADLINES=1 LEADERSBOARD_BUG=$bug run "$bug"; then
        printf '%-36s %-6s %s\n' "$bug" no "nothing noticed it"
        missed=$((missed + 1))
        continue
    fi
    if ! grep -q ' FAIL \[' "$log"; then
        cat "$log"
        echo "the tests could not be run" >&2
        exit 2
    fi
    test=$(grep -m1 ' FAIL \[' "$log" | sed 's/.*) //')
    said=$(grep -m1 -A1 'panicked at' "$log" | tail -1 | sed 's/^ *//' | cut -c1-160)
    printf '%-36s %-6s %s (%d s)\n%-43s %s\n' "$bug" yes "$test" $((SECONDS - began)) "" "$said"
done
echo
echo "$((${#bugs[@]} - missed)) of ${#bugs[@]} known mistakes were noticed"
[ "$missed" -eq 0 ]
