#!/usr/bin/env bash
# sbatch slurm/ingest.sh MANIFEST [OPTIONS]: `astra ingest` as an array job, in Apptainer.
#
# These are defaults; options of sbatch go over them: --array=0-63%16, --time=12:00:00, --account.
#SBATCH --job-name=astra-ingest --output=astra-%A_%a.log --open-mode=append
#SBATCH --array=0-3 --cpus-per-task=2 --mem=4G --time=04:00:00
#SBATCH --requeue --signal=B:USR1@120
set -euo pipefail

stop() {
    echo "ingest.sh: $*" >&2
    exit 2
}

manifest=${1-}
image=${ASTRA_IMAGE:-${SLURM_SUBMIT_DIR:-$PWD}/astra.sif}
scratch=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}
[[ -n $manifest ]] || stop "no manifest: give one, as in sbatch slurm/ingest.sh manifest.yml"
[[ -f $manifest && -r $manifest ]] || stop "$manifest: no file to read; it was sought from $PWD"
[[ -r $image ]] || stop "$image: no such image; copy it there, or export ASTRA_IMAGE=/its/path.sif"
[[ $(type -P apptainer) ]] || stop "no apptainer on PATH; before sbatch: module load apptainer"

# What the job reads and writes is bound into the image under the name that it has outside.
binds=()
bind() {
    local path
    [[ -e ${1-} ]] || return 0
    for path in "$(realpath --no-symlinks -- "$1")" "$(realpath -- "$1")"; do
        binds+=(--mount "type=bind,\"source=$path\",\"destination=$path\"")
    done
}
bind "$PWD"
bind "$(dirname -- "$manifest")"
bind "$scratch"
bind "$(dirname -- "${ASTRA_DATABASE_PATH:-$PWD/astra.db}")"
bind "${SAS_BASE_DIR-}"
while read -r name; do
    [[ -n ${!name-} ]] || stop "$manifest: \$$name is not set; before sbatch: export $name=/folder"
    bind "${!name}"
done < <(sed 's/#.*//' "$manifest" | grep -oP '\$\{?\K[A-Za-z_]\w*')
while IFS= read -r folder; do
    bind "$folder"
done < <(sed -nE "s/^[- {]*path: *[\"']?(\/[^]\"'*?#]*)\/.*/\1/p" "$manifest")
for file in "${ASTRA_CONFIG_PATH-}" ~/.config/sdss "${PGPASSFILE:-$HOME/.pgpass}" \
    "${PGSERVICEFILE:-$HOME/.pg_service.conf}" ~/.postgresql; do
    bind "$file"
done

job=${SLURM_ARRAY_JOB_ID-${SLURM_JOB_ID-local}}${SLURM_ARRAY_TASK_ID+_$SLURM_ARRAY_TASK_ID}
report=reports/astra-$job
start=${SLURM_RESTART_COUNT:-0}
# Under srun with several tasks, each of them takes its part of what the job would.
if ((${SLURM_STEP_NUM_TASKS:-1} > 1)); then
    from=$((${SLURM_ARRAY_TASK_ID:-0} - ${SLURM_ARRAY_TASK_MIN:-0}))
    place=$((from / ${SLURM_ARRAY_TASK_STEP:-1}))
    share=$((place * SLURM_STEP_NUM_TASKS + SLURM_PROCID))
    set -- "$@" --shard "$share/$((${SLURM_ARRAY_TASK_COUNT:-1} * SLURM_STEP_NUM_TASKS))"
    report+=.$SLURM_PROCID
fi
((start == 0)) || report+=-restart$start
mkdir -p reports

# Slurm warns the script alone (USR1) before the time limit; scancel and preemption tell all (TERM).
# Either way astra ends after the chunk at hand.
ingest='' heard='' warned=''
trap 'heard=yes warned=yes; kill -TERM $ingest 2>/dev/null || true' USR1
trap 'heard=yes warned=${warned:-no}; kill -TERM $ingest 2>/dev/null || true' TERM
echo "== $(date +%FT%T) $job on $(hostname), start $((start + 1))"
apptainer --silent run "${binds[@]}" --env "TMPDIR=$scratch" "$image" \
    ingest "$@" --report "$report.json" &
ingest=$!
status=0
wait "$ingest" || status=$?
while [[ $heard ]]; do # a signal may have ended the wait alone; 127 says that it did not
    heard='' again=0
    wait "$ingest" 2>/dev/null || again=$?
    ((again == 127)) || status=$again
done

# 75: not all is in, and nothing is wrong.  What scancel ended stays so, what Slurm preempted it
# requeues itself, and a step is its job's matter.
if ((status != 75)) || [[ $warned == no || -z ${SLURM_JOB_ID-} || ${SLURM_STEP_NUM_TASKS-} ]]; then
    exit "$status"
fi
((start < 20)) || stop "$job was started $((start + 1)) times; see why, then submit it again"
echo "== not all is in: $job is requeued, and goes on where it was"
scontrol requeue "$job" || echo "ingest.sh: it was not; submit again, and it goes on" >&2
exit 75
