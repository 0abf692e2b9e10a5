#!/usr/bin/env bash
# The machine of the managed application, as far as it goes without Azure, a GPU and an init: the real cloud-init reads the real custom
# data from a NoCloud seed in a Debian that debootstrap made, and what it leaves behind is looked at and run.
#
# Real here: cloud-init (schema, write_files, runcmd), systemd's own tools on the units, users, directories, TLS, settings, disks
# (loop devices), apt with its signature checks. Stood in for: the GPU driver's and toolkit's packages (a signed repository of
# empty ones, by TLS on the loopback), the kernel's name, podman. The machine's own system is Ubuntu 24.04; this is Debian 12.
#
# The tree is made once under build/ and never changed: each run has an overlay of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ ${1:-} != inside ]]; then
  [[ $(id -u) == 0 ]] || { echo "SKIPPED: cloud_init_test needs root"; exit 77; }
  base=$PWD/build/cloud-init-root
  if [[ ! -e $base.made ]]; then
    rm -rf --one-file-system "$base"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$base" >build/debootstrap.log 2>&1 || { tail -5 build/debootstrap.log >&2; exit 1; }
    DEBIAN_FRONTEND=noninteractive chroot "$base" apt-get -qq install --yes --no-install-recommends cloud-init systemd openssl python3 gpg curl \
      mdadm nftables e2fsprogs util-linux >>build/debootstrap.log 2>&1 || { tail -5 build/debootstrap.log >&2; exit 1; }
    touch "$base.made"
  fi
  # Mounts live and die with this.
  exec unshare --mount --propagation private "$0" inside
fi

base=$PWD/build/cloud-init-root
place=${TMPDIR:-/tmp}/cloud-init-test.$$
root=$place/root
loops=() server=''
cleanup() {
  [[ -z $server ]] || kill "$server" 2>/dev/null || true
  umount --recursive --lazy "$root" 2>/dev/null || true
  for loop in "${loops[@]}"; do losetup --detach "$loop" || true; done
  umount "$place/memory" 2>/dev/null || true
  rm -rf --one-file-system "$place"
}
trap cleanup EXIT
fail() {
  printf 'cloud_init_test: %s\n' "$1" >&2
  exit 1
}
step() { printf -- '-- %s\n' "$1"; }

mkdir -p "$root" "$place/memory"
mount -t tmpfs -o size=1g none "$place/memory"
mkdir "$place/memory/upper" "$place/memory/work"
mount -t overlay -o "lowerdir=$base,upperdir=$place/memory/upper,workdir=$place/memory/work" none "$root"
mount --rbind /dev "$root/dev"
mount -t proc none "$root/proc"
mkdir -p "$root/sys/class/dmi/id"
echo 11111111-2222-3333-4444-555555555555 >"$root/sys/class/dmi/id/product_uuid"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 SYSTEMD_OFFLINE=1 "$@"; }

step "a signed repository with stand-ins for driver and toolkit"
flavour=azure-fde
install -m 0755 /dev/stdin "$root/usr/local/bin/uname" <<UNAME
#!/bin/sh
if [ "\$1" = --kernel-release ]; then echo 6.8.0-1015-$flavour; else exec /usr/bin/uname "\$@"; fi
UNAME
web=$place/web
mkdir -p "$web/stable/deb/amd64"
for package in podman "linux-modules-nvidia-570-server-open-$flavour" nvidia-headless-no-dkms-570-server-open nvidia-utils-570-server nvidia-container-toolkit; do
  mkdir -p "$place/deb/$package/DEBIAN"
  printf 'Package: %s\nVersion: 99\nArchitecture: all\nMaintainer: test <test@example.com>\nDescription: stand-in\n' "$package" >"$place/deb/$package/DEBIAN/control"
  if [[ $package == podman ]]; then
    install -D -m 0755 /dev/stdin "$place/deb/$package/usr/bin/podman" <<<$'#!/bin/sh\nexit 0'
  fi
  dpkg-deb --root-owner-group --build "$place/deb/$package" "$web/stable/deb/amd64/$package.deb" >/dev/null
