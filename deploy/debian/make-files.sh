#!/bin/sh
# make-files.sh SOURCE BIN OUT: what the packages have beside programs, made from what those say of themselves.
set -eu
source=$1 bin=$2 out=$3
rm -rf "$out"
mkdir -p "$out/man1" "$out/man8"
"$source/scripts/man-pages.py" --bin "$bin" --out "$out/pages"
gzip -9n "$out"/pages/*
mv "$out"/pages/*.1.gz "$out/man1"
mv "$out"/pages/*.8.gz "$out/man8"
rmdir "$out/pages"
for shell in bash zsh fish; do "$bin/trustbridge" completion "$shell" >"$out/completion.$shell"; done
gzip -9nc "$source/deploy/debian/changelog" >"$out/changelog.Debian.gz"
