#!/usr/bin/env bash
# Builds the image from a copy of the sources: image.sh SOURCES BASE TAG REVISION
#
# Where there is no container engine, there may be no cgroups and no network of the build's own.
set -euo pipefail
cd "$1"
base=$2 tag=$3 revision=$4
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
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' astra/__init__.py)
buildah bud --quiet --isolation chroot --network host --timestamp 0 \
    --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    "${options[@]}" --tag "$tag" .
