"""refract generate: the same text on any layout, after a stop and by any name of the weights; what it refuses."""
import json
import os
import signal
import unittest

import files
from runs import RANKS, RunTest
from support import needs_h5py, newest_checkpoint

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
          "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,!\n"[:61 - len(SPECIAL)]
LAYOUTS = ((1, 1), (2, 1), (2, 2), (4, 2), (4, 4))


def write_tokenizer(folder, characters=CHARACTERS):
    """A character is a token; what has none is <s>."""
    vocabulary = {text: i for i, text in enumerate([*SPECIAL, *characters])}
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, text in enumerate(SPECIAL)]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "<s>", "fuse_unk": False,
                  "byte_fallback": False}}))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<s>", "eos_token": "</s>", "chat_template": CHATML}))


class Generate(RunTest):
    steps = 4

    def setUp(self):
        super().setUp()
        write_tokenizer(self.folder / "model")
        self.name = self.write_input("base.yaml", model={"path": "model"})

    def prompts(self, *rows):
        files.write_rows(self.folder / "prompts.jsonl", rows)
        return "prompts.jsonl"

    def some_prompts(self, count=11):
        return self.prompts(*({"prompt": f"{CHARACTERS[i]} prompt of some {'length ' * (i % 4)}"} for i in range(count)))

    def lines_of(self, *arguments, **options):
        return [json.loads(line) for line in self.succeed("generate", *arguments, **options).splitlines()]

    def test_prompt__streams_its_text_alone(self):
        done = self.refract("generate", self.name, "--prompt", "Once upon", "--max-new-tokens", 12)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("tokens/s", done.stderr)
        self.assertTrue(done.stdout.endswith("\n"))
        row, = self.lines_of(self.name, "--prompts", self.prompts({"prompt": "Once upon"}), "--max-new-tokens", 12)
        self.assertEqual(done.stdout, row["text"] + "\n")
        self.assertEqual((row["index"], row["prompt"]), (0, "Once upon"))
        self.assertIn(row["finish"], ("length", "eos"))

    def test_layouts_and_batches__give_the_same_lines(self):
        for sampling in ((), ("--temperature", 1.3, "--top-p", 0.9, "--top-k", 30, "--seed", 7)):
            command = ("generate", self.name, "--prompts", self.some_prompts(), "--max-new-tokens", 20, *sampling)
            wanted = self.succeed(*command)
            self.assertEqual(len(wanted.splitlines()), 11)
            for ranks, tensor in LAYOUTS:
                found = self.succeed(*command, f"parallel.tensor={tensor}", "--batch", 3, ranks=ranks)
                self.assertEqual(found, wanted, (ranks, tensor))
            self.assertEqual(self.succeed(*command, OMP_NUM_THREADS="2"), wanted)

    def test_sampling__one_token_left__is_greedy(self):
        command = (self.name, "--prompts", self.some_prompts(4), "--max-new-tokens", 20)
        wanted = self.lines_of(*command)
        self.assertEqual(self.lines_of(*command, "--temperature", 2, "--top-k", 1), wanted)
        self.assertEqual(self.lines_of(*command, "--temperature", 2, "--top-p", 1e-9), wanted)
        self.assertNotEqual(self.lines_of(*command, "--temperature", 2, "--seed", 1), wanted)

    def test_stop_text__ends_before_it(self):
        command = (self.name, "--prompts", self.prompts({"prompt": "stop"}), "--max-new-tokens", 30)
        whole = self.lines_of(*command)[0]["text"]
        end = whole[6:9]
        row, = self.lines_of(*command, "--stop", "no such text", "--stop", end)
        self.assertEqual((row["text"], row["finish"]), (whole[:whole.index(end)], "stop"))
        self.assertEqual(self.succeed("generate", self.name, "--prompt", "stop", "--max-new-tokens", 30, "--stop", end),
                         row["text"] + "\n")

    def test_chat__is_what_its_template_writes(self):
        messages = [{"role": "user", "content": "hello"}]
        raw = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
        rows = self.lines_of(self.name, "--prompts", self.prompts({"messages": messages}, {"prompt": raw}),
                         "--max-new-tokens", 9)
        self.assertEqual(rows[0]["tokens"], rows[1]["tokens"])
        self.assertEqual(rows[0]["messages"], messages)
        text = self.succeed("generate", self.name, "--prompt", "hello", "--chat", "--max-new-tokens", 9)
        self.assertEqual(text, rows[0]["text"] + "\n")

    def test_token_ids__without_a_tokenizer(self):
        (self.folder / "model" / "tokenizer.json").unlink()
        (self.folder / "model" / "tokenizer_config.json").unlink()
        row, = self.lines_of(self.name, "--prompts", self.prompts({"input_ids": [5, 9, 60]}), "--max-new-tokens", 5)
        self.assertEqual((row["text"], row["input_ids"]), ("", [5, 9, 60]))
        self.assertEqual(len(row["tokens"]), 5)
        self.fail_with(2, "need a tokenizer", "generate", self.name, "--prompt", "a")

    @needs_h5py
    def test_trained_weights__by_any_name__say_the_same(self):
        name = self.input("run")
        self.succeed("train", name, ranks=RANKS)
        command = ("--prompts", self.some_prompts(3), "--max-new-tokens", 20)
        wanted = self.lines_of(name, *command)
        for adapter in ("run", newest_checkpoint(self.folder / "run"), "run/adapter"):
            self.assertEqual(self.lines_of(name, f"eval.adapter={adapter}", *command, ranks=2), wanted, adapter)
        self.assertNotEqual(self.lines_of(name, "eval.adapter=none", *command), wanted)

    def test_signal__leaves_with_75_and_goes_on(self):
        command = ("generate", self.name, "--prompts", self.some_prompts(50), "--max-new-tokens", 200, "--batch", 2)
        self.succeed(*command, "--out", "whole.jsonl", ranks=RANKS)
        wanted = (self.folder / "whole.jsonl").read_bytes()
        partial = self.folder / "out.jsonl.partial"
        job = self.start(*command, "--out", "out.jsonl", ranks=RANKS)
        self.assertTrue(job.wait_until(lambda: partial.exists() and partial.read_bytes().count(b"\n") > 4))
        job.send(signal.SIGUSR1, ranks=[1])
        codes, _, errors = job.finish()
        self.assertEqual(codes, [75] * RANKS, errors)
        self.assertIn("refract: stopped while generating", errors)
        lines = partial.read_bytes().splitlines(keepends=True)[1:]
        self.assertTrue(4 <= len(lines) < 50)
        self.assertTrue(wanted.startswith(b"".join(lines)))
        self.fail_with(7, "is of other prompts", *command, "--out", "out.jsonl", "--seed", 3)
        with partial.open("ab") as file:
            file.write(b'{"index": 7, "torn')
        self.assertIn(f"{len(lines)} of 50 prompts are done", self.refract(*command, "--out", "out.jsonl").stderr)
        self.assertEqual((self.folder / "out.jsonl").read_bytes(), wanted)
        self.assertFalse(partial.exists())
        self.fail_with(2, "is there already", *command, "--out", "out.jsonl")

    def test_writing_fails__everywhere_with_6(self):
        self.all_fail_with(6, "cannot write", "generate", self.name, "--prompts", self.some_prompts(3),
                           "--max-new-tokens", 3, "--out", "nowhere/out.jsonl", ranks=2)
        self.all_fail_with(6, "cannot write", "generate", self.name, "--prompts", self.some_prompts(3),
                           "--max-new-tokens", 3, "--out", "out.jsonl", ranks=2, RF_FAULT="generate.write:0")

    def refuse(self, code, text, *arguments):
        self.fail_with(code, text, "generate", self.name, *arguments)

    def test_bad_options__are_named(self):
        self.refuse(2, "neither --prompt nor --prompts")
        self.refuse(2, "both --prompt and --prompts", "--prompt", "a", "--prompts", "b")
        self.refuse(2, "the prompt is empty (--prompt)", "--prompt", "")
        self.refuse(2, "unknown or incomplete option '--beams'", "--prompt", "a", "--beams", "3")
        self.refuse(2, "--temperature wants", "--prompt", "a", "--temperature", "-1")
        self.refuse(2, "--temperature wants", "--prompt", "a", "--temperature", "nan")
        self.refuse(2, "--top-p wants", "--prompt", "a", "--top-p", "0")
        self.refuse(2, "--top-k wants", "--prompt", "a", "--top-k", "many")
        self.refuse(2, "--max-new-tokens wants", "--prompt", "a", "--max-new-tokens", "0")
        self.refuse(2, "--stop wants", "--prompt", "a", "--stop", "")
        self.refuse(2, "exceed the model's max_position 256", "--prompt", "a" * 250, "--max-new-tokens", "7")
        self.succeed("generate", self.name, "--prompt", "a" * 250, "--max-new-tokens", 6)

    def test_bad_files__are_named_with_their_line(self):
        self.refuse(3, "nowhere.jsonl", "--prompts", "nowhere.jsonl")
        for line, text in (("{broken", "broken JSON"), ('{"prompt": ""}', "the prompt is empty"),
                           ('{"prompt": 3}', "'prompt' is no string"), ('{"text": "a"}', "none of prompt, messages"),
                           ('{"input_ids": [4, 61]}', "token 61"), ('{"input_ids": []}', "")):
            self.write("bad.jsonl", '{"prompt": "fine"}\n' + line + "\n")
            done = self.fail_with(3, text, "generate", self.name, "--prompts", "bad.jsonl")
            self.assertIn("bad.jsonl, line 2", done.stderr)
        self.write("bad.jsonl", "\n")
        self.refuse(3, "holds no prompts", "--prompts", "bad.jsonl")

    def test_help__names_every_option(self):
        text = self.succeed("generate", "--help")
        for option in ("prompt", "prompts", "chat", "max-new-tokens", "temperature", "top-p", "top-k", "seed", "stop",
                       "out", "batch"):
            self.assertIn(f"--{option}", text)


