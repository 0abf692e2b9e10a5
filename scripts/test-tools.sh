#!/usr/bin/env bash
# Installs what only tests use from npm: Azurite, Azure's own emulator of its blob store (190 MB on disk), Redocly's linter
# of OpenAPI documents (170 MB), OpenAI's own client (20 MB) and the Kubernetes API's schemas (24 MB), each into
# build/<name> at the versions and hashes that tests/<name>/package-lock.json pins. No install script of any package is run.
# They run on the Node.js that scripts/engine.sh installs: Debian's is too old. Quick when they are there. Prints nothing
# but errors.
set -euo pipefail
cd "$(dirname "$0")/.."

for name in azurite openapi clients kubernetes; do
  from=tests/$name
  to=build/$name
  stamp=$to/.installed
  want=$(cat $from/package.json $from/package-lock.json $from/.npmrc | sha256sum)
  if [[ -f $stamp && $(<"$stamp") == "$want" ]]; then continue; fi
  command -v npm >/dev/null || { echo "test-tools.sh: error: npm is missing: run scripts/deps.sh --what demo" >&2; exit 2; }
  rm -rf "$to"
  mkdir -p "$to"
  cp $from/package.json $from/package-lock.json $from/.npmrc "$to/"
  log=$(cd "$to" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error 2>&1) || {
    echo "$log" >&2
    echo "test-tools.sh: error: npm ci failed in $to" >&2
    exit 6
  }
  echo "$want" >"$stamp"
done
[[ -x build/engine/node ]] || { echo "test-tools.sh: error: its Node.js is missing: run scripts/engine.sh" >&2; exit 2; }
