#!/usr/bin/env bash
# Prints the line coverage of each crate by the tests of `make test`, with the processes that the tests start.
#
# Needs cargo-llvm-cov and the LLVM tools of rustc's major version: `rustup component add llvm-tools`, or Debian's
# llvm-22 with LLVM_COV and LLVM_PROFDATA set to the full paths of its programs.
#
# usage: scripts/coverage.sh [--missing CRATE]      with --missing: the files of a crate, those with most gaps first
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-llvm-cov >/dev/null ||
    { echo "cargo-llvm-cov is missing: cargo install --locked cargo-llvm-cov --version '^0.9'" >&2; exit 1; }

export CARGO_TARGET_DIR=$PWD/target/coverage
summary=$CARGO_TARGET_DIR/summary.json
# Exports RUSTFLAGS or a wrapper, and where each process writes its counters.
eval "$(cargo llvm-cov show-env --sh --no-cfg-coverage 2>/dev/null)"

if [ "${1:-}" != --missing ] || [ ! -e "$summary" ]; then
    cargo llvm-cov clean --workspace
    cargo build -p leadersboard-cli
    # What fails is told by `make test`: here it only counts less.
    cargo nextest run --no-fail-fast --workspace --hide-progress-bar || true
    cargo llvm-cov report --json --summary-only --output-path "$summary"
fi

python3 - "$summary" "${2:-}" <<'PYTHON'
import collections, json, os, sys

summary, crate = sys.argv[1:]
files = json.load(open(summary))["data"][0]["files"]
lines = collections.defaultdict(lambda: [0, 0])
for file in files:
    path = os.path.relpath(file["filename"])
    of, counts = path.split("/")[0], file["summary"]["lines"]
    if "/src/" not in path or of == "tests":
        continue
    name = of if not crate else path if of == crate else None
    if name:
        lines[name][0] += counts["covered"]
        lines[name][1] += counts["count"]
shown = sorted(lines.items(), key=lambda item: item[1][0] - item[1][1])[:40] if crate else sorted(lines.items())
for name, (covered, count) in shown:
    print(f"{name:<50} {100 * covered / max(count, 1):6.1f} %  {covered:6} of {count:6} lines")
if not crate:
    covered, count = (sum(one) for one in zip(*lines.values()))
    print(f"{'all':<50} {100 * covered / max(count, 1):6.1f} %  {covered:6} of {count:6} lines")
PYTHON
