#!/usr/bin/env bash
# Builds the image from the Containerfile: image.sh BASE TAG [OPTIONS OF buildah bud]
#
# In a container or a sandbox there may be no cgroups and no network of the build's own to make.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
base=$1 tag=$2
shift 2
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT

printf '[global]\n' >"$secrets/pip.conf"
if [[ -n ${PIP_CERT-} ]]; then
    cp "$PIP_CERT" "$secrets/pip.crt"
    echo 'cert = /run/secrets/pip.crt' >>"$secrets/pip.conf"
    set -- --secret "id=pip.crt,src=$secrets/pip.crt" "$@"
fi
if [[ -n ${PIP_INDEX_URL-} ]]; then
    echo "index-url = $PIP_INDEX_URL" >>"$secrets/pip.conf"
fi
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' astra/__init__.py)
revision=$(git rev-parse --verify --quiet HEAD || echo unknown)
buildah bud --quiet --isolation chroot --network host --timestamp 0 \
    --secret "id=pip.conf,src=$secrets/pip.conf" \
    --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    --tag "$tag" "$@" .
