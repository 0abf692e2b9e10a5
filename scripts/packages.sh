#!/usr/bin/env bash
# Builds the Debian packages into build/packages: trustbridge, trustbridge-control-plane, trustbridge-sentinel, libtrustbridge-dev.
# The same programs give the same bytes.
#
#   scripts/packages.sh                 build (release) and pack
#   TB_BUILD=DIR scripts/packages.sh    pack what is built in DIR
set -euo pipefail
cd "$(dirname "$0")/.."

build=${TB_BUILD:-}
if [[ -z $build ]]; then
  build=build/release
  mkdir -p build
  cmake --preset release >build/cmake-packages.log 2>&1 || { cat build/cmake-packages.log >&2; exit 1; }
fi
ninja -C "$build" package_files tb_base tb_tbenc tb_asset
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l deploy/debian/changelog -S Timestamp)
export SOURCE_DATE_EPOCH
out=${TB_PACKAGES:-build/packages}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/*.deb
(cd "$build" && umask 022 && cpack -G DEB -B "$out" >"$out/cpack.log" 2>&1) || { cat "$out/cpack.log" >&2; exit 1; }
rm -rf "$out/_CPack_Packages"
ls -l "$out"/*.deb
