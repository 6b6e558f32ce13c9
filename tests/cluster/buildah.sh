#!/usr/bin/env bash
# Builds the image once more, without the README: buildah.sh SOURCES BASE
#
# What pip needs here to reach its index is handed in as secrets.
set -euo pipefail
cd "$1"
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT

options=(--secret "id=pip.conf,src=$secrets/pip.conf")
printf '[global]\n' >"$secrets/pip.conf"
if [[ -n ${PIP_CERT-} ]]; then
    cp "$PIP_CERT" "$secrets/pip.crt"
    echo 'cert = /run/secrets/pip.crt' >>"$secrets/pip.conf"
    options+=(--secret "id=pip.crt,src=$secrets/pip.crt")
fi
if [[ -n ${PIP_INDEX_URL-} ]]; then
    echo "index-url = $PIP_INDEX_URL" >>"$secrets/pip.conf"
fi
buildah bud --quiet --network host --build-arg BASE="$2" "${options[@]}" --tag localhost/astra:again .
