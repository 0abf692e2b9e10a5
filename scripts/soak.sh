#!/usr/bin/env bash
# The long proofs at full count: every test with TB_TEST_SCALE=100, then a million inputs for each fuzz target. Hours.
set -euo pipefail
cd "$(dirname "$0")/.."

TB_TEST_SCALE=${TB_TEST_SCALE:-100} scripts/test.sh --timeout 14400
TB_FUZZ_RUNS=${TB_FUZZ_RUNS:-1000000} scripts/fuzz.sh
