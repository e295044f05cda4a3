"""refract prepare: token stores from text, the same on any number of ranks, and what went wrong where."""
import json
import unittest

from support import ProgramTest

ROWS = "".join(json.dumps({"input_ids": [i, i + 1, 7], "labels": [-100, -100, 7]}) + "\n" for i in range(40))


class Prepare(ProgramTest):
    def digest(self, text):
        return text.split("digest ")[1].split(":")[0]

    def test_tokens__any_rank_count__give_the_same_store(self):
        self.write("a.jsonl", ROWS)
        name = self.write("a.yaml", "output: out\ndata: {train: a.jsonl, eval: a.jsonl, format: tokens}\n")
        first = self.succeed("prepare", name)
        self.assertIn("40 rows, 40 samples, 120 tokens", first)
        self.assertIn("'out/eval.h5'", first)
        again = self.succeed("prepare", name, ranks=2)
        self.assertEqual(self.digest(again), self.digest(first))
        self.assertTrue((self.folder / "out" / "train.h5").exists())
        self.assertEqual(self.digest(self.succeed("prepare", name, "data.train=out/train.h5")), self.digest(first))

    def test_show__prints_given_and_learnt_tokens(self):
        self.write("a.jsonl", ROWS)
        name = self.write("a.yaml", "output: out\ndata: {train: a.jsonl}\n")
        text = self.succeed("prepare", name, "data.format=tokens", "--show", "2", ranks=2)
        self.assertEqual(text.count("sample "), 2)
        self.assertIn("sample 1: 3 tokens, 1 learnt\n  given  \u25021\u25022\u2502\n  learnt \u25027\u2502\n", text)

    def test_bad_data__names_file_and_line(self):
        self.write("a.jsonl", ROWS + '{"input_ids": [1,\n')
        name = self.write("a.yaml", "output: out\ndata: {train: a.jsonl, format: tokens}\n")
        for ranks in (None, 2):
            self.fail_with(3, "(a.jsonl, line 41)", "prepare", name, ranks=ranks)
        self.assertFalse((self.folder / "out" / "train.h5").exists())

    def test_wrong_use__is_code_2(self):
        name = self.write("a.yaml", "output: out\n")
        self.fail_with(2, "no data are named", "prepare", name)
        self.fail_with(2, "--show wants a number", "prepare", name, "--show", "x")
        self.write("b.jsonl", '{"text": "a"}\n')
        self.fail_with(2, "no tokenizer (model.path)", "prepare", name, "data.train=b.jsonl")


if __name__ == "__main__":
    unittest.main()
