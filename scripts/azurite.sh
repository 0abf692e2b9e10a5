#!/usr/bin/env bash
# Installs Azurite, Azure's own emulator of its blob store, into build/azurite for the download tests, at the versions and
# hashes that tests/azurite/package-lock.json pins. About 190 MB on disk. No install script of any package is run. It runs
# on the Node.js that scripts/engine.sh installs: Debian's is too old for it. Quick when it is there. Prints nothing but
# errors.
set -euo pipefail
cd "$(dirname "$0")/.."

from=tests/azurite
to=build/azurite
stamp=$to/.installed
want=$(cat $from/package.json $from/package-lock.json $from/.npmrc | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$want" ]]; then
  command -v npm >/dev/null || { echo "azurite.sh: error: npm is missing: run scripts/deps.sh --what demo" >&2; exit 2; }
  rm -rf "$to"
  mkdir -p "$to"
  cp $from/package.json $from/package-lock.json $from/.npmrc "$to/"
  log=$(cd "$to" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error 2>&1) || {
    echo "$log" >&2
    echo "azurite.sh: error: npm ci failed" >&2
    exit 6
  }
  echo "$want" >"$stamp"
fi
[[ -x build/engine/node ]] || { echo "azurite.sh: error: its Node.js is missing: run scripts/engine.sh" >&2; exit 2; }
