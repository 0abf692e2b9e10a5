#!/usr/bin/env bash
# The chain in containers, from images that our own `build` made, with podman and a real registry. Runs every executable
# tests/containers/*_test.{sh,py} in order and closes on one summary line. Installs what it needs from Debian (group e2e).
#
#   scripts/e2e.sh                  everything
#   scripts/e2e.sh compose kube     only the tests whose names hold one of these words
#
# A test passes with exit status 0, fails with any other, and is skipped with 77 after it has said why: a skip is printed
# loudly, counted, and fails the run where CI is set, for there nothing may be left out in silence. Each test gets: TB_BIN (where the
# programs are), TB_CONTAINERS_CONF through CONTAINERS_CONF (limits that an unprivileged root may set), a private TMPDIR.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '== %s (%ds)\n' "$1" "$SECONDS"; }

limit_s=${TB_E2E_LIMIT_S:-600}  # of one test
step "packages"
scripts/deps.sh --what build,demo,e2e
if [[ -z ${TB_BIN:-} ]]; then
  step "engine"
  scripts/engine.sh
  scripts/test-tools.sh
  step "build"
  mkdir -p build
  cmake --preset release >build/cmake-e2e.log 2>&1 || { cat build/cmake-e2e.log >&2; exit 1; }
  ninja -C build/release trustbridge trustbridge-control-plane trustbridge-sentinel
fi
export TB_BIN=${TB_BIN:-$PWD/build/release/bin}
export CONTAINERS_CONF=${CONTAINERS_CONF:-$PWD/tests/containers/containers.conf}

wanted() {  # is this test one of those asked for?
  local name=$1 word
  shift
  (($#)) || return 0
  for word in "$@"; do
    if [[ $name == *"$word"* ]]; then return 0; fi
  done
  return 1
}

passed=0 failed=() skipped=()
shopt -s nullglob
for test in tests/containers/*_test.sh tests/containers/*_test.py; do
  name=$(basename "${test%.*}")
  wanted "$name" "$@" || continue
  [[ -x $test ]] || { echo "e2e.sh: error: $test is not executable" >&2; failed+=("$name"); continue; }
  step "$name"
  place=$(mktemp -d "${TMPDIR:-/tmp}/tb-e2e-XXXXXX")
  status=0
  TMPDIR=$place timeout --kill-after=30 "$limit_s" "$test" || status=$?
  rm -rf --one-file-system "$place"
  case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped+=("$name"); echo "SKIPPED: $name" ;;
    124 | 137) failed+=("$name"); echo "FAILED: $name: over $limit_s s" >&2 ;;
    *) failed+=("$name"); echo "FAILED: $name (exit status $status)" >&2 ;;
  esac
done

printf 'e2e: %d passed, %d failed, %d skipped in %d s%s%s\n' "$passed" "${#failed[@]}" "${#skipped[@]}" "$SECONDS" \
  "${failed:+; failed: ${failed[*]}}" "${skipped:+; SKIPPED: ${skipped[*]}}"
if ((passed + ${#failed[@]} + ${#skipped[@]} == 0)); then
  echo "e2e.sh: error: no such test" >&2
  exit 5
fi
((${#failed[@]} == 0)) && [[ ${#skipped[@]} == 0 || ${CI:-} != true ]]
