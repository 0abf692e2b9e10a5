#!/usr/bin/env bash
# Looks at a package before it goes anywhere: our own rules first, then Azure's, where --group names a resource group to try it in.
# Nothing is deployed. Not run against Azure by any test here: tests/azure/scripts_test.py plays it with a stand-in for `az`.
#
#   validate.sh --package app.zip [--group GROUP --parameters parameters.json]
#
# TRUSTBRIDGE names the program, if it is not on the path. Exit status: 2 usage, 4 the package is refused, else that of `az`.
set -euo pipefail

die() {
  printf 'validate.sh: error: %s\n' "$1" >&2
  exit 2
}

package='' group='' parameters=''
while (($#)); do
  [[ $# -ge 2 ]] || die "$1 needs a value"
  case $1 in
    --package) package=$2 ;;
    --group) group=$2 ;;
    --parameters) parameters=$2 ;;
    *) die "unknown flag $1" ;;
  esac
  shift 2
done
[[ -f $package ]] || die "--package names no file"
case $package in
  /*) ;;
  *) package=./$package ;;
esac

"${TRUSTBRIDGE:-trustbridge}" package --check "$package" >&2
[[ -n $group ]] || exit 0

[[ $group =~ ^[A-Za-z0-9_][A-Za-z0-9_.()-]{0,88}[A-Za-z0-9_()-]?$ ]] || die "--group is malformed"
[[ -f $parameters ]] || die "--parameters names no file"
[[ $(stat --format=%a "$parameters") =~ ^[46]00$ ]] || die "others can read $parameters: chmod 600"
work=$(mktemp --directory)
trap 'rm -r "$work"' EXIT
python3 -m zipfile -e "$package" "$work"
az deployment group validate --only-show-errors --resource-group "$group" --template-file "$work/mainTemplate.json" \
  --parameters "@$(realpath "$parameters")" --output none
az deployment group what-if --only-show-errors --resource-group "$group" --template-file "$work/mainTemplate.json" \
  --parameters "@$(realpath "$parameters")"
