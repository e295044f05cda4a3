#!/usr/bin/env bash
# sbatch --array=0-5 jobs/sweep-array.sh MANIFEST: one array task for each run of a sweep (refract sweep plan makes the
# manifest and says how many runs it has). Runs that are done end at once: the same command continues the sweep.
# --array=0-99%10 keeps ten at a time.
#SBATCH --job-name=refract-sweep
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.out
. jobs/step.sh
step "${refract[@]}" sweep run "$1" --index "${SLURM_ARRAY_TASK_ID:?start with sbatch --array=0-N}"
leave $? "$(dirname "$1")"
