"""refract eval by generation: published rules on completions of a model that has learnt its answers by heart."""
import json
import unittest

import files
from generate import SPECIAL, write_tokenizer
from support import ProgramTest, needs_h5py

CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 #.,:?!$<>=*+-/\n_()'\""


@needs_h5py
class Tasks(ProgramTest):
    """A small model is trained from scratch to give each question its answer."""

    def setUp(self):
        super().setUp()
        (self.folder / "shape").mkdir()
        vocab = len(SPECIAL) + len(CHARACTERS)
        (self.folder / "shape" / "config.json").write_text(json.dumps(files.model_config(
            vocab_size=vocab, bos_token_id=0, eos_token_id=1)))
        write_tokenizer(self.folder / "shape", CHARACTERS)

    def learn(self, rows, template="auto", steps=250):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        self.write("train.jsonl", text)
        path = self.write_input(
            "run.yaml", output="run", method="full", model={"path": "shape", "init": "random"},
            train={"steps": steps, "batch_size": len(rows), "learning_rate": 0.01, "log_every": 100},
            data={"train": "train.jsonl", "template": template, "max_length": 512}, eval={"max_new_tokens": 40})
        self.succeed("train", path, timeout=120)
        return path

    def score(self, path, task, data, *more, ranks=None):
        out = self.succeed("eval", path, "eval.adapter=none", "model.path=run/model", "model.init=pretrained",
                           f"eval.task={task}", f"data.eval={data}", *more, ranks=ranks)
        lines = [json.loads(line) for line in (self.folder / "run" / f"eval-{task}.jsonl").read_text().splitlines()]
        return out, json.loads((self.folder / "run" / "eval.json").read_text()), lines

    def test_gsm8k__counts_marked_and_last_numbers__the_same_on_all_ranks(self):
        rows = [{"question": "one?", "answer": "It is 1.\n#### 1"}, {"question": "two?", "answer": "It is 2.\n#### 2"},
                {"question": "six?", "answer": "It is 6."}, {"question": "big?", "answer": "So\n#### 1,200"}]
        path = self.learn(rows)
        asked = rows[:2] + [{"question": "six?", "answer": "#### 6"}, {"question": "big?", "answer": "#### 1200"},
                            {"question": "one?", "answer": "#### 7"}]
        self.write("test.jsonl", "".join(json.dumps(row) + "\n" for row in asked))
        out, result, lines = self.score(path, "gsm8k", "test.jsonl")
        self.assertEqual([line["completion"].strip() for line in lines[:4]], [row["answer"] for row in rows])
        self.assertEqual([line["correct"] for line in lines], [True, True, False, True, False])
        self.assertEqual([line["flexible"] for line in lines], [True, True, True, True, False])
        self.assertEqual((result["task"], result["correct"], result["total"], result["flexible_correct"]), ("gsm8k", 3, 5, 4))
        self.assertAlmostEqual(result["score"], 0.6)
        self.assertAlmostEqual(result["low"], 0.2307, 4)
        self.assertAlmostEqual(result["high"], 0.8824, 4)
        self.assertIn("score = 0.6000 (95 % interval 0.2307 to 0.8824)", out)
        for ranks, tensor in ((2, 1), (2, 2), (4, 2)):
            _, other, same = self.score(path, "gsm8k", "test.jsonl", f"parallel.tensor={tensor}", ranks=ranks)
            self.assertEqual((same, other["correct"]), (lines, 3))
        _, result, lines = self.score(path, "gsm8k", "test.jsonl", "eval.max_samples=2")
        self.assertEqual((result["correct"], result["total"], len(lines)), (2, 2, 2))

    def test_math_and_commonsense__by_number_letter_and_choice(self):
        rows = [{"instruction": "a", "input": "", "output": "it is 3.50", "answer": "3.5"},
                {"instruction": "b", "input": "", "output": "so the answer is B", "answer": "B"},
                {"instruction": "c", "input": "", "output": "the correct answer is answer3", "answer": "answer3"}]
        path = self.learn(rows, template="none")
        self.write("math.json", json.dumps(rows[:2] + [rows[0] | {"answer": "4"}]))
        _, result, lines = self.score(path, "math", "math.json")
        self.assertEqual([line["correct"] for line in lines], [True, True, False])
        self.write("choice.json", json.dumps([rows[2], rows[2] | {"answer": "answer1"}]))
        _, result, lines = self.score(path, "commonsense", "choice.json")
        self.assertEqual([(line["predicted"], line["correct"]) for line in lines], [("answer3", True), ("answer3", False)])
        self.assertEqual((result["correct"], result["total"]), (1, 2))

    def test_humaneval__writes_completions_and_judges_nothing(self):
        path = self.learn([{"prompt": "def f():\n", "completion": "  return 1\ndef g"}])
        self.write("tasks.jsonl", json.dumps({"task_id": "T/0", "prompt": "def f():\n"}) + "\n")
        out, result, lines = self.score(path, "humaneval", "tasks.jsonl")
        self.assertEqual(lines, [{"task_id": "T/0", "completion": "  return 1"}])
        self.assertNotIn("score", result)
        self.assertNotIn("score", out)

    def test_rows_that_do_not_fit__are_named(self):
        path = self.learn([{"question": "one?", "answer": "#### 1"}], steps=1)
        more = ("eval", path, "eval.adapter=none", "model.path=run/model", "model.init=pretrained", "eval.task=gsm8k")
        self.write("bad.jsonl", '{"question": "a", "answer": "#### 1"}\n{"question": "b"}\n')
        self.fail_with(3, "bad.jsonl, line 2", *more, "data.eval=bad.jsonl")
        self.write("mute.jsonl", '{"question": "a", "answer": "one"}\n')
        self.all_fail_with(3, "answer says nothing", *more, "data.eval=mute.jsonl", ranks=2)
        self.write("empty.jsonl", "")
        self.fail_with(3, "no samples", *more, "data.eval=empty.jsonl")
        self.fail_with(2, "data.eval", *more)
        self.assertFalse((self.folder / "run" / "eval-gsm8k.jsonl").exists())


if __name__ == "__main__":
    unittest.main()
