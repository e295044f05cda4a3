#!/usr/bin/env bash
# jobs/build.sh PRESET [TARGET ...] [-- CMAKE OPTION ...]: configures a preset of CMakePresets.json and
# builds it, or only the targets named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:?jobs/build.sh PRESET [TARGET ...] [-- CMAKE OPTION ...]}
shift
targets=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets+=("$1")
    shift
done
[ $# -eq 0 ] || shift

# A build folder that came from another path or another generator would stop CMake: its cache goes.
folder=$([ "$preset" = release ] && echo build || echo "build-$preset")
cache=$folder/CMakeCache.txt
if [ -e "$cache" ] && ! { grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$cache" &&
    grep -qxF "CMAKE_GENERATOR:INTERNAL=Ninja" "$cache"; }; then
    rm -rf "$cache" "$folder/CMakeFiles"
fi
said=$(cmake --preset "$preset" "$@" 2>&1) || { echo "$said" >&2; exit 1; }
cmake --build "$folder" ${targets[@]:+--target "${targets[@]}"}
