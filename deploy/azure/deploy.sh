#!/usr/bin/env bash
# A managed application from a package, without the marketplace: a definition in your own service catalog, or one machine straight
# from the template, to try it. Not run against Azure by any test here: tests/azure/scripts_test.py plays it with a stand-in for `az`.
#
#   deploy.sh definition --package app.zip --group GROUP --location REGION --name NAME --principal OBJECT-ID [--role ROLE-ID]
#   deploy.sh machine    --package app.zip --group GROUP --parameters parameters.json
#
# definition: the zip goes into a container of --storage-account (made before, yours), and `az` reads it there by a URL that lives for
# an hour. --principal may manage what consumers deploy; the role is Reader unless another is named.
# machine: --parameters is a file of yours (0600) with the consumer's answers, the secrets among them; they never stand in an argument.
# Everything is checked before anything is sent. Exit status: 2 usage, else that of `az`.
set -euo pipefail

die() {
  printf 'deploy.sh: error: %s\n' "$1" >&2
  exit 2
}
say() { printf 'deploy.sh: %s\n' "$1" >&2; }

reader=acdd72a7-3385-48ef-bd42-f606fba81ae7
command=${1:-}
shift || true
package='' group='' location='' name='' principal='' role=$reader parameters='' account='' container=packages
while (($#)); do
  [[ $# -ge 2 ]] || die "$1 needs a value"
  case $1 in
    --package) package=$2 ;;
    --group) group=$2 ;;
    --location) location=$2 ;;
    --name) name=$2 ;;
    --principal) principal=$2 ;;
    --role) role=$2 ;;
    --parameters) parameters=$2 ;;
    --storage-account) account=$2 ;;
    --container) container=$2 ;;
    *) die "unknown flag $1" ;;
  esac
  shift 2
done

# Value, pattern, name: a value that could be an option, a file (@…) or something else to az is refused.
look() { "$(dirname "$0")/validate.sh" --package "$package"; }
must() { [[ $1 =~ ^$2$ ]] || die "$3 is missing or malformed"; }
guid='[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'
must "$group" '[A-Za-z0-9_][A-Za-z0-9_.()-]{0,88}[A-Za-z0-9_()-]?' --group
[[ -f $package ]] || die "--package names no file"
case $package in
  /*) ;;
  *) package=./$package ;;
esac

case $command in
  definition)
    must "$location" '[a-z0-9]{1,40}' --location
    must "$name" '[A-Za-z0-9][A-Za-z0-9-]{2,62}' --name
    must "$principal" "$guid" --principal
    must "$role" "$guid" --role
    must "$account" '[a-z0-9]{3,24}' --storage-account
    must "$container" '[a-z0-9][a-z0-9-]{2,62}' --container
    look
    blob=$name-$(sha256sum "$package" | cut --characters=1-16).zip
    say "uploading the package as $blob"
    az storage blob upload --only-show-errors --auth-mode login --account-name "$account" --container-name "$container" \
      --name "$blob" --file "$package" --overwrite false --output none
    # The URL is a secret for an hour: it goes to az by a file of this user, not by an argument.
    umask 077
    work=$(mktemp --directory)
    trap 'rm -r "$work"' EXIT
    az storage blob generate-sas --only-show-errors --auth-mode login --as-user --account-name "$account" \
      --container-name "$container" --name "$blob" --permissions r --https-only \
      --expiry "$(date --utc --date='+1 hour' +%Y-%m-%dT%H:%MZ)" --full-uri --output tsv >"$work/url"
    az managedapp definition create --only-show-errors --resource-group "$group" --location "$location" --name "$name" \
      --display-name "$name" --description "A model served by TrustBridge" --lock-level ReadOnly \
      --authorizations "$principal:$role" --package-file-uri "@$work/url" --output table
    ;;
  machine)
    [[ -f $parameters ]] || die "--parameters names no file"
    [[ $(stat --format=%a "$parameters") =~ ^[46]00$ ]] || die "others can read $parameters: chmod 600"
    look
    work=$(mktemp --directory)
    trap 'rm -r "$work"' EXIT
    python3 -m zipfile -e "$package" "$work"
    az deployment group create --only-show-errors --resource-group "$group" --mode Incremental \
      --name "trustbridge-$(date --utc +%Y%m%d%H%M%S)" --template-file "$work/mainTemplate.json" \
      --parameters "@$(realpath "$parameters")" --query properties.outputs --output json
    ;;
  *) die "definition or machine" ;;
esac
