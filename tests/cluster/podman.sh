#!/usr/bin/env bash
# Runs the README's lines of podman: podman.sh SOURCES BASE
#
# SOURCES is a copy of the repository, which gets `astra.tar`, and `base.tar`: BASE with what pip
# needs here to reach its index.  The Containerfile's own base is in no hub, but that one.
set -euo pipefail
GIT_DIR=$(git rev-parse --absolute-git-dir 2>/dev/null || true)
export GIT_DIR
cd "$1"
name=$(sed -n 's/^ARG BASE=//p' Containerfile)

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if [[ -n ${PIP_CERT-} ]]; then
    install -D -m 644 "$PIP_CERT" "$site/usr/local/share/ca-certificates/site.crt"
fi
if [[ -n ${PIP_INDEX_URL-} ]]; then
    mkdir "$site/etc"
    printf '[global]\nindex-url = %s\n' "$PIP_INDEX_URL" >"$site/etc/pip.conf"
fi
container=$(buildah from "$2")
buildah add --quiet "$container" "$site" / >/dev/null
buildah commit --quiet --rm "$container" "$name" >/dev/null
podman save --quiet --format oci-archive --output base.tar "$name"

# shellcheck disable=SC2016 # backquotes are what fences a block
lines=$(sed -n '/^ *```sh cluster$/,/^ *```$/p' README.md | grep '^ *podman ')
bash -euxo pipefail -c "$lines"
