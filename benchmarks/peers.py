#!/usr/bin/env python3
"""Refract beside PyTorch + PEFT: the same model, tokens, batches and precision, taking turns on this machine.

benchmarks/peers.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data gsm8k/train.jsonl --python VENV/bin/python

The model is what jobs/get-smollm2.sh fetches; the data are GSM8K's train.jsonl; VENV has torch, transformers, peft
and gguf. Each round runs every case once with either program, one process at a time. Shown are, per case, the medians
of tokens/s (real tokens: padding does not count) and of peak memory (of the whole process), their ratio, and the
least and most ratio of a round. The peer's warm-up steps are left out; Refract's are all counted. Both tell the loss
of the first step, which must agree: it is the same work.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
R = 16

# name, tokens, samples of a step, method, precision, torch.compile
CASES = [
    ("full-f32", "full", 4, "lora", "f32", False),
    ("full-bf16", "full", 4, "lora", "bf16", False),
    ("full-bf16-compile", "full", 4, "lora", "bf16", True),
    ("gsm8k8-f32", "gsm8k", 8, "lora", "f32", False),
    ("gsm8k8-bf16", "gsm8k", 8, "lora", "bf16", False),
    ("gsm8k32-f32", "gsm8k", 32, "lora", "f32", False),
    ("gsm8k32-bf16", "gsm8k", 32, "lora", "bf16", False),
    ("full-dora-f32", "full", 4, "dora", "f32", False),
    ("gsm8k8-dora-bf16", "gsm8k", 8, "dora", "bf16", False),
]


def run(command, environment):
    """Output and peak memory in MiB of one process and its threads; a failure ends the comparison."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{errors.read()[-3000:]}")
        return out.read(), usage.ru_maxrss / 1024


def run_peer(options, case, tokens):
    _, data, batch, method, precision, is_compiled = case
    command = [options.python, HERE / "peer_peft.py", "train", "--model", options.model, "--data",
               tokens / f"{data}.jsonl", "--method", method, "--precision", precision, "--batch", str(batch),
               "--steps", str(options.steps), "--warmup", "2" if is_compiled else "1",
               "--threads", str(options.threads), "--r", str(R)]
    out, memory = run(command + ["--compile"] * is_compiled, {"OMP_NUM_THREADS": str(options.threads)})
    told = json.loads(out.splitlines()[-1])
    return told["speed"], memory, told["losses"][0]


def run_refract(options, case, tokens):
    _, data, batch, method, precision, _ = case
    with tempfile.TemporaryDirectory() as folder:
        keys = {
            "output": f"{folder}/run", "method": method,
            "model": {"path": str(options.model), "storage": "bf16" if precision == "bf16" else "f32"},
            "lora": {"r": R, "alpha": 2 * R},
            "data": {"train": str(tokens / f"{data}.jsonl"), "format": "tokens", "max_length": 512, "shuffle": False},
            "train": {"steps": options.steps + 1, "batch_size": batch, "learning_rate": 2e-4,
                      "schedule": "constant", "log_every": 1},
            "compute": {"precision": precision}, "checkpoint": {"every": 0},
        }
        name = pathlib.Path(folder) / "input.yaml"
        name.write_text(json.dumps(keys), encoding="utf-8")  # JSON is YAML
        out, memory = run([options.refract, "train", name], {"OMP_NUM_THREADS": str(options.threads)})
    speed = re.search(r"s of steps: (\d+) tok/s", out)
    loss = re.search(r"^step 1/\d+ +loss ([\d.]+)", out, re.MULTILINE)
    if not speed or not loss:
        sys.exit(f"cannot read what refract said:\n{out}")
    return float(speed[1]), memory, float(loss[1])


def show(case, ours, theirs):
    """One line: medians, ratio of medians, least and most ratio of a round."""
    def ratio(field):
        both = [statistics.median(x[field] for x in runs) for runs in (ours, theirs)]
        each = [a[field] / b[field] for a, b in zip(ours, theirs)]
        return (*both, both[0] / both[1], min(each), max(each))

    speed, memory = ratio(0), ratio(1)
    print(f"| {case[0]} | {speed[0]:.0f} | {speed[1]:.0f} | {speed[2]:.2f} ({speed[3]:.2f}–{speed[4]:.2f}) "
          f"| {memory[0]:.0f} | {memory[1]:.0f} | {memory[2]:.3f} ({memory[3]:.3f}–{memory[4]:.3f}) "
          f"| {ours[0][2]:.4f} {theirs[0][2]:.4f} |", flush=True)
    if abs(ours[0][2] - theirs[0][2]) > 0.02:
        print(f"warning: {case[0]}: the first losses differ, so this was not the same work", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--python", required=True, help="the peer's interpreter")
    parser.add_argument("--refract", default=HERE.parent / "build" / "refract", type=pathlib.Path)
    parser.add_argument("--cases", default="", help="only cases whose name this regular expression finds")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--steps", default=4, type=int, help="measured steps of a run")
    parser.add_argument("--threads", default=os.cpu_count(), type=int)
    options = parser.parse_args()
    cases = [case for case in CASES if re.search(options.cases, case[0])]
    if not cases:
        parser.error(f"no case like '{options.cases}': {', '.join(case[0] for case in CASES)}")
    ours, theirs = ({case[0]: [] for case in cases} for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        run([options.python, HERE / "peer_peft.py", "tokens", options.model, options.data, folder], {})
        for number in range(options.rounds):
            for case in cases:
                for runs, program in ((theirs, run_peer), (ours, run_refract)):
                    runs[case[0]].append(program(options, case, pathlib.Path(folder)))
                    print(f"round {number + 1} {case[0]} {program.__name__[4:]}: {runs[case[0]][-1][0]:.0f} tokens/s, "
                          f"{runs[case[0]][-1][1]:.0f} MiB", file=sys.stderr, flush=True)
    print("| case | Refract tokens/s | PEFT tokens/s | ratio (min–max) | Refract MiB | PEFT MiB | ratio (min–max) "
          "| first losses |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        show(case, ours[case[0]], theirs[case[0]])


if __name__ == "__main__":
    main()
