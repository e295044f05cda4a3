"""The peer of peers.py: PyTorch with PEFT, run by the Python of its own virtual environment.

peer_peft.py tokens MODEL.gguf GSM8K.jsonl FOLDER    makes full.jsonl and gsm8k.jsonl: rows of input_ids and labels
peer_peft.py train OPTIONS                           trains, prints one JSON line
"""
import argparse
import json
import pathlib
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

IGNORED = -100
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def gguf(path):
    """How transformers wants a GGUF file named."""
    path = pathlib.Path(path)
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}


def write_tokens(model, data, folder, rows=512, length=512):
    """GSM8K twice: as samples whose questions are masked, and joined to full rows with a label everywhere."""
    tokenizer = AutoTokenizer.from_pretrained(**gguf(model))
    stream = []
    with open(data, encoding="utf-8") as lines, open(folder / "gsm8k.jsonl", "w", encoding="utf-8") as out:
        for line, _ in zip(lines, range(4 * rows)):
            row = json.loads(line)
            prompt = tokenizer(f"Question: {row['question']}\nAnswer: ", add_special_tokens=False).input_ids
            answer = tokenizer(row["answer"], add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
            ids, labels = (prompt + answer)[:length], ([IGNORED] * len(prompt) + answer)[:length]
            out.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")
            stream += ids
    with open(folder / "full.jsonl", "w", encoding="utf-8") as out:
        for at in range(0, min(len(stream) - length, rows * length), length):
            ids = stream[at:at + length]
            out.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")


def batches(path, size):
    """Padded to the longest of the batch, as its users do."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for at in range(0, len(rows) - size + 1, size):
        part = rows[at:at + size]
        longest = max(len(row["input_ids"]) for row in part)

        def padded(key, value):
            return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in part])

        mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in part])
        yield {"input_ids": padded("input_ids", 0), "labels": padded("labels", IGNORED), "attention_mask": mask}


def train(options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(42)
    is_bf16 = options.precision == "bf16"
    model = AutoModelForCausalLM.from_pretrained(**gguf(options.model),
                                                 dtype=torch.bfloat16 if is_bf16 else torch.float32)
    model.config.use_cache = False
    model = get_peft_model(model, LoraConfig(r=options.r, lora_alpha=2 * options.r, lora_dropout=0.0,
                                             target_modules=LINEAR, use_dora=options.method == "dora",
                                             task_type="CAUSAL_LM"))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
    step_model = torch.compile(model) if options.compile else model
    speeds, losses = [], []
    for batch, number in zip(batches(options.data, options.batch), range(options.warmup + options.steps)):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
            loss = step_model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if number >= options.warmup:
            speeds.append(batch["attention_mask"].sum().item() / (time.perf_counter() - start))
    print(json.dumps({"speed": statistics.harmonic_mean(speeds), "losses": losses}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    tokens = commands.add_parser("tokens")
    for name in ("model", "data", "folder"):
        tokens.add_argument(name, type=pathlib.Path)
    run = commands.add_parser("train")
    for name in ("model", "data", "method", "precision"):
        run.add_argument(f"--{name}", required=True)
    for name in ("batch", "steps", "warmup", "threads", "r"):
        run.add_argument(f"--{name}", required=True, type=int)
    run.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if options.command == "tokens":
        write_tokens(options.model, options.data, options.folder)
    else:
        train(options)


if __name__ == "__main__":
    main()
