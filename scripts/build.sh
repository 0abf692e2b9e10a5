#!/usr/bin/env bash
# Installs what a build needs (scripts/deps.sh) and puts the release programs into build/release/bin.
# Any arguments are targets, instead of the three programs.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/deps.sh --what build
targets=("$@")
mkdir -p build
if ((${#targets[@]} == 0)); then targets=(trustbridge trustbridge-control-plane trustbridge-sentinel); fi
cmake --preset release -DTB_TESTS=OFF >build/cmake.log 2>&1 || { cat build/cmake.log >&2; exit 1; }
ninja -C build/release "${targets[@]}"
