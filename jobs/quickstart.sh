#!/usr/bin/env bash
# jobs/quickstart.sh [FOLDER]: from nothing to a fine-tuned model in a few minutes, with no network but for missing
# packages: builds Refract, makes a corpus, trains a small LLaMA from scratch on two ranks, fine-tunes it on
# another task with LoRA, BeamLoRA, RefLoRA, both together and Light-PEFT, and shows what that changed. Everything
# lands in FOLDER (default: runs/quickstart); what an earlier quick start left there is replaced.
set -euo pipefail
out=runs/quickstart
[ $# -eq 0 ] || out=$(realpath -m -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
refract=build/refract

bash jobs/install.sh build run test
bash jobs/build.sh release refract

# Two ranks of one thread, wherever this runs: in a container, as root, on one core.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_btl_vader_single_copy_mechanism=none
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

say() { printf '\n== %s ==\n' "$*"; }

pretrain=(inputs/quickstart-pretrain.yaml "output=$out/pretrain" "model.path=$out/corpus"
    "data.train=$out/corpus/pretrain.jsonl" "data.eval=$out/corpus/pretrain-eval.jsonl")
tune=(inputs/quickstart-lora.yaml "model.path=$out/pretrain/model"
    "data.train=$out/corpus/shifted.jsonl" "data.eval=$out/corpus/shifted-eval.jsonl")

# What learns the second task: a method and its keys, one a line.
methods=(
    "lora"
    "beamlora"
    "reflora"
    "beamlora+reflora"
    "light light.steps=60 light.heads=0.25 light.neurons=0.25 light.modules=0.25 light.ranks=0.25"
)

# score NAME ARGUMENT...: evaluates and keeps the scores as $out/NAME.json.
score() {
    local name=$1
    shift
    mpirun -n 2 "$refract" eval "$@" "output=$out/score" >/dev/null
    mv "$out/score/eval.json" "$out/$name.json"
    rm -rf "$out/score"
}

rm -rf "$out"/{corpus,pretrain,score,first.json,before.json}
for line in "${methods[@]}"; do rm -rf "${out:?}/${line%% *}" "$out/${line%% *}.json"; done
start=$SECONDS
say "a corpus: problems of adding and taking away, and of comparing"
python3 inputs/make_corpus.py "$out/corpus"
wc -l "$out"/corpus/*.jsonl | sed '$d'

say "training from scratch on adding and taking away, two ranks"
mpirun -n 2 "$refract" train "${pretrain[@]}"

score first "${pretrain[@]}" "model.path=$out/pretrain/model" model.init=pretrained eval.adapter=none
score before "${tune[@]}" eval.adapter=none
for line in "${methods[@]}"; do
    read -r -a keys <<<"$line"
    name=${keys[0]}
    say "fine-tuning on comparing with $name, two ranks"
    mpirun -n 2 "$refract" train "${tune[@]}" "output=$out/$name" "method=$name" "${keys[@]:1}"
    score "$name" "${tune[@]}" "${keys[@]:1}" "method=$name" "eval.adapter=$out/$name"
done

say "what was learned, on pairs of numbers never seen in training"
python3 - "$out" "${methods[@]%% *}" <<'PY'
import json
import pathlib
import re
import statistics
import subprocess
import sys

folder, methods = pathlib.Path(sys.argv[1]), sys.argv[2:]


def dump(run, *what):
    """Numbers of run.h5, as h5dump prints them; a data set's come before those of its attributes."""
    text = subprocess.run(["h5dump", "-y", "-w", "0", *what, folder / run / "run.h5"], check=True,
                          capture_output=True, text=True).stdout
    return [float(number) for number in re.findall(r"DATA {([^}]*)}", text)[0].replace(",", " ").split()]


def line(model, task, name, run=None):
    score = json.loads((folder / f"{name}.json").read_text())
    right = f"{score['correct']} of {score['total']}"
    said = f"{model:<22}{task:<21}{score['loss']:>8.4f}{right:>12}{score['correct'] / score['total']:>10.1%}"
    if run:
        seconds = dump(run, "-d", "/steps/seconds")
        middle = statistics.median(seconds[len(seconds) // 2:])  # of the second half: after a prune
        log = (folder / run / "run.log").read_text()
        trained = re.findall(r"parameters, (\d+) trained", log)
        memory = re.findall(r"memory per rank: .* together ([0-9.]+) MiB", log)
        said += f"{trained[-1]:>10}{1000 * middle:>11.1f}{memory[-1]:>12}"
    print(said)


print(f"{'model':<22}{'task':<21}{'loss':>8}{'right':>12}{'accuracy':>10}{'trained':>10}{'ms a step':>11}{'MiB a rank':>12}")
line("trained from scratch", "adding, taking away", "first", "pretrain")
line("trained from scratch", "comparing", "before")
for method in methods:
    line(f"  + {method}", "comparing", method, method)
PY
cat <<END

telemetry     $out/*/run.h5 (h5dump -H shows what is in them)
checkpoints   $out/*/checkpoints/
model         $out/pretrain/model/ (opens with Hugging Face transformers)
adapters      $out/lora/adapter/ and so on (open with PEFT)
took          $((SECONDS - start)) s after the build

END
