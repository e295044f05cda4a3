"""refract plan: the memory that the run will take on ranks that are not there, refusals that name what would fit, time
from a probe, a batch script."""
import re
import shutil
import subprocess
import unittest

import files
from runs import RunTest


# Sizes that show: some MiB in every arena.
WIDE = ("method=reflora", "lora.r=32", "data.max_length=200", "train.micro_tokens=2048", "train.batch_size=300",
        "checkpoint.every=0")


class Plan(RunTest):
    def setUp(self):
        super().setUp()
        shutil.rmtree(self.folder / "model")
        files.make_model(self.folder / "model", vocab_size=64)  # slices of one size
        self.name = self.input("run")

    def memory(self, text):
        """{arena: MiB} of the line that tells them."""
        line = next(line for line in text.splitlines() if line.startswith("memory per rank"))
        return {name: float(size) for name, size in re.findall(r"(run|step|scratch|together) ([\d.]+) MiB", line)}

    def test_memory_of_n_ranks__planned_by_one__is_what_they_take(self):
        for ranks, tensor in ((1, 1), (2, 1), (2, 2), (4, 2), (4, 4)):
            key = f"parallel.tensor={tensor}"
            planned = self.succeed("plan", self.name, *WIDE, key, "--ranks", ranks, "--probe", "probe.txt")
            found = self.succeed("train", self.name, *WIDE, key, "--dry-run", ranks=ranks)
            wanted = self.memory(found)
            del wanted["together"]
            self.assertEqual({name: self.memory(planned)[name] for name in wanted}, wanted, (ranks, tensor))
            self.assertIn(f"dp {ranks // tensor} x tp {tensor}", planned)
            shares = re.compile(r"base:? ([\d.]+) MiB, (?:which|held)")
            self.assertEqual(shares.findall(planned)[:1], shares.findall(found))
            self.assertEqual(bool(shares.findall(found)), ranks > tensor)
        self.assertFalse((self.folder / "run").exists())

    def test_auto__is_cut_as_the_run_would_be(self):
        for ranks in (1, 2, 4):
            planned = self.succeed("plan", self.name, "--ranks", ranks, "--probe", "probe.txt")
            found = self.succeed("train", self.name, "--dry-run", ranks=ranks)
            self.assertEqual(re.search(r"dp \d+ x tp \d+", planned)[0], re.search(r"dp \d+ x tp \d+", found)[0])

    def test_probe__is_written_once_and_read_afterwards(self):
        first = self.succeed("plan", self.name, "--ranks", 4, "--probe", "probe.txt", ranks=2)
        text = (self.folder / "probe.txt").read_text()
        self.assertIn("ranks: 2\n", text)
        self.assertRegex(first, r"reductions: alpha [\d.]+ us")
        again = self.succeed("plan", self.name, "--ranks", 4, "--probe", "probe.txt")
        times = lambda said: [line for line in said.splitlines() if line.startswith(("step:", "reductions:"))]
        self.assertEqual(times(again), times(first))
        self.assertEqual((self.folder / "probe.txt").read_text(), text)

    def test_one_rank__says_that_it_measured_no_reductions(self):
        self.assertIn("note: without the reductions", self.succeed("plan", self.name, "--ranks", 2))
        self.assertNotIn("note: without", self.succeed("plan", self.name, "--ranks", 1))

    def test_wrong_probes__are_refused(self):
        self.succeed("plan", self.name, "--ranks", 1, "--probe", "probe.txt")
        self.fail_with(3, "of another model or adapter", "plan", self.name, "lora.r=4", "--ranks", 1, "--probe",
                       "probe.txt")
        self.fail_with(3, "was measured with 1 threads", "plan", self.name, "--ranks", 1, "--probe", "probe.txt",
                       OMP_NUM_THREADS="2")
        self.write("broken.txt", (self.folder / "probe.txt").read_text()[:60])
        self.fail_with(3, "is no probe file", "plan", self.name, "--ranks", 1, "--probe", "broken.txt")
        self.fail_with(6, "none/probe.txt", "plan", self.name, "--ranks", 1, "--probe", "none/probe.txt")

    def test_what_cannot_fit__is_refused_and_says_what_would(self):
        self.fail_with(4, "no layout fits into 1 MiB a rank (--memory). The least is ", "plan", self.name, "--memory", "1M")
        self.fail_with(4, "cannot load, take a step and save (--time)", "plan", self.name, "--ranks", 1, "--time",
                       "00:00:20")
        self.fail_with(4, "cannot be cut into tensor-parallel groups", "plan", self.name, "parallel.tensor=2", "--ranks", 3)
        self.all_fail_with(4, "no layout fits", "plan", self.name, "--memory", "1M", ranks=2)

    def test_smallest_layout__is_found_and_named(self):
        total = lambda text: self.memory(text)["together"]
        one = total(self.succeed("plan", self.name, *WIDE, "--ranks", 1))
        four = total(self.succeed("plan", self.name, *WIDE, "parallel.tensor=4", "--ranks", 4))
        self.assertLess(four + 1, one)
        fit = f"{(one + four) / 2:.1f}M"
        found = self.succeed("plan", self.name, *WIDE, "--memory", fit)
        ranks = int(re.search(r"plan: (\d+) rank", found)[1])
        self.assertIn(ranks, (2, 4))
        self.fail_with(4, f"{ranks} ranks with parallel.tensor=", "plan", self.name, *WIDE, "--ranks", 1, "--memory", fit)

    def test_script__is_sound_and_holds_the_plan(self):
        name = self.write("it's here.yaml", (self.folder / self.name).read_text())
        self.succeed("plan", name, "train.steps=7", "--ranks", 4, "--time", "02:00:00", "--script", "job.sh")
        text = (self.folder / "job.sh").read_text()
        subprocess.run(["bash", "-n", self.folder / "job.sh"], check=True, timeout=20)
        for words in ("#SBATCH --ntasks=4\n", "#SBATCH --requeue\n", "train 'it'\\''s here.yaml' train.steps=7 parallel.tensor="):
            self.assertIn(words, text)
        self.fail_with(6, "none/job.sh", "plan", name, "--ranks", 4, "--script", "none/job.sh")

    def test_wrong_options__are_code_2(self):
        for arguments, text in ((("--ranks", "0"), "--ranks wants"), (("--memory", "4X"), "--memory wants"),
                                (("--ranks", "2", "--time", "soon"), "--time wants"), ((), "neither --ranks nor --memory")):
            self.fail_with(2, text, "plan", self.name, *arguments)


if __name__ == "__main__":
    unittest.main()
