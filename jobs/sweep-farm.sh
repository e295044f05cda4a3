#!/usr/bin/env bash
# sbatch jobs/sweep-farm.sh MANIFEST [WORKERS]: all runs of a sweep in one allocation, whose ranks are cut into WORKERS
# groups (default: one per task); each takes the next run as it gets free. A run that fails does not touch the others;
# the same command goes on where the farm was.
#SBATCH --job-name=refract-farm
#SBATCH --nodes=1
#SBATCH --ntasks=3
#SBATCH --cpus-per-task=1
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
. jobs/step.sh
step "${refract[@]}" sweep run "$1" --workers "${2:-$SLURM_NTASKS}"
code=$?
"${refract[@]}" sweep status "$1"
leave "$code" "$(dirname "$1")"
