#!/usr/bin/env bash
# Makes the base image localhost/debian:bookworm-slim without a registry of images: base.sh CACHE
#
# Like Docker's image of that name, it leaves documentation and translations out.
set -euo pipefail
name=localhost/debian:bookworm-slim
archive=$1/base-$(cksum <"${BASH_SOURCE[0]}" | cut -d ' ' -f 1).tar

if [[ ! -f $archive ]]; then
    rm -f "$1"/base-*
    SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=apt --include=usr-is-merged \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "${archive%.tar}.new.tar" >&2
    mv "${archive%.tar}.new.tar" "$archive"
fi
container=$(buildah from scratch)
buildah add --quiet "$container" "$archive" / >/dev/null
buildah config --cmd bash "$container"
buildah commit --quiet --rm --timestamp 0 "$container" "$name" >/dev/null
echo "$name"
