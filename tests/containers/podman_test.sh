#!/usr/bin/env bash
# What every other test here stands on: this machine's podman starts a container from an image made of nothing, with a root that
# cannot be written, no capabilities and a user that is not root. Fails alone and first where it does not.
set -euo pipefail
place=${TMPDIR:?}
# A state of its own: another podman of this machine shares nothing with it.
podman() { command podman --root "$place/storage" --runroot "$place/run" --tmpdir "$place/libpod" "$@"; }
cleanup() {
  command buildah --root "$place/storage" --runroot "$place/run" rm --all >/dev/null 2>&1 || true
  umount -q "$place/storage/overlay" || true
}
trap cleanup EXIT

container=$(buildah --root "$place/storage" --runroot "$place/run" from scratch)
buildah --root "$place/storage" --runroot "$place/run" copy -q "$container" "$(command -v busybox)" /busybox >/dev/null
buildah --root "$place/storage" --runroot "$place/run" commit -q "$container" localhost/busybox:test >/dev/null
said=$(podman run --rm --network none --read-only --cap-drop all --security-opt no-new-privileges --user 65532:65532 \
  localhost/busybox:test /busybox sh -c 'id -u; touch /written 2>/dev/null || echo read-only')
[[ $said == $'65532\nread-only' ]] || { echo "podman_test: the container said: $said" >&2; exit 1; }
echo "podman starts a confined container: uid 65532, read-only root"