done
(
  cd "$web/stable/deb/amd64"
  for deb in *.deb; do
    dpkg-deb --field "$deb"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat --format=%s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
  done >Packages
  printf 'Origin: test\nDate: %s\nSHA256:\n %s %s Packages\n' "$(date --utc -R | sed 's/+0000/UTC/')" "$(sha256sum Packages | cut -d' ' -f1)" "$(stat --format=%s Packages)" >Release
)
export GNUPGHOME=$place/gnupg
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Test Repository <test@example.com>' rsa2048 sign never 2>/dev/null
gpg --batch --armor --export >"$web/gpgkey"
gpg --batch --quiet --no-auto-check-trustdb --clearsign --output "$web/stable/deb/amd64/InRelease" "$web/stable/deb/amd64/Release"
fingerprint=$(gpg --batch --no-auto-check-trustdb --list-keys --with-colons | awk -F: '$1 == "fpr" {print $10; exit}')
gpgconf --kill all
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$place/tls.key" -out "$place/tls.crt" 2>/dev/null
cp "$place/tls.crt" "$root/usr/local/share/ca-certificates/test.crt"
inside update-ca-certificates >/dev/null 2>&1
grep -q localhost "$root/etc/hosts" 2>/dev/null || echo '127.0.0.1 localhost' >>"$root/etc/hosts"
python3 - "$web" "$place" >"$place/port" 2>/dev/null <<'PY' &
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2] + "/tls.crt", sys.argv[2] + "/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
server=$!
for _ in {1..100}; do [[ -s $place/port ]] && break; sleep 0.1; done
port=$(cat "$place/port")

step "cloud-init reads the custom data"
seed=$root/var/lib/cloud/seed/nocloud
mkdir -p "$seed"
TB_CLI=${TB_BIN:?}/trustbridge PYTHONPATH=tests/azure python3 -B -c 'import custom_data; print(custom_data.custom_data(), end="")' >"$seed/user-data"
printf 'instance-id: test-1\nlocal-hostname: trustbridge\n' >"$seed/meta-data"
printf 'datasource_list: [NoCloud]\nlocale: C.UTF-8\n' >"$root/etc/cloud/cloud.cfg.d/99_test.cfg"
inside useradd --create-home tbadmin
said=$(inside cloud-init schema --config-file /var/lib/cloud/seed/nocloud/user-data 2>&1) || fail "schema: $said"
[[ $said == *"Valid cloud-config"* ]] || fail "schema: $said"
printf '#cloud-config\nwrite_files: 5\n' >"$root/tmp/bad"
if inside cloud-init schema --config-file /tmp/bad >/dev/null 2>&1; then fail "the schema check takes anything"; fi
inside cloud-init init >"$place/init.log" 2>&1 || { cat "$place/init.log" >&2; fail "cloud-init init"; }
inside cloud-init modules --mode=config >"$place/config.log" 2>&1 || { cat "$place/config.log" >&2; fail "cloud-init config"; }
inside cloud-init modules --mode=final >"$place/final.log" 2>&1 || { cat "$place/final.log" >&2; fail "cloud-init final"; }