GOLDEN = {  # transformers 5, greedy, 32 new tokens: tests/peers/generation.py
    "The capital of France is": " Paris.\n\nThe answer is: 2018-01-22 12:12:53.",
    "Water boils at": " 100°C, which is a perfect Celsius.\n\nThe ratio of the heat released to the heat absorbed is "
                      "1:1. This",
    "def fibonacci(n):": "\n    if n == 0:\n        return 1\n    return n * fibonacci(n - 1)\n\n# Test the function\n"
                         "print(",
    "Once upon a time, there was a little girl": " named Emma who loved to play in the sun. She would often go to the "
                                                 "beach and play with her friends. One day, she decided to go to the",
    "The three laws of thermodynamics are": " fundamental principles that govern the behavior of matter and energy. "
                                            "These laws are:\n\n1. Energy is a product of motion: Energy is created and "
                                            "destroyed in motion",
}


@unittest.skipUnless(os.environ.get("RF_SMOLLM2"), "RF_SMOLLM2 names no SmolLM2-135M-Instruct GGUF of Q4_1")
class SmolLM2(RunTest):
    def test_greedy__is_the_text_of_transformers(self):
        name = self.write_input("smol.yaml", model={"path": os.environ["RF_SMOLLM2"]})
        for prompt, text in GOLDEN.items():
            for ranks in (1, 2):
                found = self.succeed("generate", name, "--prompt", prompt, "--max-new-tokens", 32, ranks=ranks)
                self.assertEqual(found, text + "\n")


if __name__ == "__main__":
    unittest.main()
