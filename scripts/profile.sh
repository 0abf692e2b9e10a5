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
export LLVM_PROFILE_FILE="$directory/%p.profraw"
bench/proxy_bench.py --load "$build/bin/proxy_load" --gate "$build/bin/proxy_gate" --directory "$directory" \
  --rounds 1 --seconds 2 --mib 256 --only small,large,events,bulk >"$directory/told"
llvm-profdata-19 merge --text --sparse -o "$directory/all.proftext" "$directory"/*.profraw
scripts/profile-often.py "$directory/all.proftext" >"$directory/often.proftext"
llvm-profdata-19 merge -o cmake/proxy.profdata "$directory/often.proftext"
echo "profile: $(grep -c '^# Func Hash' "$directory/often.proftext") of $(grep -c '^# Func Hash' "$directory/all.proftext") functions kept"
