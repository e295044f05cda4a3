#!/usr/bin/env bash
# tests/lint.sh [FILE.c ...]: every check that needs no run: layout, static analysis (clang-tidy, cppcheck), the
# shell scripts. With files: clang-format and clang-tidy on these alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash jobs/install.sh build run test lint
bash jobs/build.sh release rf_version_header
failed=0

# check TITLE COMMAND...: runs it and remembers a failure, so that one call shows everything there is.
check() {
    local title=$1 start=$SECONDS verdict=ok
    shift
    "$@" || { verdict=FAILED; failed=1; }
    printf 'lint: %-13s %s (%d s)\n' "$title" "$verdict" $((SECONDS - start))
}

# One entry per source: the double-precision twin of a file is the same text.
single_precision() {
    python3 - build/compile_commands.json <<'PY'
import json
import pathlib
import sys

commands = json.loads(pathlib.Path(sys.argv[1]).read_text())
single = [c for c in commands if "-DRF_DOUBLE" not in c["command"].split()]
folder = pathlib.Path("build/tidy")
folder.mkdir(exist_ok=True)
(folder / "compile_commands.json").write_text(json.dumps(single))
PY
}

tidy() {
    single_precision
    printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" clang-tidy -p build/tidy --quiet 2>/dev/null
}

analyse() {
    cppcheck --quiet --std=c11 --language=c -j "$(nproc)" --inline-suppr --error-exitcode=1 \
        --enable=warning,performance,portability --suppressions-list=tests/cppcheck.txt \
        --library=posix -D_GNU_SOURCE -DRF_FAULTS -Iinclude -Ibuild/generated src include tests
}

if [ $# -gt 0 ]; then
    check clang-format clang-format --dry-run -Werror "$@"
    check clang-tidy tidy "$@"
    exit $failed
fi
mapfile -t code < <(git ls-files '*.c' '*.h')
mapfile -t sources < <(git ls-files '*.c')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
check clang-format clang-format --dry-run -Werror "${code[@]}"
check shellcheck shellcheck "${scripts[@]}"
check cppcheck analyse
check clang-tidy tidy "${sources[@]}"
exit $failed
