#!/usr/bin/env bash
# jobs/quickstart.sh [FOLDER]: from nothing to a fine-tuned model in a few minutes, with no network but for missing
# packages: builds Refract, makes a corpus, trains a small LLaMA from scratch on two ranks, fine-tunes it on
# another task with LoRA, and shows what that changed. Everything lands in FOLDER (default: runs/quickstart);
# what an earlier quick start left there is replaced.
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
lora=(inputs/quickstart-lora.yaml "output=$out/lora" "model.path=$out/pretrain/model"
    "data.train=$out/corpus/shifted.jsonl" "data.eval=$out/corpus/shifted-eval.jsonl")

# score NAME ARGUMENT...: evaluates and keeps the scores as $out/NAME.json.
score() {
    local name=$1
    shift
    mpirun -n 2 "$refract" eval "$@" "output=$out/score" >/dev/null
    mv "$out/score/eval.json" "$out/$name.json"
    rm -rf "$out/score"
}

rm -rf "$out"/{corpus,pretrain,lora,score,first.json,before.json,after.json}
start=$SECONDS
say "a corpus: problems of adding and taking away, and of comparing"
python3 inputs/make_corpus.py "$out/corpus"
wc -l "$out"/corpus/*.jsonl | sed '$d'

say "training from scratch on adding and taking away, two ranks"
mpirun -n 2 "$refract" train "${pretrain[@]}"

say "fine-tuning on comparing with LoRA, two ranks"
score first "${pretrain[@]}" "model.path=$out/pretrain/model" model.init=pretrained eval.adapter=none
score before "${lora[@]}" eval.adapter=none
mpirun -n 2 "$refract" train "${lora[@]}"
score after "${lora[@]}" "eval.adapter=$out/lora/adapter"

say "what was learned, on pairs of numbers never seen in training"
python3 - "$out" <<'PY'
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
print(f"{'model':<22}{'task':<24}{'loss':>8}{'right':>12}{'accuracy':>11}")
for name, model, task in (("first", "trained from scratch", "adding, taking away"),
                          ("before", "trained from scratch", "comparing"),
                          ("after", "  + LoRA", "comparing")):
    score = json.loads((folder / f"{name}.json").read_text())
    right = f"{score['correct']} of {score['total']}"
    print(f"{model:<22}{task:<24}{score['loss']:>8.4f}{right:>12}{score['correct'] / score['total']:>11.1%}")
PY
cat <<END

telemetry     $out/pretrain/run.h5, $out/lora/run.h5 (h5dump -H shows what is in them)
checkpoints   $out/pretrain/checkpoints/, $out/lora/checkpoints/
model         $out/pretrain/model/ (opens with Hugging Face transformers)
adapter       $out/lora/adapter/ (opens with PEFT)
took          $((SECONDS - start)) s after the build

END
