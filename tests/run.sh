#!/usr/bin/env bash
# tests/run.sh [CTEST OPTION ...]: installs what is missing (as root on Debian), builds build/ and runs every
# test, two at a time or one per core. Under CI=true warnings are errors.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash jobs/install.sh build run test analysis slurm
options=()
[ "${CI:-}" != true ] || options=(-DRF_WERROR=ON)
bash jobs/build.sh release -- "${options[@]}"
cores=$(nproc)
ctest --preset release -j "$((cores > 2 ? cores : 2))" "$@"
