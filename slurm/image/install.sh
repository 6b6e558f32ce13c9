#!/bin/sh
# Installs astra under /opt/astra, in three steps; Containerfile and astra.def run the same ones.
# What it leaves behind depends on the sources and the lock alone: no times, no caches.
set -eu
umask 022

prefix=/opt/astra
mounted=$(dirname "$0")

install_debian() {
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
        apt-get -qq install --no-install-recommends "$@" >/dev/null
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/dpkg/*-old /var/log/*
}

pip_install() {
    python3 -m pip --python $prefix/bin/python install --quiet --disable-pip-version-check \
        --root-user-action ignore --no-cache-dir --no-compile "$@"
}

# The image is read-only: byte code is made here, and never compared with its source.  Debian's own
# knows when its source was written, and would not be used where a build sets the times of all files.
byte_compile() {
    python3 -m compileall -q --invalidation-mode unchecked-hash "$@"
}

case $1 in
    python)
        install_debian python3
        byte_compile -f /usr/lib/python3.*
        ;;
    dependencies)
        # The run stage's packages, before those come that only the build needs.
        dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\n' >debian.tsv
        install_debian ca-certificates python3-pip python3-venv
        python3 -m venv --without-pip $prefix
        pip_install --require-hashes --requirement requirements.lock
        ;;
    package)
        pip_install --no-deps .
        python3 "$mounted/sbom.py" $prefix debian.tsv >$prefix/sbom.cdx.json
        find $prefix/bin $prefix/include -mindepth 1 ! -name astra ! -name 'python*' -delete
        # Isolated: with Apptainer, PYTHONPATH and its like come in from the host.
        sed -i '1s/$/ -I/' $prefix/bin/astra
        packages=$(echo $prefix/lib/python3*/site-packages)
        # astropy imports its own package `tests`; those that hold tests lie deeper.
        find "$packages" -mindepth 2 -type d -name tests ! -path "$packages/astropy/tests" \
            -prune -exec rm -r {} +
        find "$packages" \( -name '*.a' -o -name '*.pyi' -o -name '*.[ch]' \
            -o -path '*/tests/test_*.py' \) -delete
        byte_compile "$packages"
        chmod -R u=rwX,go=rX $prefix
        find $prefix -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-0}" {} +
        ;;
esac
