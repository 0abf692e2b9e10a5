#!/usr/bin/env bash
# Measures on tmpfs, everything in the same run, peers and limits beside us. docs/performance.md explains the figures.
#
#   scripts/bench.sh              encrypt and decrypt against age and this machine's limits, inner parts, downloads
#   scripts/bench.sh --library    the first of it, the library alone without the command around it
#   scripts/bench.sh --deliver    delivery to files and to a FIFO, against decryption alone; as root
#   scripts/bench.sh --mount      a mounted model against a file system of zeros, decryption alone and gocryptfs
#   scripts/bench.sh --hydrate    download to last plaintext byte, against the same in series and its parts; as root
#   scripts/bench.sh --control-plane   authorize and renew on the real program beside the same without HTTP; a fleet's minute
#   scripts/bench.sh --proxy      the gate beside nginx: requests, events, memory, bodies of a GiB; two idle cores
#   scripts/bench.sh --upload     uploads beside Azure's own library, encrypt --upload beside its parts; Azurite and a WebDAV nginx
#   … --mib 512 --rounds 3        a smaller file, fewer rounds (2048 MiB, 5 rounds)
set -euo pipefail
cd "$(dirname "$0")/.."

part=command
pass=()
for argument in "$@"; do
  case "$argument" in
    --library | --deliver | --mount | --hydrate | --control-plane | --proxy | --upload) part="${argument#--}" ;;
    *) pass+=("$argument") ;;
  esac
done
build="${TB_BENCH_BUILD:-build/bench}"
case "$part" in
  command) tools=(age openssl cmp python3) targets=(limits random_read tbenc_whole parts_bench aead_bench trustbridge fetch_bench) ;;
  library) tools=(age openssl cmp python3) targets=(limits random_read tbenc_whole parts_bench aead_bench) ;;
  deliver) tools=() targets=(deliver_bench) ;;
  hydrate) tools=(nginx) targets=(hydrate_bench hydrate_memory trustbridge) ;;
  control-plane) tools=() targets=(control_plane_load trustbridge-control-plane) ;;
  proxy) tools=(nginx python3 pgrep taskset) targets=(proxy_load proxy_gate) ;;
  upload) tools=(nginx npm python3) targets=(trustbridge) ;;
  mount) tools=(gocryptfs openssl python3) targets=(mount_bench trustbridge) ;;
esac
for tool in "${tools[@]}"; do
  command -v "$tool" >/dev/null || { echo "bench: needs $tool (scripts/deps.sh)" >&2; exit 1; }
done

mkdir -p "${build%/*}"
cmake --preset bench -B "$build" >"${build%/*}/cmake-bench.log" 2>&1 || { cat "${build%/*}/cmake-bench.log" >&2; exit 1; }
ninja -C "$build" "${targets[@]}"

# A database's fsync means nothing on tmpfs.
place="${TB_BENCH_DIR:-/dev/shm}"
[ "$part" != control-plane ] || place="${TB_BENCH_DIR:-/tmp}"
directory="$(mktemp -d "$place/tb-bench.XXXXXX")"
trap 'rm -rf "$directory"' EXIT
[ "$part" = control-plane ] || [ "$(stat -f -c %T "$directory")" = tmpfs ] || echo "bench: $directory is not tmpfs: the figures are of its disk" >&2

grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /cpu: /'
echo "kernel: $(uname -r), load at the start: $(cut -d' ' -f1 /proc/loadavg), $(date -u +%FT%RZ)"
case "$part" in
  control-plane)
    echo "file system: $(stat -f -c %T "$directory")"
    "$build/bin/control_plane_load" "$build/bin/trustbridge-control-plane" "$directory" "${pass[@]}"
    echo "load at the end: $(cut -d' ' -f1 /proc/loadavg)"
    exit
    ;;
  proxy)
    nginx -v
    bench/proxy_bench.py --load "$build/bin/proxy_load" --gate "$build/bin/proxy_gate" --directory "$directory" "${pass[@]}"
    echo "load at the end: $(cut -d' ' -f1 /proc/loadavg)"
    exit
    ;;
  upload)
    # Azurite as the tests have it; the library is only compared with, so it is installed here.
    scripts/engine.sh
    scripts/test-tools.sh
    mkdir -p build/storage_blob
    cp bench/storage_blob/package.json bench/storage_blob/package-lock.json bench/storage_blob/.npmrc build/storage_blob/
    (cd build/storage_blob && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
    bench/upload_compare.py --directory "$directory" --trustbridge "$build/bin/trustbridge" --storage-blob "$PWD/build/storage_blob" "${pass[@]}"
    echo "load at the end: $(cut -d' ' -f1 /proc/loadavg)"
    exit
    ;;
  deliver)
    "$build/bin/deliver_bench" "$directory" "${pass[@]}"
    exit
    ;;
  hydrate)
    "$build/bin/hydrate_bench" "$directory" "$build/bin/trustbridge" --disk "$build" "${pass[@]}"
    "$build/bin/hydrate_memory" mount "$directory"
    "$build/bin/hydrate_memory" fifo "$directory"
    exit
    ;;
  mount)
    bench/mount_compare.py --directory "$directory" --trustbridge "$build/bin/trustbridge" \
      --mount-bench "$build/bin/mount_bench" "${pass[@]}"
    exit
    ;;
esac
command=()
[ "$part" = library ] || command=(--trustbridge "$build/bin/trustbridge")
bench/compare.py --directory "$directory" --limits "$build/bin/limits" --tbenc-whole "$build/bin/tbenc_whole" \
  --random-read "$build/bin/random_read" "${command[@]}" "${pass[@]}"

flags=(--benchmark_repetitions=5 --benchmark_report_aggregates_only=true --benchmark_min_time=0.2)
for program in parts_bench aead_bench; do
  "$build/bin/$program" "${flags[@]}" 2>/dev/null | grep -E '^Benchmark|_median' || true
done

# Both ends on this machine: nginx serves from tmpfs, what is timed is the receiving end.
if [ "$part" = command ]; then
  "$build/bin/fetch_bench" "$directory/fetch"
  "$build/bin/fetch_bench" "$directory/fetch-tls" --mib 512 --tls
fi
