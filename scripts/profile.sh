#!/usr/bin/env bash
# Makes cmake/proxy.profdata anew, the profile that a release is optimised for: the benchmark's load on a gate that
# counts what it runs. After larger changes to the proxy's path; then scripts/bench.sh --proxy says what it is worth.
#
# Kept are functions that ran often. The others (a start, a refusal) would be compiled for size, also where another program
# runs them often.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in nginx pgrep taskset llvm-profdata-19; do
  command -v "$tool" >/dev/null || { echo "profile: needs $tool (scripts/deps.sh)" >&2; exit 1; }
done
build=build/profile
mkdir -p build
cmake --preset bench -B "$build" -DTB_COUNT=ON >build/cmake-profile.log 2>&1 || { cat build/cmake-profile.log >&2; exit 1; }
ninja -C "$build" proxy_load proxy_gate

directory="$(mktemp -d /dev/shm/tb-profile.XXXXXX)"
trap 'rm -rf "$directory"' EXIT
# Events come thirty times less often than requests here, and matter as much.
weighted=()
for part in small:1 large:1 events:30 bulk:1; do
  mkdir "$directory/${part%:*}"
  LLVM_PROFILE_FILE="$directory/${part%:*}/%p.profraw" bench/proxy_bench.py --load "$build/bin/proxy_load" --gate "$build/bin/proxy_gate" \
    --directory "$directory" --rounds 1 --seconds 2 --mib 256 --only "${part%:*}" >"$directory/told"
  llvm-profdata-19 merge -o "$directory/${part%:*}.profdata" "$directory/${part%:*}"/*.profraw
  weighted+=("--weighted-input=${part#*:},$directory/${part%:*}.profdata")
done
llvm-profdata-19 merge --text --sparse -o "$directory/all.proftext" "${weighted[@]}"
scripts/profile-often.py "$directory/all.proftext" >"$directory/often.proftext"
llvm-profdata-19 merge -o cmake/proxy.profdata "$directory/often.proftext"
echo "profile: $(grep -c '^# Func Hash' "$directory/often.proftext") of $(grep -c '^# Func Hash' "$directory/all.proftext") functions kept"
