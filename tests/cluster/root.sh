#!/usr/bin/env bash
# Makes the root of the machine that the cluster runs on, with Slurm and Apptainer: root.sh CACHE
#
# Debian unstable has both.  Its Release file may have expired where a mirror is behind.
set -euo pipefail
root=$1/root-$(cksum <"${BASH_SOURCE[0]}" | cut -d ' ' -f 1)
packages=apptainer,squashfuse,ca-certificates,hostname,munge,procps,slurm-wlm,util-linux

if [[ ! -d $root ]]; then
    rm -rf --one-file-system "$root.new"
    mmdebstrap --quiet --variant=minbase --include="$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' sid "$root.new" >&2
    chroot "$root.new" useradd --uid 2000 --create-home --shell /bin/bash sdss
    mkdir "$root.new/data"
    ln -sf /run/slurm/slurm.conf "$root.new/etc/slurm/slurm.conf"
    echo '127.0.0.1 localhost node1' >"$root.new/etc/hosts"
    mv "$root.new" "$root"
fi
echo "$root"
