#!/usr/bin/env bash
# Checks that the tests notice known mistakes. Each patch in tests/mistakes/ is one mistake. This script applies it to a
# scratch copy of the tree, in target/mistakes/, and runs the tests that its header names. One of them must fail.
#
# usage: scripts/mistakes.sh [NAME…]   runs these mistakes, or all
#        scripts/mistakes.sh --some    runs mistakes for MISTAKES_SECONDS (600), at least one; those in files that the
#                                      last commit touched come first
#        scripts/mistakes.sh --check   checks the headers, and that every patch applies
#
# A header has four lines:
#   Mistake: what is wrong
#   Invariant: what it breaks
#   Build: the test target: a test of the package leadersboard-tests, or a package whose unit tests are meant; before it
#          the word `program` if these tests start the program
#   Filter: the tests, in the language of cargo nextest
# To add a mistake, make it in the tree, put such a header before the output of `git diff -U2`, and revert it.
set -euo pipefail
cd "$(dirname "$0")/.."

patches=tests/mistakes
scratch=$PWD/target/mistakes
tree=$scratch/tree
artifacts=$scratch/build
# How nextest says that a test failed, was stopped, or died of a signal.
failed='^ *(FAIL|TIMEOUT|SIG[A-Z]+) \['
# The sandbox is tested at its floor, where nothing hides what the supervisor leaves undone.
features=leadersboard-cli/faults,leadersboard-tests/faults

fail() {
    printf '%s\n' "$*" >&2
    exit 2
}

patch_of() { printf '%s/%s.patch' "$patches" "$1"; }
field() { sed -n "/^--- /q; s/^$2: //p" "$(patch_of "$1")"; }
files_of() { sed -n 's|^+++ b/||p' "$(patch_of "$1")"; }

check() {
    local name=$1 line
    [ -f "$(patch_of "$name")" ] || fail "there is no known mistake $name in $patches"
    for line in Mistake Invariant Build Filter; do
        [ -n "$(field "$name" "$line")" ] || fail "$(patch_of "$name"): the header has no line \"$line: …\""
    done
    git apply --check "$(patch_of "$name")" ||
        fail "$(patch_of "$name") does not apply: make the same mistake in the code as it is now"
}

# Makes the scratch copy equal to the tree. Cargo rebuilds a file whose time is newer than its last build, so a file of
# the copy gets a new time exactly when its content changes.
copy_tree() {
    local file
    mkdir -p "$tree/target"
    find "$tree" -type f -printf '%P\0' | while IFS= read -r -d '' file; do
        [ -f "$file" ] || rm "$tree/$file"
    done
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        # A file that was deleted is still in git's index.
        if [ ! -f "$file" ] || cmp -s "$file" "$tree/$file"; then continue; fi
        mkdir -p "$tree/$(dirname "$file")"
        cp "$file" "$tree/$file"
    done
    for file in .venv target/*-venv target/mlflow; do
        if [ -e "$file" ]; then ln -sfn "$PWD/$file" "$tree/$file"; fi
    done
}

# Takes over what other builds made of the dependencies. What is the workspace's own is built at its own path.
take_dependencies() {
    local of_all=target/debug
    if [ -d "$artifacts" ] || [ ! -d $of_all/.fingerprint ]; then return; fi
    mkdir -p "$artifacts/debug"
    cp -a $of_all/.fingerprint $of_all/build "$artifacts/debug"
    # Compilers replace these files and never write into them.
    cp -al $of_all/deps "$artifacts/debug"
    rm -rf "$artifacts"/debug/{deps,.fingerprint,build}/*leadersboard*
}

# Runs cargo in the scratch copy.
in_copy() {
    (cd "$tree" && CARGO_TARGET_DIR=$artifacts LEADERSBOARD_BINARY=$artifacts/debug/leadersboard RUST_BACKTRACE=0 "$@")
}

# Builds what a mistake's header names, and sets `target` to cargo's arguments for its tests. All of the workspace is
# named each time, so that dependencies are built with the same features.
build() {
    local program=()
    read -ra target <<<"$1"
    if [ "${target[0]}" = program ]; then
        program=(--bin leadersboard)
        target=("${target[@]:1}")
    fi
    if [ -d "${target[0]}" ]; then
        target=(-p "leadersboard-${target[0]}" --tests)
    else
        target=(--workspace --features "$features" --test "${target[0]}")
    fi
    in_copy cargo build "${target[@]}" "${program[@]}"
}

run_tests() {
    in_copy env ${deadlines:+FIXED_DEADLINES=1} cargo nextest run --profile mistakes "${target[@]}" --hide-progress-bar -E "$1"
}

# Runs the tests of all these mistakes without any: those that fail by themselves would seem to notice everything.
run_without() {
    local name needs filter
    for needs in $(for name; do field "$name" Build | tr " " "+"; done | sort -u); do
        filter='none()'
        for name; do
            if [ "$(field "$name" Build)" = "${needs//+/ }" ]; then filter+=" or ($(field "$name" Filter))"; fi
        done
        build "${needs//+/ }" || return
        run_tests "$filter" || return
    done
}

# Applies a patch to the copy, or reverts it.
change_copy() {
    local name=$1
    shift
    git apply "$@" --directory="${tree#"$PWD/"}" "$(patch_of "$name")" || fail "$name does not apply to the copy"
}

# Plants a mistake, looks whether the tests notice it, and reverts it.
try() {
    local name=$1 log=$scratch/$1.log began=$SECONDS built file outcome=0 same=yes
    change_copy "$name"
    for file in $(files_of "$name"); do
        cmp -s "$file" "$tree/$file" || same=no
    done
    [ $same = no ] || fail "$(patch_of "$name") changes nothing"
    if ! build "$(field "$name" Build)" >"$log" 2>&1; then
        cat "$log"
        fail "$name could not be built"
    fi
    built=$((SECONDS - began))
    run_tests "$(field "$name" Filter)" >>"$log" 2>&1 || outcome=$?
    change_copy "$name" --reverse
    if [ $outcome -ne 0 ] && ! grep -qE "$failed" "$log"; then
        cat "$log"
        fail "the tests of $name could not be run"
    fi
    printf '%s (%d s, %d of them to build)\n' "$name" $((SECONDS - began)) $built
    printf '  mistake:   %s\n  invariant: %s\n' "$(field "$name" Mistake)" "$(field "$name" Invariant)"
    if [ $outcome -eq 0 ]; then
        printf '  NOTICED BY NO TEST\n'
        return 1
    fi
    sed -nE "s/$failed.*\] *(\([^)]*\))? */  noticed by /p" "$log" | sort -u
}

