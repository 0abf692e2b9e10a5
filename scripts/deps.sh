#!/usr/bin/env bash
# Installs what building, testing and the demo need, from Debian 12's own packages. Quick when all is there.
#
#   scripts/deps.sh                       everything in scripts/apt-packages.txt
#   scripts/deps.sh --what build,demo     only these groups
#   scripts/deps.sh --plan                says what is missing, installs nothing
#
# Root is used for apt-get only (directly, or through sudo). TB_NO_INSTALL=true skips it all: for other
# distributions, where what apt-packages.txt names was installed by other means.
set -euo pipefail
cd "$(dirname "$0")/.."

groups=build,test,demo,dev
plan=false
while (($#)); do
  case $1 in
    --what) groups=${2:?--what needs a list of groups}; shift 2 ;;
    --plan) plan=true; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "deps.sh: error: unknown flag $1" >&2; exit 2 ;;
  esac
done
if [[ ${TB_NO_INSTALL:-} == true ]]; then
  $plan && echo "nothing: TB_NO_INSTALL is set"
  exit 0
fi

if ! grep -qsx 'VERSION_CODENAME=bookworm' /etc/os-release; then
  echo "deps.sh: error: this installs on Debian 12 only; elsewhere install clang 19 (libstdc++ 12 or newer), cmake 3.25," \
    "ninja, npm and the libraries named in scripts/apt-packages.txt, then set TB_NO_INSTALL=true" >&2
  exit 2
fi

mapfile -t wanted < <(awk -v groups="$groups" '
  BEGIN { split(groups, list, ","); for (i in list) take[list[i]] = 1 }
  /^#/ || NF != 2 { next }
  take[$1] && !seen[$2]++ { print $2 }' scripts/apt-packages.txt)
((${#wanted[@]})) || { echo "deps.sh: error: no such group in scripts/apt-packages.txt: $groups" >&2; exit 2; }

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "$package" <<<"$installed" && continue
  # Node.js from its makers brings npm along and conflicts with Debian's package of that name.
  [[ $package == npm ]] && command -v npm >/dev/null && continue
  missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  $plan && echo "nothing: all ${#wanted[@]} Debian packages are there"
  exit 0
fi

if $plan; then
  # Package lists may be absent on a fresh machine; then apt cannot tell sizes and the measured ones are given.
  if sizes=$(LC_ALL=C apt-get install --no-install-recommends --assume-no "${missing[@]}" 2>/dev/null |
    grep -E 'newly installed|Need to get|additional disk'); [[ -n $sizes ]]; then
    echo "${#missing[@]} Debian packages are missing; with what they depend on: $(tr '\n' ' ' <<<"$sizes")"
  else
    echo "${#missing[@]} Debian packages are missing (from nothing: about 250 MB to fetch, 1.3 GB on disk)"
  fi
  exit 0
fi

as_root=()
if (($(id -u) != 0)); then
  command -v sudo >/dev/null || {
    echo "deps.sh: error: run this once as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 2
  }
  as_root=(sudo)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }

# nginx (the tests' file server) would start a service on port 80, PostgreSQL one on 5432, Prometheus (whose promtool the
# tests use) one on 9090, the registry one on 5000; the tests start their own: refuse starts while we install, and disable them after.
policy=/usr/sbin/policy-rc.d
own_policy=false
log=
cleanup() {
  if $own_policy; then "${as_root[@]}" rm -f "$policy"; fi
  rm -f "$log"
}
trap cleanup EXIT
declare -A service_of=([nginx-light]=nginx [postgresql]=postgresql [prometheus]=prometheus
  [docker-registry]=docker-registry)
services=()
for package in "${missing[@]}"; do
  if [[ -n ${service_of[$package]:-} ]]; then services+=("${service_of[$package]}"); fi
done
if ((${#services[@]})) && [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 0755 "$policy"
  own_policy=true
fi

echo "deps.sh: installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
log=$(mktemp)
apt install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
  { apt update && apt install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || {
  cat "$log" >&2
  echo "deps.sh: error: apt-get failed" >&2
  exit 6
}
for service in "${services[@]}"; do
  command -v update-rc.d >/dev/null || break
  "${as_root[@]}" update-rc.d "$service" disable >/dev/null 2>&1 || true
  if [[ -d /run/systemd/system ]]; then "${as_root[@]}" systemctl disable --quiet "$service.service" || true; fi
done
echo "deps.sh: done" >&2
