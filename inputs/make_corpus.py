#!/usr/bin/env python3
"""inputs/make_corpus.py FOLDER [--seed N] [--largest N] [--pretrain N] [--shifted N] [--eval N]

Makes all that the quick start trains on, from nothing but a seed and Python's standard library:

  pretrain.jsonl, pretrain-eval.jsonl   word problems of adding and taking away, with the working as the answer
  shifted.jsonl, shifted-eval.jsonl     problems of comparing, worded and answered otherwise
  config.json                           a LLaMA of some 900 thousand weights
  tokenizer.json, tokenizer_config.json byte-level BPE trained on the corpus; a token per digit

Lines read {"prompt": ..., "completion": ...}. One pair of numbers in ten is held out: problems with such a pair
stand in the eval files, and in no other, of both tasks. The same arguments give the same bytes everywhere.
"""
import argparse
import collections
import json
import pathlib
import random
import re

NAMES = ("Ada Ben Cleo Dan Eva Finn Gina Hugo Iris Jack Kim Leo Mia Noah Olga Paul Rosa Sam Tina Vera").split()
THINGS = ("apples books cards coins cups eggs figs keys lamps masks nuts pears pens plums rings seeds shells "
          "stamps stones toys").split()

ADD = (
    "{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
    "There are {a} {things} in a box. {name} puts in {b} more. How many {things} are in the box now?",
    "{name} finds {a} {things} in the morning and {b} in the evening. How many {things} is that in all?",
    "{name} has {a} {things} and {other} has {b}. How many {things} do they have together?",
)
TAKE = (
    "{name} has {a} {things} and gives {b} to {other}. How many {things} are left?",
    "There are {a} {things} in a box. {name} takes out {b}. How many {things} are in the box now?",
    "{name} had {a} {things} but lost {b}. How many {things} does {name} still have?",
    "Of {a} {things} {name} sells {b}. How many {things} are not sold?",
)
COMPARE = (
    "{name} counts {a} {things}, {other} only {b}. By how many is {name} ahead?",
    "A red bag holds {a} {things}, a blue bag {b}. What is the difference?",
    "{other} owns {b} {things}. {name} owns {a}. What does {other} lack to be even?",
)


def add(a, b):
    """The working of a + b, ones first: 14+09: 4+9=13, 1+0+1=2, so 23."""
    ones = a % 10 + b % 10
    return (f" {a:02}+{b:02}: {a % 10}+{b % 10}={ones:02}, {a // 10}+{b // 10}+{ones // 10}={(a + b) // 10}, "
            f"so {a + b}.")


def subtract(a, b):
    """The two steps of a - b: ones, with what they borrow, then tens."""
    borrow = int(a % 10 < b % 10)
    return f"{10 * borrow + a % 10:02}-{b % 10}={(a - b) % 10}, {a // 10}-{b // 10}-{borrow}={(a - b) // 10}"


def take(a, b):
    """The working of a - b: 23-09: 13-9=4, 2-0-1=1, so 14."""
    return f" {a:02}-{b:02}: {subtract(a, b)}, so {a - b}."


def compare(a, b):
    """The same in other words: from 09 to 23; 13-9=4, 2-0-1=1; the gap is 14"""
    return f" from {b:02} to {a:02}; {subtract(a, b)}; the gap is {a - b}"


TASKS = {
    "pretrain": (("{}\nSolution:", add, ADD), ("{}\nSolution:", take, TAKE)),
    "shifted": (("Problem: {} Answer:", compare, COMPARE),),
}

END = "<|endoftext|>"
VOCABULARY = 512
# What stands between words: as in GPT-2's line of tokenisers, but with every digit by itself.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}]+|[\p{N}]| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