# The mistakes in the order in which a commit tries them: those in what it touches, then by its hash.
ordered() {
    local name file rank touched commit
    commit=$(git rev-parse HEAD)
    # A shallow clone may have no parent to compare with.
    touched=$(git diff --name-only HEAD^1 2>/dev/null || true)
    for name; do
        rank=2
        for file in "$(patch_of "$name")" $(files_of "$name"); do
            if grep -qxF "$file" <<<"$touched"; then rank=1; fi
        done
        printf '%d %s %s\n' $rank "$(sha256sum <<<"$commit $name" | cut -d' ' -f1)" "$name"
    done | sort | cut -d' ' -f3
}

mode=${1-}
case $mode in
--check | --some) shift ;;
-*) fail "$(sed -n '/^# usage: /,/^#$/s/^# \?//p' "$0")" ;;
esac
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    names=("$patches"/*.patch)
    names=("${names[@]#"$patches/"}")
    names=("${names[@]%.patch}")
fi
for name in "${names[@]}"; do
    check "$name"
done
[ "$mode" != --check ] || exit 0

limit=
if [ "$mode" = --some ]; then
    limit=${MISTAKES_SECONDS:-600}
    mapfile -t names < <(ordered "${names[@]}")
fi
[[ ${limit:-0} =~ ^[0-9]+$ ]] || fail "MISTAKES_SECONDS is a number of seconds, not \"$limit\""
cargo nextest --version >/dev/null 2>&1 || fail "cargo-nextest is missing: cargo install --locked cargo-nextest"
copy_tree
take_dependencies
# A mistake is often noticed by a deadline, and waiting longer would notice no more. On a machine that is too busy for
# that, deadlines may grow, with a mistake and without.
deadlines=fixed
if ! run_without "${names[@]}" >"$scratch/without.log" 2>&1; then
    deadlines=
    run_without "${names[@]}" >"$scratch/without.log" 2>&1 || {
        cat "$scratch/without.log"
        fail "the tests fail without any mistake"
    }
fi
printf 'without any mistake the tests pass (%d s)\n' $SECONDS
tried=0
missed=()
for name in "${names[@]}"; do
    if [ -n "$limit" ] && [ $tried -gt 0 ] && [ $SECONDS -ge "$limit" ]; then break; fi
    try "$name" || missed+=("$name")
    tried=$((tried + 1))
done
echo
echo "$((tried - ${#missed[@]})) of $tried known mistakes were noticed, in $SECONDS s"
if [ $tried -lt ${#names[@]} ]; then
    echo "left out, for $limit s were over: ${names[*]:tried}"
fi
[ ${#missed[@]} -eq 0 ] || fail "no test noticed: ${missed[*]}"
