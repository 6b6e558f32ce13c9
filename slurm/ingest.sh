#!/usr/bin/env bash
# sbatch slurm/ingest.sh MANIFEST [OPTIONS]: `astra ingest` as an array job, in Apptainer.
#
# What stands here after #SBATCH, the sbatch line overrides: --array=0-63%16, --account, --time.
#SBATCH --job-name=astra-ingest
#SBATCH --array=0-3
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=astra-%A_%a.log
set -euo pipefail

stop() {
    echo "ingest.sh: $*" >&2
    exit 2
}

[[ $# -gt 0 ]] || stop "no manifest given: sbatch slurm/ingest.sh manifest.yml"
manifest=$1
image=${ASTRA_IMAGE:-${SLURM_SUBMIT_DIR:-$PWD}/astra.sif}
scratch=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}
[[ -r $manifest ]] || stop "$manifest: cannot be read from $PWD: give its path as seen from there"
[[ -r $image ]] || stop "$image: no such image: copy it there, or export ASTRA_IMAGE=/path/of/it.sif"
command -v apptainer >/dev/null ||
    stop "apptainer is not on PATH: load it before sbatch, as in \`module load apptainer\`"

# All that the job reads or writes must be bound, by the name that it has outside.
binds=()
bind() {
    [[ ! -e $1 ]] || binds+=(--bind "$(realpath --no-symlinks -- "$1")")
}

variables=$(sed 's/#.*//' "$manifest" | grep -oE '\$\{?[A-Za-z_][A-Za-z_0-9]*' | tr -d '${' || true)
for name in SAS_BASE_DIR $variables; do
    [[ $name == SAS_BASE_DIR || -n ${!name-} ]] ||
        stop "$manifest: \$$name is not set: export $name=/its/folder before sbatch"
    bind "${!name-}"
done
folders=$(sed -nE 's/^[- {]*path: *["'\'']?(\/[^]["'\''*?$#]*)\/.*/\1/p' "$manifest")
while read -r folder; do
    bind "$folder"
done <<<"$folders"
bind "$PWD"
bind "$(dirname "$manifest")"
bind "$(dirname "$(realpath "$manifest")")"
bind "$scratch"
bind "$(dirname "${ASTRA_DATABASE_PATH:-$PWD/astra.db}")"
for file in "${ASTRA_CONFIG_PATH-}" ~/.config/sdss "${PGPASSFILE:-$HOME/.pgpass}" \
    "${PGSERVICEFILE:-$HOME/.pg_service.conf}" ~/.postgresql; do
    bind "$file"
done

job=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-$$}}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
restarts=${SLURM_RESTART_COUNT:-0}
mkdir -p reports
echo "astra $job on $(hostname), start $((restarts + 1)), $(date --utc +%FT%TZ)"

# Slurm's warning before the time limit ends the ingest after the chunk at hand, as scancel does.
signal='' warned=''
trap 'signal=yes warned=yes; kill -TERM "$ingest"' USR1
trap 'signal=yes; kill -TERM "$ingest"' TERM
apptainer run "${binds[@]}" --env "TMPDIR=$scratch" "$image" \
    ingest "$@" --report "reports/astra-$job-$restarts.json" &
ingest=$!
while
    signal=''
    status=0
    wait "$ingest" || status=$?
    [[ $signal ]] # which ended the wait, not the ingest
do :; done

# 75: not all is in yet, and nothing is wrong.  Who was told to end by scancel stays ended.
if [[ $status == 75 && -n ${SLURM_JOB_ID-} && (-n $warned || -z $ended) ]]; then
    echo "requeue"
fi
exit "$status"
