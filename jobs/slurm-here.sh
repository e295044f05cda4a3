#!/usr/bin/env bash
# jobs/slurm-here.sh up [--install] [--cpus N] | status | down
#
# A real SLURM of one node on this machine (munge, slurmctld, slurmd), for trying batch scripts before a
# cluster is asked for them. It listens on the loopback only, on free ports, and keeps all it has in the folder
# $SLURM_HERE (default: /tmp/refract-slurm-USER), which `down` removes; a SLURM of the machine's own is left alone.
#   eval "$(jobs/slurm-here.sh up --install)"     # --install: as root on Debian, what is missing
#   sbatch jobs/one-node.sh my.yaml
#   jobs/slurm-here.sh down
# `up` prints `export SLURM_CONF=...`, which is how sbatch and its like find it. CPUs may be more than there are.
set -euo pipefail
here=${SLURM_HERE:-/tmp/refract-slurm-$(id -un)}
export SLURM_CONF=$here/slurm.conf
jobs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "slurm-here: $*" >&2; exit 1; }

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 10000))
        if is_free "$port"; then echo "$port"; return; fi
    done
    fail "no free port between 20000 and 30000"
}

# The daemon NAME of this folder, if it runs: its process id.
process_of() {
    local pid
    pid=$(cat "$here/$1.pid" 2>/dev/null) || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$here" && echo "$pid"
}

configure() {
    local host=$1 cpus=$2 user memory
    user=$(id -un)
    memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
    cat >"$SLURM_CONF" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$here/munge.socket,cred_expire=5
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
MinJobAge=86400
ReturnToService=2
JobCompType=jobcomp/filetxt
JobCompLoc=$here/jobs.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
CONF
}

start_daemons() {
    (umask 077 && head -c 128 /dev/urandom >"$here/munge.key")
    munged --force --key-file="$here/munge.key" --socket="$here/munge.socket" --pid-file="$here/munged.pid" \
        --log-file="$here/munged.log" --seed-file="$here/munge.seed" </dev/null >>"$here/munged.log" 2>&1 ||
        fail "munged did not start: $(tail -n 3 "$here/munged.log")"
    slurmctld -f "$SLURM_CONF" </dev/null >>"$here/slurmctld.log" 2>&1 || fail "slurmctld: $(tail -n 3 "$here/slurmctld.log")"
    slurmd -f "$SLURM_CONF" </dev/null >>"$here/slurmd.log" 2>&1 || fail "slurmd: $(tail -n 3 "$here/slurmd.log")"
}

# Waits until the node takes jobs.
await_node() {
    for _ in $(seq 100); do
        case $(timeout 5 sinfo -h -o %T 2>/dev/null | head -n 1) in idle | mixed | allocated) return ;; esac
        sleep 0.1
    done
    fail "the node does not come up: $(tail -n 3 "$here/slurmctld.log" "$here/slurmd.log")"
}

up() {
    local cpus host
    cpus=$(nproc)
    while [ $# -gt 0 ]; do
        case $1 in
        --install) bash "$jobs/install.sh" slurm >&2 ;;
        --cpus) cpus=${2:?--cpus N}; shift ;;
        *) fail "unknown option '$1'" ;;
        esac
        shift
    done
    for tool in munged slurmctld slurmd sbatch; do
        command -v $tool >/dev/null || fail "$tool is missing (jobs/slurm-here.sh up --install)"
    done
    if process_of slurmctld >/dev/null; then fail "already up in $here; jobs/slurm-here.sh down takes it down"; fi
    host=$(hostname -s)
    rm -rf "$here"
    mkdir -m 755 "$here" "$here/state" "$here/spool"
    configure "$host" "$cpus"
    trap 'down >&2' EXIT # unless all goes well
    start_daemons
    await_node
    trap - EXIT
    echo "export SLURM_CONF=$SLURM_CONF"
}

# Ends the jobs, then the daemons, and takes the folder away.
down() {
    local name pid
    if process_of slurmctld >/dev/null; then
        timeout 10 scancel --state=PENDING --user "$(id -un)" || true
        timeout 10 scancel --user "$(id -un)" || true
        for _ in $(seq 150); do
            [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
            sleep 0.1
        done
    fi
    for name in slurmd slurmctld munged; do
        pid=$(process_of $name) || continue
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    [ ! -f "$SLURM_CONF" ] || rm -rf "$here"
}

status() {
    local name pid missing=0
    for name in munged slurmctld slurmd; do
        if pid=$(process_of $name); then echo "$name: process $pid"; else echo "$name: not running"; missing=1; fi
    done
    [ $missing = 0 ] || return 1
    echo "export SLURM_CONF=$SLURM_CONF"
    sinfo
    squeue
}

case ${1:-} in
up | down | status) "$@" ;;
*) fail "jobs/slurm-here.sh up [--install] [--cpus N] | status | down" ;;
esac
