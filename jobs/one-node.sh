#!/usr/bin/env bash
# sbatch jobs/one-node.sh INPUT.yaml [KEY=VALUE ...]: trains on one node; the same command starts and continues.
# Options of sbatch come before the script: sbatch --ntasks=4 --cpus-per-task=8 --time=12:00:00 jobs/one-node.sh ...
#SBATCH --job-name=refract
#SBATCH --nodes=1
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
. jobs/step.sh
output=$(output_of "$@") || exit 2
step "${refract[@]}" train "$@"
leave $? "$output"
