#!/usr/bin/env python3
"""checkpoint_kill.py MPIEXEC CHECKPOINT_JOB: ranks killed in the middle of a checkpoint lose nothing but it.

One job after the other finds what the one before left, and is ended by SIGKILL of one rank at the next
stage of writing its own checkpoint; the last one is let alone.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

# stages in order, with the rank that is killed; a kill at the last one leaves the new checkpoint
STAGES = ["checkpoint.write:1", "checkpoint.flush:1", "checkpoint.rename:0", "checkpoint.prune:0"]


def run(mpiexec, job, folder, step, fault=None):
    environment = dict(os.environ, **({"RF_FAULT": f"{fault}:kill"} if fault else {}))
    done = subprocess.run([mpiexec, "-n", "2", job, str(folder), str(step)], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def check(mpiexec, job, folder):
    code, out = run(mpiexec, job, folder, 1)
    if code != 0 or "newest 0 whole" not in out:
        yield f"first checkpoint: code {code}: {out}"
    for step, fault in enumerate(STAGES, start=2):
        code, out = run(mpiexec, job, folder, step, fault)
        if code == 0:
            yield f"{fault}: nobody was killed"
        if "newest 1 whole" not in out:
            yield f"before {fault}: wanted step 1 whole: {out}"
    code, out = run(mpiexec, job, folder, 100)
    if code != 0 or f"newest {len(STAGES) + 1} whole" not in out:
        yield f"last job: code {code}: {out}"
    left = sorted(path.name for path in folder.iterdir())
    if left != ["step-00000100.h5"]:
        yield f"left {left}"


def main():
    with tempfile.TemporaryDirectory() as name:
        faults = list(check(*sys.argv[1:3], pathlib.Path(name) / "checkpoints"))
    print("\n".join(faults) or "previous checkpoints found whole")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
