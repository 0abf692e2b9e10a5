#!/usr/bin/env bash
# The two containers of the managed application's machine, from the command lines of its own units: what each may do, what it sees, and that
# the runtime has no way out. busybox stands in for both programs. Left out, as they need systemd or rights that a build machine lacks:
# notification, cgroups, the journal, limits of locked memory, and the published port.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=${TMPDIR:?}
podman() { command podman --root "$place/storage" --runroot "$place/run" --tmpdir "$place/libpod" "$@"; }
buildah() { command buildah --root "$place/storage" --runroot "$place/run" "$@"; }
cleanup() {
  podman rm --all --force --time 0 >/dev/null 2>&1 || true
  buildah rm --all >/dev/null 2>&1 || true
  podman system reset --force >/dev/null 2>&1 || true
  umount "$place/machine/run/trustbridge" 2>/dev/null || true
}
trap cleanup EXIT
fail() {
  printf 'machine_containers_test: %s\n' "$1" >&2
  exit 1
}
if [[ $(id -u) != 0 ]] || ! command -v nft >/dev/null; then
  echo "SKIPPED: machine_containers_test needs root and nft"
  exit 77
fi

made=$(buildah from scratch)
buildah copy -q "$made" "$(command -v busybox)" /busybox >/dev/null
buildah config --entrypoint '["/busybox"]' "$made"
buildah commit -q "$made" localhost/stand-in:test >/dev/null
image=$(podman image inspect --format '{{index .RepoDigests 0}}' localhost/stand-in:test)
[[ $image == *@sha256:* ]] || fail "the stand-in has no digest: $image"

# The machine's directories, as its tmpfiles and mount units make them.
for directory in etc/trustbridge/secrets var/lib/trustbridge-tls var/lib/trustbridge-sentinel var/cache/trustbridge; do
  install -d -m 0700 -o 10001 -g 10001 "$place/machine/$directory"
done
chmod 0711 "$place" "$place/machine"
install -d -m 0755 "$place/machine/run/trustbridge-config/public" "$place/machine/run/trustbridge"
mount -t tmpfs -o mode=0711,uid=10001,gid=10001,size=16m,nosuid,nodev,noexec none "$place/machine/run/trustbridge"
install -m 0600 -o 10001 -g 10001 /dev/stdin "$place/machine/etc/trustbridge/secrets/activation-token" <<<token
: >"$place/machine/run/trustbridge-config/sentinel.env"
: >"$place/machine/run/trustbridge-config/runtime.env"