step "what it left behind"
diff --recursive --brief deploy/azure/vm/usr/local/lib/trustbridge "$root/usr/local/lib/trustbridge" || fail "programs differ"
for unit in deploy/azure/vm/etc/systemd/system/*; do
  name=$(basename "$unit")
  cmp "$unit" "$root/etc/systemd/system/$name" || fail "$name differs"
  compgen -G "$root/etc/systemd/system/*.wants/$name" >/dev/null || fail "$name is not enabled"
done
[[ $(inside id -u trustbridge-sentinel) == 10001 && $(inside id -u trustbridge-runtime) == 10002 ]] || fail "users"
[[ $(inside stat --format='%u:%g %a' /etc/trustbridge/secrets /var/lib/trustbridge-sentinel) == $'10001:10001 700\n10001:10001 700' ]] || fail "directories"
[[ $(inside passwd --status tbadmin | cut -d' ' -f2) == L ]] || fail "the machine's user has a password"
[[ $(readlink "$root/etc/systemd/system/ssh.service") == /dev/null ]] || fail "SSH can be started"
mapfile -t units < <(cd "$root" && find etc/systemd/system -maxdepth 1 -type f -name '*trustbridge*' -printf '/%p\n')
((${#units[@]} == 8)) || fail "units: ${units[*]}"
inside systemd-analyze verify "${units[@]}" >"$place/verify.log" 2>&1 || true
if grep -v 'podman is not executable' "$place/verify.log" | grep -i 'trustbridge\|failed'; then fail "systemd-analyze verify"; fi
unshare --net chroot "$root" nft --file /etc/trustbridge/egress.nft || fail "the runtime's way out: nft refuses the rules"

step "setup-machine: the toolkit's key is checked, then all is installed"
sed -i "s|^TOOLKIT_REPOSITORY=.*|TOOLKIT_REPOSITORY=https://localhost:$port|" "$root/etc/trustbridge/versions"
if inside /usr/local/lib/trustbridge/setup-machine >"$place/setup.log" 2>&1; then fail "a repository of another key was taken"; fi
grep -q 'another key' "$place/setup.log" || { cat "$place/setup.log" >&2; fail "setup-machine said something else"; }
[[ ! -e $root/etc/apt/sources.list.d/nvidia-container-toolkit.list ]] || fail "a source of another key was left"
sed -i "s|^TOOLKIT_KEY=.*|TOOLKIT_KEY=$fingerprint|" "$root/etc/trustbridge/versions"
: >"$root/etc/apt/sources.list"
inside /usr/local/lib/trustbridge/setup-machine >"$place/setup.log" 2>&1 || { cat "$place/setup.log" >&2; fail "setup-machine"; }
inside dpkg-query --show podman nvidia-container-toolkit "linux-modules-nvidia-570-server-open-$flavour" >/dev/null || fail "packages"
kill "$server"; wait "$server" 2>/dev/null || true
server=''
inside /usr/local/lib/trustbridge/setup-machine >"$place/setup.log" 2>&1 || fail "a second boot needs the network"

step "configure and the secrets"
inside /usr/local/lib/trustbridge/configure || fail "configure"
[[ $(stat --format='%u %a' "$root/var/lib/trustbridge-tls/tls.key") == '10001 600' ]] || fail "the TLS key"
grep -q '^TB_CONTRACT_ID=acme-1$' "$root/run/trustbridge-config/sentinel.env" || fail "settings"

step "disks: blank ones are used, others are left alone"
if loop=$(losetup --find 2>/dev/null) && truncate --size=64M "$place/memory/one" && losetup "$loop" "$place/memory/one" 2>/dev/null; then
  loops+=("$loop")
  fake=$root/tmp/fake
  mkdir -p "$fake/sys/block/nvme0n1/device" "$fake/sys/block/nvme1n1/device" "$fake/dev"
  echo 'Microsoft NVMe Direct Disk v2          ' >"$fake/sys/block/nvme0n1/device/model"
  echo 'MSFT NVMe Accelerator v1.0' >"$fake/sys/block/nvme1n1/device/model"
  ln -s "$loop" "$fake/dev/nvme0n1"
  disks() { inside SYS_ROOT=/tmp/fake/sys DEV_ROOT=/tmp/fake/dev /usr/local/lib/trustbridge/prepare-disks; }
  printf 'LUKS\xba\xbe\0\1' | dd of="$loop" conv=notrunc status=none
  said=$(disks 2>&1) || fail "prepare-disks: $said"
  [[ $said == *"another's"* ]] || fail "a disk of another's was used: $said"
  if inside mountpoint --quiet /var/cache/trustbridge; then fail "a disk of another's is mounted"; fi
  wipefs --all --quiet "$loop"
  disks >/dev/null || fail "prepare-disks on a blank disk"
  inside mountpoint --quiet /var/cache/trustbridge || fail "the blank disk is not mounted"
  [[ $(stat --format='%u %a' "$root/var/cache/trustbridge") == '10001 700' ]] || fail "the cache's owner"
  echo kept >"$root/var/cache/trustbridge/ciphertext"
  disks >/dev/null || fail "prepare-disks twice"
  inside umount /var/cache/trustbridge
  disks >/dev/null || fail "prepare-disks after a reboot"
  [[ $(cat "$root/var/cache/trustbridge/ciphertext") == kept ]] || fail "a reboot lost the cache"
  inside umount /var/cache/trustbridge
else
  echo "SKIPPED: no loop device here: prepare-disks was not run"
fi
echo "cloud-init, units, users, packages, settings and disks are as they should be; GPU driver, toolkit, podman and kernel were stood in for"
