#!/usr/bin/env bash
# Installs what is needed, builds once (release, with assertions), holds the house rules, runs all tests, and closes
# on ctest's own summary.
#
#   scripts/test.sh                everything; a failure's output is shown
#   scripts/test.sh -R tbenc       arguments go to ctest: here only the tests whose names match
#
# Long proofs run at a reduced count here, at more in .ci/run and in full in scripts/soak.sh (TB_TEST_SCALE).
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '== %s (%ds)\n' "$1" "$SECONDS"; }

step "packages"
scripts/deps.sh --what build,test,demo
step "engine"
scripts/engine.sh
step "tools of the tests"
scripts/test-tools.sh
step "house rules"
scripts/check-floors.py
scripts/check-secrets.py
scripts/check-files.py
step "build"
mkdir -p build
cmake --preset release -DTB_TESTS=ON >build/cmake.log 2>&1 || { cat build/cmake.log >&2; exit 1; }
ninja -C build/release
step "tests"  # many of them wait more than they work
exec ctest --test-dir build/release --output-on-failure --no-tests=error -j "$((2 * $(nproc)))" "$@"
