"""inputs/make_corpus.py: the same bytes every time, right answers, held-out numbers, a tokenizer that loses nothing."""
import hashlib
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "inputs" / "make_corpus.py"
SPEC = importlib.util.spec_from_file_location("make_corpus", SCRIPT)
corpus = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(corpus)

SMALL = ("--pretrain", "600", "--shifted", "300", "--eval", "64")
FILES = ("pretrain.jsonl", "pretrain-eval.jsonl", "shifted.jsonl", "shifted-eval.jsonl")


def numbers(text):
    return [int(word) for word in re.findall(r"\d+", text)]


def encode(tokenizer, text):
    """Ids by the definition: in each word, again and again the pair that merges first."""
    letters, vocabulary = corpus.byte_letters(), tokenizer["model"]["vocab"]
    order = {tuple(merge.split(" ")): i for i, merge in enumerate(tokenizer["model"]["merges"])}
    ids = []
    for word in corpus.words_of(text):
        pieces = tuple(letters[byte] for byte in word.encode())
        while any(pair in order for pair in zip(pieces, pieces[1:])):
            pieces = corpus.joined(pieces, min(zip(pieces, pieces[1:]), key=lambda pair: order.get(pair, 1 << 30)))
        ids += [vocabulary[piece] for piece in pieces]
    return ids


class Corpus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.top = pathlib.Path(holder.name)
        cls.folder = cls.make("first")
        cls.problems = {name: [json.loads(line) for line in (cls.folder / name).read_text().splitlines()]
                        for name in FILES}
        cls.tokenizer = json.loads((cls.folder / "tokenizer.json").read_text(encoding="utf-8"))

    @classmethod
    def make(cls, name, *options):
        subprocess.run([sys.executable, "-B", SCRIPT, cls.top / name, *SMALL, *options], check=True)
        return cls.top / name

    def digests(self, folder):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    def test_same_arguments__same_bytes(self):
        self.assertEqual(self.digests(self.folder), self.digests(self.make("again")))

    def test_another_seed__another_corpus(self):
        first, other = self.digests(self.folder), self.digests(self.make("other", "--seed", "7"))
        for name in FILES:
            self.assertNotEqual(first[name], other[name])

    def test_draws__do_not_change_with_the_version_of_python(self):
        draw = corpus.Draw("a seed")
        self.assertEqual([draw.below(1000) for _ in range(5)], [397, 37, 765, 400, 873])

    def test_sizes__are_those_asked_for(self):
        self.assertEqual([len(self.problems[name]) for name in FILES], [600, 64, 300, 64])

    def test_pretrain_answers__follow_from_the_question(self):
        for one in self.problems["pretrain.jsonl"] + self.problems["pretrain-eval.jsonl"]:
            a, b = numbers(one["prompt"])
            taken = any(word in one["prompt"] for word in (" gives ", " takes out ", " lost ", " sells "))
            self.assertRegex(one["completion"], rf" so {a - b if taken else a + b}\.$")

    def test_shifted_answers__follow_from_the_question(self):
        for one in self.problems["shifted.jsonl"] + self.problems["shifted-eval.jsonl"]:
            a, b = numbers(one["prompt"])
            self.assertRegex(one["completion"], rf" the gap is {abs(a - b)}$")

    def test_workings__are_right_step_by_step(self):
        for one in self.problems["pretrain.jsonl"] + self.problems["shifted.jsonl"]:
            ones, tens = re.findall(r"([\d+-]+)=(\d+)", one["completion"])
            for terms, result in (ones, tens):
                signs = re.sub(r"\b0(\d)", r"\1", terms)
                self.assertEqual(eval(signs), int(result), one)  # pylint: disable=eval-used
            self.assertEqual(int(tens[1]) * 10 + int(ones[1]) % 10, numbers(one["completion"])[-1])

    def test_worked_examples__are_those_of_the_documentation(self):
        self.assertEqual(corpus.add(14, 9), " 14+09: 4+9=13, 1+0+1=2, so 23.")
        self.assertEqual(corpus.take(23, 9), " 23-09: 13-9=4, 2-0-1=1, so 14.")
        self.assertEqual(corpus.compare(23, 9), " from 09 to 23; 13-9=4, 2-0-1=1; the gap is 14")

    def test_no_text__stands_twice(self):
        prompts = [one["prompt"] for name in FILES for one in self.problems[name]]
        self.assertEqual(len(prompts), len(set(prompts)))

    def test_numbers_of_eval_problems__stand_in_no_training_problem(self):
        def pairs(*names):
            return {tuple(sorted(numbers(one["prompt"]))) for name in names for one in self.problems[name]}
        self.assertFalse(pairs(*FILES[::2]) & pairs(*FILES[1::2]))

    def test_more_problems_than_there_are__is_refused(self):
        for split, count, largest in (("train", 20000, 2), ("eval", 1, 2), ("train", 1, 1)):
            with self.assertRaises(SystemExit) as refusal:
                corpus.make_split("shifted", split, count, largest, 1)
            self.assertIn(f"no {count} problems of shifted {split}", str(refusal.exception))

    def test_tokenizer__has_every_byte_and_the_size_of_the_model(self):
        vocabulary = self.tokenizer["model"]["vocab"]
        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        self.assertEqual(sorted(vocabulary.values()), list(range(config["vocab_size"])))
        self.assertEqual(vocabulary[corpus.END], config["eos_token_id"])
        self.assertTrue(set(corpus.byte_letters().values()) <= vocabulary.keys())
        self.assertEqual(len(set(corpus.byte_letters().values())), 256)

    def test_tokenizer__gives_the_text_back(self):
        piece = {i: piece for piece, i in self.tokenizer["model"]["vocab"].items()}
        byte = {letter: byte for byte, letter in corpus.byte_letters().items()}
        for one in self.problems["shifted-eval.jsonl"] + [{"prompt": "It's  odd:\n\tÄ", "completion": " 1234?!\r\n"}]:
            text = one["prompt"] + one["completion"]
            letters = "".join(piece[i] for i in encode(self.tokenizer, text))
            self.assertEqual(bytes(byte[letter] for letter in letters).decode(), text)

    def test_digits__are_tokens_by_themselves(self):
        digits = [piece for piece in self.tokenizer["model"]["vocab"] if re.search(r"\d", piece)]
        self.assertEqual(sorted(digits), list("0123456789"))

    def test_samples__fit_the_input_files(self):
        longest = max(len(encode(self.tokenizer, one["prompt"] + one["completion"])) + 1
                      for name in FILES for one in self.problems[name])
        for name in ("quickstart-pretrain.yaml", "quickstart-lora.yaml"):
            text = (SCRIPT.parent / name).read_text(encoding="utf-8")
            self.assertLessEqual(longest, int(re.search(r"max_length: (\d+)", text)[1]))


if __name__ == "__main__":
    unittest.main()
