#!/usr/bin/env bash
# sbatch --nodes=4 jobs/several-nodes.sh INPUT.yaml [KEY=VALUE ...]: trains on several nodes of one kind, whole nodes;
# the same command starts and continues, on any number of nodes. Keep the ranks of a tensor-parallel group on one node:
# parallel.tensor should divide the tasks per node. `refract plan INPUT --ranks N` tells what a layout takes.
#SBATCH --job-name=refract
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
. jobs/step.sh
output=$(output_of "$@") || exit 2
launch+=(--distribution=block:block) # neighbouring ranks share a node
step "${refract[@]}" train "$@"
leave $? "$output"
