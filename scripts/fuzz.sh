#!/usr/bin/env bash
# Runs every fuzz target for a fixed number of inputs, from its seeds; what it finds on the way stays in build/fuzz/corpus.
#
#   scripts/fuzz.sh              20000 inputs each
#   scripts/fuzz.sh 1000000      that many; TB_FUZZ_RUNS does the same
#   scripts/fuzz.sh 5000 header records
#   TB_FUZZ_SECONDS=600 TB_FUZZ_SEED=$RANDOM scripts/fuzz.sh 1000000     other inputs, and more time for each target
set -euo pipefail
cd "$(dirname "$0")/.."

runs="${1:-${TB_FUZZ_RUNS:-20000}}"
shift || true
build="${TB_FUZZ_BUILD:-build/fuzz}"

mkdir -p "${build%/*}"
cmake --preset fuzz -B "$build" >"${build%/*}/cmake-fuzz.log" 2>&1 || { cat "${build%/*}/cmake-fuzz.log" >&2; exit 1; }
ninja -C "$build" fuzzers

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for program in "$build"/bin/fuzz_*; do
    [[ "$program" == */fuzz_replay_* ]] || targets+=("${program##*/fuzz_}")
  done
fi
for name in "${targets[@]}"; do
  seeds="fuzz/corpus/$name"
  found="$build/corpus/$name"
  mkdir -p "$found" "$build/crashes"
  [ -n "$(ls -A "$seeds")" ] || { echo "fuzz: $seeds holds no seeds" >&2; exit 1; }
  printf 'fuzz: %s, %s inputs\n' "$name" "$runs"
  # A fixed seed: the same inputs every time on the same build. A target that writes files gets fewer inputs, not more time.
  "$build/bin/fuzz_$name" -runs="$runs" -max_total_time="${TB_FUZZ_SECONDS:-60}" -seed="${TB_FUZZ_SEED:-20261122}" \
    -max_len=8192 -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$build/crashes/" -print_final_stats=0 -verbosity=0 "$found" "$seeds"
done
echo "fuzz: ${#targets[@]} targets, $runs inputs each, nothing found"
