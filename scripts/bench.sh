#!/usr/bin/env bash
# Measures encrypt and decrypt of a file in tmpfs, to tmpfs and to a pipe, against age and against what this machine allows
# in the same minutes; then the inner parts; then downloads against curl. docs/performance.md explains the figures.
#
#   scripts/bench.sh                      2048 MiB, 5 rounds
#   scripts/bench.sh --mib 512 --rounds 3
#   scripts/bench.sh --library            the library alone, without the command around it
#   scripts/bench.sh --deliver            delivery to files and to a FIFO, against decryption alone; as root
set -euo pipefail
cd "$(dirname "$0")/.."

library=""
deliver=""
pass=()
for argument in "$@"; do
  case "$argument" in
    --library) library=1 ;;
    --deliver) deliver=1 ;;
    *) pass+=("$argument") ;;
  esac
done
build="${TB_BENCH_BUILD:-build/bench}"
for tool in age openssl cmp python3; do
  command -v "$tool" >/dev/null || { echo "bench: needs $tool (scripts/deps.sh)" >&2; exit 1; }
done

mkdir -p "${build%/*}"
cmake --preset bench -B "$build" >"${build%/*}/cmake-bench.log" 2>&1 || { cat "${build%/*}/cmake-bench.log" >&2; exit 1; }
targets=(limits random_read tbenc_whole parts_bench aead_bench)
[ -n "$library" ] || targets+=(trustbridge fetch_bench)
[ -z "$deliver" ] || targets=(deliver_bench)
ninja -C "$build" "${targets[@]}"

directory="$(mktemp -d "${TB_BENCH_DIR:-/dev/shm}/tb-bench.XXXXXX")"
trap 'rm -rf "$directory"' EXIT
[ "$(stat -f -c %T "$directory")" = tmpfs ] || echo "bench: $directory is not tmpfs: the figures are of its disk" >&2

grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /cpu: /'
echo "kernel: $(uname -r), load at the start: $(cut -d' ' -f1 /proc/loadavg), $(date -u +%FT%RZ)"
if [ -n "$deliver" ]; then
  mib=2048 rounds=5
  set -- "${pass[@]}"
  while [ $# -gt 0 ]; do
    case "$1" in
      --mib) mib="$2" ;;
      --rounds) rounds="$2" ;;
      *) echo "bench: --deliver knows --mib and --rounds, not $1" >&2; exit 2 ;;
    esac
    shift 2
  done
  "$build/bin/deliver_bench" "$directory" "$mib" "$rounds"
  exit
fi
command=()
[ -n "$library" ] || command=(--trustbridge "$build/bin/trustbridge")
bench/compare.py --directory "$directory" --limits "$build/bin/limits" --tbenc-whole "$build/bin/tbenc_whole" \
  --random-read "$build/bin/random_read" "${command[@]}" "${pass[@]}"

flags=(--benchmark_repetitions=5 --benchmark_report_aggregates_only=true --benchmark_min_time=0.2)
for program in parts_bench aead_bench; do
  "$build/bin/$program" "${flags[@]}" 2>/dev/null | grep -E '^Benchmark|_median' || true
done

# Both ends on this machine: nginx serves from tmpfs, what is timed is the receiving end.
if [ -z "$library" ]; then
  "$build/bin/fetch_bench" "$directory/fetch"
  "$build/bin/fetch_bench" "$directory/fetch-tls" --mib 512 --tls
fi
