#!/usr/bin/env python3
"""Judges refract's folders by the programs they are made for: transformers and PEFT.

Exports of every method are loaded there and their logits compared with refract's (`eval.logits`), and an adapter that
PEFT has trained is scored by refract. Ends with code 1 if a relative difference is above the limit.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import gguf
import h5py
import numpy
import peft
import torch
import transformers

METHODS = {
    "lora": {"method": "lora", "lora": {"r": 4, "alpha": 8, "rank_pattern": {"down_proj": 6}}},
    "rslora": {"method": "rslora", "lora": {"r": 4, "alpha": 8}},
    "dora": {"method": "dora", "lora": {"r": 4, "alpha": 8}},
    "beamlora": {"method": "beamlora", "lora": {"r": 4, "alpha": 8}, "beam": {"interval": 4}},
    "pissa": {"method": "pissa", "lora": {"r": 4, "alpha": 4}},
    "reflora": {"method": "reflora", "lora": {"r": 4, "alpha": 8}, "reflora": {"warmup": 2}},
    "reflora, moved base": {"method": "reflora", "lora": {"r": 4, "alpha": 8, "init": "random"}, "reflora": {"warmup": 0}},
    "adalora": {"method": "adalora", "lora": {"r": 6, "alpha": 8}, "adalora": {"init_r": 6, "target_r": 3}},
    "modules to save": {"method": "lora", "lora": {"r": 4, "alpha": 8, "modules_to_save": ["embed_tokens"]}},
}


class Judge:
    def __init__(self, options, folder):
        self.refract, self.limit, self.folder = options.refract, options.limit, folder
        self.model = options.model.resolve() if options.model else self.make_model()
        config = json.loads((self.model / "config.json").read_text())
        draw = random.Random(3)
        self.rows = [[draw.randrange(config["vocab_size"]) for _ in range(draw.randint(9, 40))] for _ in range(24)]
        (folder / "rows.jsonl").write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in self.rows))
        self.failed = 0

    def make_model(self):
        """A LLaMA of random weights with grouped queries."""
        torch.manual_seed(1)
        config = transformers.LlamaConfig(
            vocab_size=211, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=8,
            num_key_value_heads=4, max_position_embeddings=128, initializer_range=0.1, tie_word_embeddings=False)
        transformers.LlamaForCausalLM(config).save_pretrained(self.folder / "random")
        return self.folder / "random"

    def saved(self):
        """A module that this model has to train in full."""
        tied = json.loads((self.model / "config.json").read_text()).get("tie_word_embeddings")
        return {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True} if tied else \
            {"modules_to_save": ["lm_head"]}

    def run(self, *arguments):
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        done = subprocess.run([self.refract, *map(str, arguments)], cwd=self.folder, env=environment, text=True,
                              capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"refract {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def input(self, name, **keys):
        keys = {"model": {"path": str(self.model)}, "output": name,
                "train": {"steps": 12, "batch_size": 4, "learning_rate": 0.01},
                "data": {"train": "rows.jsonl", "eval": "rows.jsonl", "format": "tokens", "max_length": 64}, **keys}
        (self.folder / f"{name}.yaml").write_text(json.dumps(keys))
        return f"{name}.yaml"

    def ours(self, path, adapter):
        """Logits [tokens, vocab] of refract."""
        self.run("eval", path, f"eval.adapter={adapter}", "eval.logits=logits.h5", "output=scores")
        with h5py.File(self.folder / "logits.h5") as file:
            return file["logits"][()]

    def theirs(self, model):
        """The same of a torch model."""
        model.eval()
        with torch.no_grad():
            return numpy.concatenate([model(torch.tensor([row])).logits[0].float().numpy() for row in self.rows])

    def base(self, path=None):
        return transformers.AutoModelForCausalLM.from_pretrained(path or self.model, dtype=torch.float32)

    def tell(self, what, found, wanted, start):
        """`start`: logits of the base model, so that a comparison of nothing is seen."""
        difference = abs(found - wanted).max()
        relative = difference / abs(wanted).max()
        moved = abs(wanted - start).max()
        good = bool(relative <= self.limit and moved > 10 * difference)
        self.failed += not good
        print(f"{what:34} {difference:9.2e} {relative:9.2e} {moved:9.2e}  {'ok' if good else 'FAILED'}", flush=True)

    def judge_method(self, name, keys):
        short = name.replace(" ", "-").replace(",", "")
        path = self.input(short, **keys)
        self.run("train", path)
        wanted, start = self.ours(path, short), self.ours(path, "none")
        self.run("export", short, "--format=peft", f"--out={short}-peft")
        model = peft.PeftModel.from_pretrained(self.base(), str(self.folder / f"{short}-peft"))
        self.tell(f"{name}: PEFT", self.theirs(model), wanted, start)
        self.run("export", short, "--format=merged", f"--out={short}-merged", "--dtype=f32")
        self.tell(f"{name}: merged", self.theirs(self.base(self.folder / f"{short}-merged")), wanted, start)

    def judge_gguf(self, name, keys):
        """model.gguf as transformers reads it; adapter.gguf as the gguf package does, by llama.cpp's formula."""
        path = self.input(name, **keys)
        self.run("train", path)
        wanted, start = self.ours(path, name), self.ours(path, "none")
        self.run("export", name, "--format=gguf", f"--out={name}-gguf", "--dtype=f32")
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self.folder / f"{name}-gguf", gguf_file="model.gguf", dtype=torch.float32)
        self.tell(f"{name}: GGUF", self.theirs(model), wanted, start)
        self.run("export", name, "--format=gguf-adapter", f"--out={name}-gguf-adapter")
        self.tell(f"{name}: GGUF adapter", self.theirs(self.with_adapter(f"{name}-gguf-adapter/adapter.gguf")),
                  wanted, start)

    def with_adapter(self, path):
        """The base with s B A of a GGUF adapter added, s = alpha / rank, heads of q and k in transformers' order."""
        names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
                 "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
                 "ffn_down": "mlp.down_proj"}
        reader = gguf.GGUFReader(self.folder / path)
        alpha = float(reader.fields["adapter.lora.alpha"].contents())
        tensors = {tensor.name: numpy.array(tensor.data) for tensor in reader.tensors}
        model = self.base()
        d_head = getattr(model.config, "head_dim", None) or model.config.hidden_size // model.config.num_attention_heads
        for name, b in tensors.items():
            if not name.endswith(".lora_b"):
                continue
            _, layer, kind, _, _ = name.split(".")
            if kind in ("attn_q", "attn_k"):
                b = b.reshape(-1, d_head // 2, 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)
            change = alpha / b.shape[1] * b.astype(float) @ tensors[name.replace("lora_b", "lora_a")]
            weight = model.get_submodule(f"model.layers.{layer}.{names[kind]}").weight
            weight.data += torch.tensor(change, dtype=torch.float32)
        return model

    def judge_theirs(self, name, **options):
        """An adapter that PEFT trains for a few steps."""
        torch.manual_seed(2)
        config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"],
                                 task_type="CAUSAL_LM", **options)
        model = peft.get_peft_model(self.base(), config)
        start = self.theirs(model)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
        model.train()
        for step in range(8):
            row = torch.tensor([self.rows[step]])
            optimizer.zero_grad()
            model(row, labels=row).loss.backward()
            optimizer.step()
        model.save_pretrained(self.folder / f"theirs-{name}")
        path = self.input("score", method="lora")
        self.tell(f"trained by PEFT, {name}: refract", self.ours(path, f"theirs-{name}"), self.theirs(model), start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refract", type=lambda text: str(pathlib.Path(text).resolve()), default="build/refract")
    parser.add_argument("--model", type=pathlib.Path, help="an HF model folder; without it one of random weights is made")
    parser.add_argument("--limit", type=float, default=1e-4, help="largest relative difference (default %(default)s)")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        judge = Judge(options, pathlib.Path(name))
        print(f"torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}; model "
              f"{options.model.name if options.model else 'of random weights'}, {len(judge.rows)} rows")
        print(f"{'':34} {'largest':>9} {'relative':>9} {'moved by':>9}")
        for method, keys in METHODS.items():
            judge.judge_method(method, keys)
        for method in ("lora", "rslora"):
            judge.judge_gguf(method, METHODS[method])
        for name, keys in {"lora": {}, "dora": {"use_dora": True}, "rslora": {"use_rslora": True},
                           "patterns": {"rank_pattern": {"layers.1.self_attn.q_proj": 7, "down_proj": 2},
                                        "alpha_pattern": {"up_proj": 16}},
                           "modules to save": judge.saved()}.items():
            judge.judge_theirs(name, **keys)
    sys.exit(1 if judge.failed else 0)


if __name__ == "__main__":
    main()
