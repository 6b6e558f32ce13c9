#!/usr/bin/env bash
# Installs the programs that the other scripts need.
set -euo pipefail
missing=()
for pair in buildah:buildah mmdebstrap:mmdebstrap podman:podman pgrep:procps unshare:util-linux; do
    [[ $(type -P "${pair%:*}") ]] || missing+=("${pair#*:}")
done
if ((${#missing[@]} > 0)); then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}"
fi
