#!/usr/bin/env bash
# tests/sanitize.sh [CTEST OPTION ...]: builds with the address and undefined-behaviour sanitizers and runs
# the unit tests and the two-rank MPI tests; with options, the tests that these choose (e.g. -R agree).
# Leaks are not looked for: Open MPI itself leaves some behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash jobs/install.sh build run test
bash jobs/build.sh debug-sanitized
export UBSAN_OPTIONS=print_stacktrace=1
cores=$(nproc)
run=(ctest --preset debug-sanitized -j "$((cores > 2 ? cores : 2))")
if [ $# -gt 0 ]; then
    "${run[@]}" "$@"
else
    "${run[@]}" -L unit
    "${run[@]}" -L mpi -R '\.np2$'
fi
