#!/usr/bin/env bash
# sbatch jobs/evaluate.sh NAME RUN ... [-- KEY=VALUE ...]: evaluates many runs, one after another, on all ranks of the
# job; results go to RUN/evaluations/NAME/eval.json. What is there already, and newer than the run's newest checkpoint,
# is not done again: the same command continues.
#   sbatch jobs/evaluate.sh test runs/*/ -- data.eval=test.jsonl
#SBATCH --job-name=refract-eval
#SBATCH --nodes=1
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
. jobs/step.sh
name=$1 runs=() failed=0
shift
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    runs+=("${1%/}")
    shift
done
[ $# -eq 0 ] || shift

for run in "${runs[@]}"; do
    result=$run/evaluations/$name/eval.json
    newest=$(find "$run/checkpoints" -name 'step-*.h5' 2>/dev/null | sort | tail -n 1)
    if [ -e "$result" ] && ! [ "$newest" -nt "$result" ]; then
        echo "$run: done before"
        continue
    fi
    mkdir -p "${result%/*}"
    step "${refract[@]}" eval "$run/config.yaml" "eval.adapter=$run" "output=${result%/*}" "$@"
    code=$?
    [ "$code" != 75 ] || leave 75 "$run"
    [ "$code" = 0 ] || { echo "$run: failed with code $code"; failed=$code; }
done
exit "$failed"
