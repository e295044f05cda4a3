"""Greedy text and logits of a GGUF model: refract against transformers, by hand.

    python tests/peers/generation.py build/refract MODEL.gguf

Prints, for five prompts, whether 32 greedy tokens are equal, and the largest difference of logits at every position of
some text, with the weights held as in the file and as f32.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy
import torch
import transformers

PROMPTS = ("The capital of France is", "Water boils at", "def fibonacci(n):", "Once upon a time, there was a little girl",
           "The three laws of thermodynamics are")
NEW = 32


def load(path):
    folder, name = str(path.parent), path.name
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    return tokenizer, model.eval()


def greedy(tokenizer, model, prompt):
    """Token ids by argmax; the smallest lead of the first over the second."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    begin, lead = ids.shape[1], float("inf")
    ends = set(numpy.atleast_1d(model.generation_config.eos_token_id or model.config.eos_token_id).tolist())
    with torch.no_grad():
        for _ in range(NEW):
            top = model(ids).logits[0, -1].topk(2)
            lead = min(lead, float(top.values[0] - top.values[1]))
            if int(top.indices[0]) in ends:
                break
            ids = torch.cat([ids, top.indices[:1][None]], 1)
    return ids[0, :begin].tolist(), ids[0, begin:].tolist(), lead


def refract(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def completions(program, folder, model, prompts, storage):
    rows = folder / "prompts.jsonl"
    rows.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    (folder / "input.yaml").write_text(json.dumps({"model": {"path": str(model), "storage": storage}}))
    out = folder / f"{storage}.jsonl"
    refract(program, "generate", folder / "input.yaml", "--prompts", rows, "--max-new-tokens", NEW, "--out", out)
    return [json.loads(line) for line in out.read_text().splitlines()]


def logits(program, folder, model, samples, storage):
    rows = folder / "tokens.jsonl"
    rows.write_text("".join(json.dumps({"input_ids": ids, "labels": ids}) + "\n" for ids in samples))
    out = folder / f"{storage}.h5"
    (folder / "logits.yaml").write_text(json.dumps(
        {"model": {"path": str(model), "storage": storage}, "data": {"eval": str(rows), "format": "tokens"},
         "eval": {"logits": str(out)}}))
    refract(program, "eval", folder / "logits.yaml")
    with h5py.File(out, "r") as file:
        return file["logits"][()]


def main():
    program, path = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    tokenizer, model = load(path)
    wanted = [greedy(tokenizer, model, prompt) for prompt in PROMPTS]
    samples = [given + made for given, made, _ in wanted]
    with torch.no_grad():
        reference = numpy.concatenate([model(torch.tensor([ids])).logits[0].numpy() for ids in samples])
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        for storage in ("auto", "f32"):
            found = completions(program, folder, path, PROMPTS, storage)
            for prompt, (_, made, lead), row in zip(PROMPTS, wanted, found):
                same = sum(1 for a, b in zip(made, row["tokens"]) if a == b)
                print(f"storage {storage}: {same} of {len(made)} tokens equal, {len(row['tokens'])} made "
                      f"(smallest lead {lead:.4f}): {prompt!r} -> {row['text']!r}")
            difference = numpy.abs(logits(program, folder, path, samples, storage) - reference)
            print(f"storage {storage}: largest difference of logits {difference.max():.3g} over "
                  f"{difference.shape[0]} positions")


if __name__ == "__main__":
    main()
