#!/bin/sh
# Whether this image works here: sample products into SQLite, in a folder of its own.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export ASTRA_DATABASE_PATH="$folder/check.db"
unset ASTRA_CONFIG_PATH
/opt/astra/bin/astra --version
/opt/astra/bin/astra sample "$folder/products" --rows 20
/opt/astra/bin/astra ingest "$folder/products/manifest.yml" --shard 0/1
