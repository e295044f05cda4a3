#!/usr/bin/env bash
# benchmarks/run.sh [ROUNDS] [BENCH OPTION ...]: compares layouts of two cores: one rank with two threads, two ranks
# with data or tensor parallelism, one slice instead of four. The layouts take turns, so that whatever else
# the machine does hits all alike; shown are medians over the rounds. "share" is of the product rate (sgemm, or bf16 where
# products are) around each step; "of cpu" is the same in processor time, which other work on the machine disturbs
# less (waiting counts as work). Then the phases of a step in f32 and in bf16, each as a share of that rate or, where
# it multiplies nothing, of the machine's copy rate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=3
case "${1:-}" in '' | -*) ;; *) rounds=$1; shift ;; esac
bash jobs/build.sh release bench >/dev/null
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# layout NAME RANKS OPTION ...: one run; its last line goes to the layout's file.
layout() {
    local name=$1 ranks=$2
    shift 2
    if [ "$ranks" = 1 ]; then
        build/bench --threads 2 "$@"
    else
        mpiexec --bind-to none -n "$ranks" build/bench --threads 1 "$@"
    fi | grep '^result' | tee -a "$folder/$name" | sed "s/^result/$name/"
}

# middle NAME FIELD: median over the rounds of a field of the result lines.
middle() { awk -v f="$2" '{print $f}' "$folder/$1" | sort -g | awk '{x[NR] = $1} END {print x[int((NR + 1) / 2)]}'; }

for ((round = 1; round <= rounds; round++)); do
    layout threads 1 --steps 2 "$@"
    layout slices1 1 --steps 2 --slices 1 "$@"
    layout dp2 2 --steps 2 "$@"
    layout tp2 2 --steps 2 --tensor 2 "$@"
    layout dropout 1 --steps 2 --dropout 0.05 "$@"
    layout held16 1 --steps 2 --storage bf16 "$@"
    layout bf16 1 --steps 2 --storage bf16 --precision bf16 "$@"
done

printf '\n%-38s %6s %7s %9s %7s %7s\n' layout share 'of cpu' tokens/s 'x first' 'GB/rank'
base=$(middle threads 3)
row() {
    local share
    share=$(middle "$1" 3)
    printf '%-38s %6s %7s %9s %7.2f %7s\n' "$2" "$share" "$(middle "$1" 5)" "$(middle "$1" 7)" \
        "$(awk -v a="$share" -v b="$base" 'BEGIN {print a / b}')" "$(middle "$1" 11)"
}
row threads '1 rank x 2 threads, 4 slices'
row slices1 '1 rank x 2 threads, 1 slice'
row dp2 '2 ranks x 1 thread, data parallel'
row tp2 '2 ranks x 1 thread, tensor parallel'
row dropout '1 rank x 2 threads, dropout 0.05'
row held16 '1 rank x 2 threads, weights in bf16'
row bf16 '1 rank x 2 threads, products in bf16'

lscpu | sed -n 's/^Model name: */\nmachine: /p'
for precision in f32 bf16; do
    storage=$([ "$precision" = f32 ] && echo f32 || echo bf16)
    printf '\nphases, products in %s\n' "$precision"
    build/bench --threads 2 --steps 3 --precision "$precision" --storage "$storage" "$@" |
        sed -n '/^BLAS/p; /^phase/,/^rest/p'
done
