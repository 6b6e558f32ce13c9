#!/usr/bin/env bash
# sbatch slurm/ingest.sh MANIFEST [OPTIONS]: `astra ingest` as an array job, in Apptainer.
# These are defaults; options of sbatch go over them: --array=0-63%16, --time=12:00:00, --account.
#SBATCH --job-name=astra-ingest --output=astra-%A_%a.log --open-mode=append
#SBATCH --array=0-3 --cpus-per-task=2 --mem=4G --time=04:00:00
#SBATCH --requeue --signal=B:USR1@120
set -euo pipefail
stop() { echo "ingest.sh: $*" >&2 && exit 2; }

manifest=${1-}
image=${ASTRA_IMAGE:-${SLURM_SUBMIT_DIR:-$PWD}/astra.sif}
scratch=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}
[[ $manifest ]] || stop "no manifest: give one, as in sbatch slurm/ingest.sh manifest.yml"
[[ -f $manifest && -r $manifest ]] || stop "$manifest: no file to read; it was sought from $PWD"
[[ -r $image ]] || stop "$image: no such image; copy it there, or export ASTRA_IMAGE=/its/path.sif"
[[ $(type -P apptainer) ]] || stop "no apptainer on PATH; before sbatch: module load apptainer"

# What the job reads and writes is bound into the image, under each name that it has outside.
places=("$PWD" "$(dirname -- "$manifest")" "$(dirname -- "${ASTRA_DATABASE_PATH-.}")" "$scratch"
    "${SAS_BASE_DIR-}" "${ASTRA_CONFIG_PATH-}" ~/.config/sdss ~/.postgresql
    "${PGPASSFILE:-$HOME/.pgpass}" "${PGSERVICEFILE:-$HOME/.pg_service.conf}")
while read -r name; do
    [[ ${!name-} ]] || stop "$manifest: \$$name is not set; before sbatch: export $name=/folder"
    places+=("${!name}")
done < <(sed 's/#.*//' "$manifest" | grep -oP '\$\{?\K[A-Za-z_]\w*')
whole_path="s/^[- {]*path: *[\"']?(\/[^]\"'*?#]*)\/.*/\1/p"
mapfile -t -O "${#places[@]}" places < <(sed -nE "$whole_path" "$manifest")
binds=()
while IFS= read -r place; do
    binds+=(--mount "type=bind,\"source=$place\",\"destination=$place\"")
done < <(realpath -qe -- "${places[@]}" || true; realpath -qes -- "${places[@]}")

job=${SLURM_ARRAY_JOB_ID-${SLURM_JOB_ID-local}}${SLURM_ARRAY_TASK_ID+_$SLURM_ARRAY_TASK_ID}
starts=$((${SLURM_RESTART_COUNT:-0} + 1))
report=reports/astra-$job${SLURM_STEP_NUM_TASKS:+.$SLURM_PROCID}
((starts == 1)) || report+=-start$starts
mkdir -p reports

# Slurm warns the script alone (USR1) before the time limit; scancel and preemption tell all (TERM).
# Either way astra ends after the chunk at hand.  A signal also ends a `wait` before its time.
ingest='' first='' heard=yes
trap 'first=${first:-USR1} heard=yes; kill -TERM $ingest 2>/dev/null || true' USR1
trap 'first=${first:-TERM} heard=yes; kill -TERM $ingest 2>/dev/null || true' TERM
echo "== $(date +%FT%T) $job on $(hostname), start $starts"
apptainer --silent run "${binds[@]}" --env "TMPDIR=$scratch" "$image" \
    ingest "$@" --report "$report.json" &
ingest=$!
while [[ $heard ]]; do
    heard='' status=0
    wait "$ingest" || status=$?
done

# 75: not all is in, and nothing is wrong.  What scancel ended stays so, what Slurm preempted it
# requeues itself, and a step is its job's matter.
[[ $status == 75 && $first != TERM && ${SLURM_JOB_ID-} && ! ${SLURM_STEP_NUM_TASKS-} ]] ||
    exit "$status"
((starts <= 20)) || stop "$job was started $starts times; see why, then submit it again"
echo "== not all is in: $job is requeued, and goes on where it was"
scontrol requeue "$job" || echo "ingest.sh: it was not; submit again, and it goes on" >&2
exit 75