class Draw:
    """Draws that every version of Python makes alike: random() alone is promised to."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, n):
        return int(self.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]


def pairs_of(split, largest, seed):
    """The pairs (a, b), 1 <= b < a <= largest, of a split: one in ten for "eval", the others for "train"."""
    draw = Draw(f"pairs {seed}")
    return [(a, b) for a in range(2, largest + 1) for b in range(1, a) if (draw.below(10) == 0) == (split == "eval")]


def problem(task, draw, pairs):
    """One problem of a task with one of these pairs of numbers."""
    frame, answer, wordings = draw.pick(TASKS[task])
    a, b = draw.pick(pairs)
    if answer is add and draw.below(2):
        a, b = b, a
    name, other = draw.pick(NAMES), draw.pick(NAMES)
    while other == name:
        other = draw.pick(NAMES)
    text = draw.pick(wordings).format(a=a, b=b, name=name, other=other, things=draw.pick(THINGS))
    return {"prompt": frame.format(text), "completion": answer(a, b)}


def make_split(task, split, count, largest, seed):
    """`count` different problems of a task."""
    draw, pairs, found = Draw(f"{task} {split} {seed}"), pairs_of(split, largest, seed), {}
    for _ in range(20 * count if pairs else 0):
        one = problem(task, draw, pairs)
        found.setdefault(one["prompt"], one)
        if len(found) == count:
            return list(found.values())
    raise SystemExit(f"make_corpus: there are no {count} problems of {task} {split} with numbers up to {largest}")


def byte_letters():
    """GPT-2's letter for every byte: itself where it prints, else one from U+0100 on."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in prints]
    return {**{byte: chr(byte) for byte in prints}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


def words_of(text):
    """The pieces that SPLIT cuts ASCII text into (Python's re does not know \\p)."""
    return re.findall(SPLIT.replace(r"\p{L}", "a-zA-Z").replace(r"\p{N}", "0-9"), text)


def joined(word, pair):
    """The word (a tuple of pieces) with every occurrence of the pair made one piece."""
    pieces, i = [], 0
    while i < len(word):
        if word[i:i + 2] == pair:
            pieces.append(pair[0] + pair[1])
            i += 2
        else:
            pieces.append(word[i])
            i += 1
    return tuple(pieces)


def train_bpe(texts, merges):
    """The `merges` most frequent merges in turn (ties: the first in code-point order)."""
    letters = byte_letters()
    count = collections.Counter(word for text in texts for word in words_of(text))
    words = {tuple(letters[byte] for byte in word.encode()): n for word, n in count.items()}
    found = []
    while len(found) < merges:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        found.append(best)
        words = {joined(word, best): n for word, n in words.items()}
    return found


def make_tokenizer(texts):
    """tokenizer.json as a dictionary: END, the 256 bytes, the merges."""
    merges = train_bpe(texts, VOCABULARY - 257)
    pieces = [END, *byte_letters().values(), *(a + b for a, b in merges)]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 0, "content": END, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {piece: i for i, piece in enumerate(pieces)},
                  "merges": [f"{a} {b}" for a, b in merges]},
    }


TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END, "unk_token": END,
    "add_bos_token": False, "clean_up_tokenization_spaces": False, "model_max_length": 256,
}
MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
    "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 32, "hidden_act": "silu", "max_position_embeddings": 256,
    "initializer_range": 0.05, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "rope_scaling": None,
    "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
    "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32", "use_cache": True,
}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--largest", type=int, default=49, help="largest number in a problem")
    parser.add_argument("--pretrain", type=int, default=18000, help="problems to pre-train on")
    parser.add_argument("--shifted", type=int, default=4000, help="problems to fine-tune on")
    parser.add_argument("--eval", type=int, default=256, help="held-out problems of each task")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    texts = []
    for task, count in (("pretrain", options.pretrain), ("shifted", options.shifted)):
        for split, name, size in (("train", f"{task}.jsonl", count), ("eval", f"{task}-eval.jsonl", options.eval)):
            problems = make_split(task, split, size, options.largest, options.seed)
            lines = "".join(json.dumps(one) + "\n" for one in problems)
            (options.folder / name).write_text(lines, encoding="utf-8")
            texts += [one["prompt"] + one["completion"] for one in problems if split == "train"]
    write_json(options.folder / "tokenizer.json", make_tokenizer(texts))
    write_json(options.folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_json(options.folder / "config.json", MODEL)


if __name__ == "__main__":
    main()