# Arguments of podman in a unit: its variables filled in, its paths under $place/machine.
arguments_of() {
  python3 - "$1" "$place/machine" "$image" <<'PY'
import pathlib, re, shlex, sys
text = pathlib.Path(f"deploy/azure/vm/etc/systemd/system/{sys.argv[1]}.service").read_text().replace("\\\n", " ")
line = re.search(r"^ExecStart=/usr/bin/podman (run .*)$", text, re.MULTILINE)[1]
line = re.sub(r"\$\{\w+_IMAGE\}", sys.argv[3], line)
line = re.sub(r"\$\w+", "", line)
left_out = ("--sdnotify", "--cgroups", "--log-driver", "--ulimit", "--publish")
for word in shlex.split(line):
    if word.startswith(left_out):
        continue
    word = re.sub(r"^(--volume=|--env-file=)/", rf"\1{sys.argv[2]}/", word)
    print(word)
PY
}
mapfile -t sentinel < <(arguments_of trustbridge-sentinel)
mapfile -t runtime < <(arguments_of trustbridge-runtime)
((${#sentinel[@]} > 12 && ${#runtime[@]} > 10)) || fail "command lines: ${sentinel[*]} / ${runtime[*]}"
podman run --network=none "${sentinel[@]:1}" sleep 600 >/dev/null || fail "the sentinel's container does not start"
podman "${runtime[@]}" sleep 600 >/dev/null || fail "the runtime's container does not start"
in_sentinel() { podman exec trustbridge-sentinel /busybox "$@"; }
in_runtime() { podman exec trustbridge-runtime /busybox "$@"; }

status() { podman exec "$1" /busybox grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/1/status | tr -s '\t ' ' '; }
[[ $(status trustbridge-sentinel) == $'Uid: 10001 10001 10001 10001\nCapEff: 0000000000000001\nNoNewPrivs: 1' ]] || fail "the sentinel: $(status trustbridge-sentinel)"
[[ $(status trustbridge-runtime) == $'Uid: 10002 10002 10002 10002\nCapEff: 0000000000000000\nNoNewPrivs: 1' ]] || fail "the runtime: $(status trustbridge-runtime)"

# What the sentinel delivers, the runtime alone reads.
[[ $(in_sentinel cat /etc/trustbridge/secrets/activation-token) == token ]] || fail "the sentinel cannot read its token"
in_sentinel sh -c '/busybox mkdir -m 711 /run/trustbridge/model && echo weights >/run/trustbridge/model/w && /busybox chmod 400 /run/trustbridge/model/w &&
  /busybox chown 10002 /run/trustbridge/model/w' || fail "the sentinel cannot deliver"
[[ $(in_runtime cat /run/trustbridge/model/w) == weights ]] || fail "the runtime cannot read the model"
for path in /run/trustbridge/x /run/trustbridge/model/x /x /etc/trustbridge; do
  if in_runtime sh -c "echo x >$path" 2>/dev/null; then fail "the runtime can write $path"; fi
done
if in_runtime ls /etc/trustbridge 2>/dev/null; then fail "the runtime sees the sentinel's secrets"; fi
if in_sentinel sh -c 'echo x >/x' 2>/dev/null; then fail "the sentinel's root can be written"; fi

# One network for both, with a way out that is the sentinel's only.
pid=$(podman inspect --format '{{.State.Pid}}' trustbridge-sentinel)
other=$(podman inspect --format '{{.State.Pid}}' trustbridge-runtime)
[[ $(readlink "/proc/$pid/ns/net") == "$(readlink "/proc/$other/ns/net")" ]] || fail "two networks"
nsenter --net="/proc/$pid/ns/net" sh -c 'ip link add out type veth peer name far && ip link set far up && ip addr add 192.0.2.1/24 dev out && ip link set out up' || {
  echo "SKIPPED: no virtual interface here: the runtime's way out was not tried"
  exit 77
}
sed "s|podman inspect|podman --root $place/storage --runroot $place/run --tmpdir $place/libpod inspect|; s|/etc/trustbridge/egress.nft|$PWD/deploy/azure/vm/etc/trustbridge/egress.nft|" \
  deploy/azure/vm/usr/local/lib/trustbridge/close-egress >"$place/close-egress"
bash "$place/close-egress"
bash "$place/close-egress" # at each start of the container
dropped() { nsenter --net="/proc/$pid/ns/net" nft list ruleset | grep -o 'counter packets [0-9]*' | grep -o '[0-9]*$'; }
in_sentinel sh -c '/busybox nc -w 1 192.0.2.7 9 </dev/null' 2>/dev/null || true
[[ $(dropped) == 0 ]] || fail "the sentinel's own way out is closed"
in_runtime sh -c '/busybox nc -w 1 192.0.2.7 9 </dev/null' 2>/dev/null || true
(($(dropped) > 0)) || fail "the runtime has a way out"
podman exec --detach trustbridge-runtime /busybox nc -l -p 8081 -e /busybox echo served
for _ in {1..50}; do
  said=$(in_sentinel nc -w 2 127.0.0.1 8081 </dev/null 2>/dev/null || true)
  [[ $said == served ]] && break
  sleep 0.2
done
[[ $said == served ]] || fail "the sentinel does not reach the runtime"
echo "the machine's two containers run as its units say: one capability, none; one reads what the other delivers; one way out, none"
