# shellcheck shell=bash
# What the batch scripts of this folder share; they source it from the folder that sbatch was called in.
#   refract        the program: build/refract, or what the site's profile $RF_SITE (jobs/sites/) says
#   step COMMAND   starts it on all ranks of the job and gives back its code; signals reach the ranks
#   leave CODE [OUTPUT ...]   ends the job; code 75 (stopped, all saved) puts it back into the queue
set -uo pipefail

# What reaches this shell alone (scancel --batch, --signal=B:) goes on to srun, which hands it to the ranks.
child='' signalled=''
pass_on() {
    signalled=yes
    [ -z "$child" ] || kill -USR1 "$child" 2>/dev/null
}
trap pass_on TERM INT USR1 USR2

refract=(build/refract)
# shellcheck source=/dev/null
[ -z "${RF_SITE:-}" ] || . "$RF_SITE" || exit 2

# One thread per CPU of a task; bound to cores where this SLURM binds tasks to CPUs.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
# Newer SLURMs tell the job's end by themselves; the program saves and leaves before it.
if [ -z "${SLURM_JOB_END_TIME:-}" ] && end=$(date -d "$(squeue -h -j "$SLURM_JOB_ID" -o %e)" +%s 2>/dev/null); then
    export SLURM_JOB_END_TIME=$end
fi
launch=(srun --mpi=pmix --wait=30) # --wait: when one rank dies, the others do not stay
if scontrol show config | grep -Eq '^TaskPlugin .*(affinity|cgroup)'; then
    launch+=(--cpu-bind=cores)
    export OMP_PROC_BIND=close OMP_PLACES=cores
fi

step() {
    local code
    [ -z "$signalled" ] || return 75 # before anything began
    "${launch[@]}" "$@" &
    child=$!
    while :; do
        wait "$child"
        code=$?
        [ -n "$signalled" ] || break
        signalled='' # it was the signal that ended `wait`
    done
    child=''
    return "$code"
}

# The run folder of an input file with its overrides.
output_of() {
    "${refract[@]}" config "$@" | sed -n "s/^output: *//p" | sed "s/^[\"']\(.*\)[\"']\$/\1/"
}

leave() {
    local code=$1 folder id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    shift
    id=${id:-$SLURM_JOB_ID}
    [ "$code" = 75 ] || exit "$code"
    for folder in "$@"; do
        if [ -e "$folder/STOP" ]; then echo "$folder/STOP is there: not requeued"; exit 75; fi
    done
    # A job that is being ended (scancel, its time limit) is no longer RUNNING, and stays ended.
    if [ "$(squeue -h -j "$id" -o %T)" = RUNNING ]; then
        echo "stopped with all state saved: requeued as $id (restarts so far: ${SLURM_RESTART_COUNT:-0})"
        scontrol requeue "$id"
        sleep 60 # SLURM ends this script
    fi
    exit 75
}
