#!/usr/bin/env bash
# Copies the sources as they are now, so that what is built stays the same meanwhile: sources.sh TO
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p "$1"
git ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from - --ignore-failed-read | tar --extract --directory "$1"
