#!/usr/bin/env bash
# Makes what compose.yaml mounts as secrets: a CA of its own, certificates for control plane and emulator, passwords. Keeps what
# is there. Again after `trustbridge contract create --activation-token-file secrets/activation-token`, whose file gets its
# owner then. Run it as root (the containers' user 65532 must be able to read the files), in this directory:
#
#   ./prepare.sh            writes ./secrets
#   ./prepare.sh DIR        writes DIR/secrets, beside a copy of compose.yaml
set -euo pipefail
cd "${1:-$(dirname "$0")}"

user=65532
umask 077
mkdir -p secrets
chmod 0700 secrets  # nobody of this machine comes past it: what lies in it may be readable to the containers' users
cd secrets

random() { openssl rand -base64 "$1" | tr -d '\n'; }
once() { # FILE TEXT
  if [[ ! -e $1 ]]; then printf '%s\n' "$2" >"$1"; fi
}

if [[ ! -e ca.crt ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=trustbridge compose" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.crt 2>/dev/null
fi
for name in control-plane azurite; do
  [[ ! -e $name.crt ]] || continue
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$name" >"$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile "$name.ext" -out "$name.crt" 2>/dev/null
  rm -f "$name.csr" "$name.ext"
done
once postgres-password "$(openssl rand -hex 24)"
once pgpass "postgres:5432:trustbridge:trustbridge:$(<postgres-password)"
once azure-account-key "$(random 64)"
once azurite-accounts "trustbridge:$(<azure-account-key)"
once hw-id "$(openssl rand -hex 16)"
chmod 0600 -- *
# Read by containers whose users are their images' own.
chmod 0644 ca.crt postgres-password azurite-accounts azurite.crt azurite.key
if (($(id -u) == 0)); then
  chown "$user:$user" -- *
  chown 0:0 ca.key
else
  echo "prepare.sh: not root: let user $user read the files in secrets/, as with podman unshare chown $user:$user secrets/*" >&2
fi
# podman-compose before 1.0.4 makes volumes without their options: these two must be memory. (docker compose makes its own.)
if command -v podman >/dev/null; then
  project=${TB_PROJECT:-trustbridge}
  for volume in "model ${TB_MODEL_PAGES:-2097152}" "gate 16"; do
    podman volume exists "$project-${volume% *}" || podman volume create --driver local --opt type=tmpfs --opt device=tmpfs \
      --opt "o=nr_blocks=${volume#* },uid=$user,gid=$user,mode=0700" "$project-${volume% *}" >/dev/null
  done
fi
