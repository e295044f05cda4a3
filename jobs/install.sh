#!/usr/bin/env bash
# jobs/install.sh [GROUP ...]: sees to it that the packages of these groups of jobs/packages.txt (default:
# build run test) are there. As root on Debian it installs what is missing; anywhere else it names what is
# missing and fails, or says nothing when nothing is. RF_PACKAGES names another list.
set -euo pipefail
list=${RF_PACKAGES:-$(dirname "${BASH_SOURCE[0]}")/packages.txt}
groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(build run test)

# The lines "package probe argument" of the groups asked for, each package once.
wanted() {
    local group
    for group in "${groups[@]}"; do
        grep -qxF "[$group]" "$list" || { echo "install: no group [$group] in $list" >&2; return 2; }
    done
    awk -v groups=" ${groups[*]} " '
        /^\[/ { here = index(groups, " " substr($0, 2, length($0) - 2) " "); next }
        here && NF && !/^#/ && !seen[$1]++ { print $1, $2, $3 }' "$list"
}

# present PROBE ARGUMENT: is it there, whoever installed it?
present() {
    case $1 in
    command) command -v "$2" >/dev/null ;;
    pkg-config) command -v pkg-config >/dev/null && pkg-config --exists "$2" ;;
    header) echo "#include <$2>" | ${CC:-gcc} -E -x c - >/dev/null 2>&1 ;;
    file) compgen -G "$2" >/dev/null ;;
    python) python3 -c "import $2" 2>/dev/null || /usr/bin/python3 -c "import $2" 2>/dev/null ;;
    *) echo "install: unknown probe '$1' in $list" >&2; exit 2 ;;
    esac
}

# Fills `missing`.
look() {
    local package probe argument
    missing=()
    while read -r package probe argument; do
        present "$probe" "$argument" || missing+=("$package")
    done <<<"$lines"
}

# Retries a command: mirrors fail now and then.
patiently() {
    local pause
    for pause in 2 8 20 0; do
        if "$@"; then return 0; fi
        sleep "$pause"
    done
    return 1
}

# Quiet unless it fails, then everything it said.
apt() {
    local said
    said=$(DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
        "$@" </dev/null 2>&1) || { echo "$said" >&2; return 1; }
}

lines=$(wanted)
look
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing: ${missing[*]}"
    patiently apt update
    patiently apt install --no-install-recommends "${missing[@]}"
    look
    [ ${#missing[@]} -gt 0 ] || exit 0
fi
{
    echo "install: missing: ${missing[*]}"
    echo "These are the names of Debian's packages. Ask for them, or for their likes (modules, conda, Spack)," \
        "or as root run"
    echo "    apt-get install --no-install-recommends ${missing[*]}"
} >&2
exit 1
