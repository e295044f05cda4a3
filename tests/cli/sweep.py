"""sweep: plan, one run by its number, farms of groups that share out the rest, stops, kills, status, results, bad input."""
import json
import os
import pathlib
import shutil
import signal
import socket
import unittest

import files
from support import ProgramTest, newest_checkpoint

RANKS = 4


class Sweep(ProgramTest):
    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "model")
        files.write_rows(self.folder / "train.jsonl", files.token_rows(40, 3, 30, 61))
        files.write_rows(self.folder / "eval.jsonl", files.token_rows(12, 3, 30, 61, seed=8))

    def plan(self, *arguments, steps=6, train=None, **sweep):
        """Makes base and sweep, plans it; returns the manifest's path."""
        self.write_input("base.yaml", **{
            "output": "unused", "method": "lora", "model": {"path": "model"}, "lora": {"r": 3, "dropout": 0.1},
            "data": {"train": "train.jsonl", "eval": "eval.jsonl", "format": "tokens", "max_length": 32},
            "train": {"steps": steps, "batch_size": 5, "micro_tokens": 32, "learning_rate": 0.01, **(train or {})},
            "checkpoint": {"every": 2}})
        self.write_input("sweep.yaml", base="base.yaml", output="s", **sweep)
        self.succeed("sweep", "plan", "sweep.yaml", *arguments)
        return "s/manifest.jsonl"

    def status(self, manifest="s/manifest.jsonl"):
        return json.loads(self.succeed("sweep", "status", manifest, "--json"))

    def states(self):
        return [run["state"] for run in self.status()["runs"]]

    def adapters(self):
        """{identity: the adapter's bytes} of every run that has one."""
        return {path.parts[-3]: path.read_bytes()
                for path in self.folder.glob("s/runs/*/adapter/adapter_model.safetensors")}

    def stamps(self):
        return {path: path.stat().st_mtime_ns for path in self.folder.glob("s/runs/*/run.h5")}

    def alone(self, index):
        """The adapter of run `index`, trained from its own config.yaml outside the sweep."""
        run = self.folder / self.status()["runs"][index]["folder"]
        shutil.copy(run / "config.yaml", self.folder / "alone.yaml")
        self.succeed("train", "alone.yaml", "output=alone", "parallel.tensor=auto")
        return (self.folder / "alone" / "adapter" / "adapter_model.safetensors").read_bytes()

    def test_index__trains_one_run_and_records_it(self):
        manifest = self.plan(grid={"lora.r": [2, 4]}, seeds=2)
        self.assertEqual(self.states(), ["left"] * 4)
        self.succeed("sweep", "run", manifest, "--index", "2", ranks=2)
        run = self.status()["runs"][2]
        self.assertEqual(self.states(), ["left", "left", "done", "left"])
        self.assertEqual(run["set"], {"lora.r": "4", "train.seed": "1"})
        self.assertEqual(self.adapters(), {run["id"]: self.alone(2)})
        before = self.stamps()
        self.assertIn("done already", self.succeed("sweep", "run", manifest, "--index", "2"))
        self.assertEqual(self.stamps(), before)
        self.fail_with(2, "there is no run 4", "sweep", "run", manifest, "--index", "4")

    def test_workers__share_out_the_runs_and_one_failure_stays_alone(self):
        manifest = self.plan(grid={"method": ["lora", "dora"], "data.train": ["train.jsonl", "gone.jsonl"]}, seeds=2)
        done = self.refract("sweep", "run", manifest, "--workers", 3, ranks=RANKS)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("4 of 8 runs failed; run 2", self.error_line(done.stderr))
        self.assertEqual(self.states(), ["done", "done", "failed", "failed"] * 2)
        failed = self.status()["runs"][2]
        self.assertEqual(failed["code"], 3)
        self.assertIn("gone.jsonl", failed["message"])
        self.assertEqual(self.adapters()[self.status()["runs"][5]["id"]], self.alone(5))
        table = self.succeed("sweep", "status", manifest)
        self.assertIn("8 runs of base.yaml: 4 done, 0 running, 4 failed, 0 stopped, 0 vanished, 0 left", table)
        self.assertIn("code 3: ", table)
        before = self.stamps()  # the failed are tried again, the others left alone; not by a requeue
        self.refract("sweep", "run", manifest, ranks=2, SLURM_JOB_ID="7", SLURM_RESTART_COUNT="1")
        self.assertEqual([run["tries"] for run in self.status()["runs"]], [1] * 8)
        shutil.copy(self.folder / "train.jsonl", self.folder / "gone.jsonl")
        self.succeed("sweep", "run", manifest, "--workers", 2, ranks=2)
        self.assertEqual(self.states(), ["done"] * 8)
        self.assertEqual({path: self.stamps()[path] for path in before if path in self.stamps()},
                         {path: self.stamps()[path] for path in before})
        self.assertEqual([run["tries"] for run in self.status()["runs"]], [1, 1, 2, 2] * 2)

    def test_base__is_held_once_for_all_runs_that_have_it(self):
        manifest = self.plan(list=[{"method": "lora"}, {"method": "dora", "parallel.tensor": 2}, {"method": "pissa"},
                                   {"method": "lora", "parallel.slices": 2}, {"method": "lora", "model.storage": "bf16"},
                                   {"method": "lora", "lora.modules_to_save": "lm_head"},
                                   {"method": "light", "light.steps": 3}, {"method": "beamlora"}])
        self.succeed("sweep", "run", manifest, "--workers", 2, ranks=RANKS)
        runs = self.status()["runs"]
        logs = [(self.folder / run["folder"] / "run.log").read_text() for run in runs]
        self.assertEqual(["shared by all runs" in log for log in logs], [True, True, False, False, False, False, False, True])
        for index in (0, 1, 2, 6, 7):
            shutil.rmtree(self.folder / "alone", ignore_errors=True)
            self.assertEqual(self.adapters()[runs[index]["id"]], self.alone(index))

    def test_base_that_cannot_be_shared__is_loaded_by_each_run(self):
        manifest = self.plan(seeds=2)
        done = self.refract("sweep", "run", manifest, "--workers", 2, ranks=2, RF_FAULT="shared.create:1")
        if "no shared memory" not in done.stderr:
            self.skipTest("built without fault sites")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("every run will load its own base model", done.stderr)
        self.assertEqual(self.states(), ["done"] * 2)

    def start_long(self):
        """A farm in the middle of its first runs, and what these come to undisturbed."""
        manifest = self.plan(steps=100, seeds=3)
        job = self.start("sweep", "run", manifest, "--workers", 2, ranks=RANKS)
        self.assertTrue(job.wait_until(lambda: len(list(self.folder.glob("s/runs/*/checkpoints/step-*.h5"))) >= 4))
        return manifest, job

    def assert_goes_on(self, manifest):
        """The same command finishes; every run has the bits of an undisturbed one."""
        self.succeed("sweep", "run", manifest, "--workers", 2, ranks=RANKS, timeout=120)
        self.assertEqual(self.states(), ["done"] * 3)
        self.assertEqual(list(self.folder.glob("s/records/*.lock")), [])
        disturbed = min(self.status()["runs"], key=lambda run: -run["tries"])
        self.assertEqual(self.adapters()[disturbed["id"]], self.alone(disturbed["index"]))

    def test_killed_farm__is_told_and_goes_on(self):
        manifest, job = self.start_long()
        running = self.status()
        self.assertEqual(running["counts"]["running"], 2)
        job.send(signal.SIGKILL, ranks=[3])
        job.finish()
        stopped = [run for run in self.status()["runs"] if run["state"] == "stopped"]
        self.assertTrue(stopped)
        self.assertIn("was killed while it ran", stopped[0]["message"])
        self.assert_goes_on(manifest)

    def test_signal_to_one_rank__stops_every_group_with_its_state(self):
        manifest, job = self.start_long()
        job.send(signal.SIGTERM, ranks=[2])
        codes, _, errors = job.finish()
        self.assertEqual(codes, [75] * RANKS, errors)
        self.assertIn("Run the same command again", errors)
        self.assertEqual(self.status()["counts"]["stopped"], 2)
        self.assertEqual(list(self.folder.glob("s/.stop*")), [])
        self.assert_goes_on(manifest)

    def test_stop_file_of_the_sweep__stops_all(self):
        manifest, job = self.start_long()
        (self.folder / "s" / "STOP").touch()
        codes, _, errors = job.finish()
        self.assertEqual(codes, [75] * RANKS, errors)
        self.assertEqual(self.status()["counts"]["left"], 1)
        done = self.refract("sweep", "run", manifest, ranks=2, SLURM_JOB_ID="7", SLURM_RESTART_COUNT="1")
        self.assertEqual(done.returncode, 75, done.stderr)  # a requeue does not overrule it
        self.assertTrue((self.folder / "s" / "STOP").exists())
        self.assert_goes_on(manifest)

    def test_run_with_a_time_limit__leaves_the_rest_alone(self):
        manifest = self.plan(list=[{"train.steps": 10 ** 6, "train.max_time": "00:00:01"}, {"lora.r": 2}, {"lora.r": 4}])
        codes, _, errors = self.start("sweep", "run", manifest, ranks=2).finish()
        self.assertEqual(codes, [75] * 2, errors)
        self.assertEqual(self.states(), ["stopped", "done", "done"])
        self.assertIn("the time limit", self.status()["runs"][0]["message"])

    def test_run_in_other_hands__is_left_alone(self):
        manifest = self.plan(seeds=3)
        lock = self.folder / "s" / "records" / f"{self.status()['runs'][1]['id']}.lock"
        lock.parent.mkdir()
        lock.write_text(f"host={socket.gethostname()} pid={os.getpid()} start=0 job=- restart=0\n")  # we are alive
        self.assertEqual(self.states(), ["left", "running", "left"])
        self.all_fail_with(7, "run 1 is in other hands", "sweep", "run", manifest, "--index", "1", ranks=2)
        self.assertIn("1 in other hands", self.succeed("sweep", "run", manifest, "--workers", 2, ranks=2))
        self.assertEqual(self.states(), ["done", "running", "done"])
        lock.unlink()
        self.succeed("sweep", "run", manifest)
        self.assertEqual([run["tries"] for run in self.status()["runs"]], [1, 1, 1])

    def test_plan_made_larger__keeps_what_is_done(self):
        self.succeed("sweep", "run", self.plan(seeds=2), ranks=2)
        before = self.stamps()
        manifest = self.plan(seeds=3)
        self.assertEqual(self.states(), ["done", "done", "left"])
        self.succeed("sweep", "run", manifest, ranks=2)
        self.assertEqual({path: self.stamps()[path] for path in before}, before)

    def test_vanished_and_damaged__are_told_and_the_rest_goes_on(self):
        manifest = self.plan(seeds=4)
        self.succeed("sweep", "run", manifest, "--workers", 2, ranks=2)
        runs = self.status()["runs"]
        shutil.rmtree(self.folder / runs[1]["folder"])
        (self.folder / runs[2]["folder"] / "run.h5").write_bytes(b"torn")
        (self.folder / "s" / "records" / f"{runs[3]['id']}.json").write_text("{")
        self.assertEqual(self.states(), ["done", "vanished", "done", "left"])
        self.assertIn("cannot be read: it counts as none", self.succeed("sweep", "status", manifest))
        done = self.refract("sweep", "collect", manifest)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("run 1: it was done, but there is no", done.stderr)
        self.assertIn("run 2 has no numbers", done.stderr)
        self.succeed("sweep", "run", manifest, ranks=2)
        self.assertEqual(self.states(), ["done"] * 4)

    @unittest.skipUnless(files.h5py, "this Python has no h5py")
    def test_collect__has_a_row_a_run_and_links_to_the_traces(self):
        manifest = self.plan(grid={"lora.r": [2, 4]}, seeds=2)
        self.succeed("sweep", "run", manifest, "--index", 1, ranks=2)
        self.succeed("sweep", "run", manifest, "--index", 2)
        self.succeed("sweep", "collect", manifest)
        with files.h5py.File(self.folder / "s" / "sweep.h5", "r") as file:
            self.assertEqual((file.attrs["schema"], file.attrs["schema_version"]), (b"refract/sweep", 1))
            self.assertEqual(list(file["runs/state"]), [b"left", b"done", b"done", b"left"])
            self.assertEqual(list(file["keys/lora.r"]), [b"2", b"2", b"4", b"4"])
            self.assertTrue(all("unit" in one.attrs and "description" in one.attrs
                                for group in ("runs", "keys") for one in file[group].values()))
            for at in (1, 2):
                trace = file["traces"][file["runs/id"][at]]
                self.assertEqual(file["runs/eval_loss"][at], trace["evals/loss"][-1])
                self.assertEqual(file["runs/loss"][at], trace["steps/loss"][-1])
                self.assertEqual(file["runs/tokens"][at], trace["steps/tokens"][()].sum())
                self.assertEqual(file["runs/trained_parameters"][at], trace.attrs["trained_parameters"])
            self.assertEqual(2 * file["runs/trained_parameters"][1], file["runs/trained_parameters"][2])
            self.assertNotIn(file["runs/id"][0], file["traces"])

    def test_example_that_comes_with_the_program__has_25_runs(self):
        inputs = pathlib.Path(__file__).resolve().parents[2] / "inputs"
        shutil.copytree(inputs, self.folder / "inputs")
        text = self.succeed("sweep", "plan", "inputs/sweep-quickstart.yaml")
        self.assertIn("manifest: runs/sweep/manifest.jsonl, 25 runs", text)
        counts = self.status("runs/sweep/manifest.jsonl")["counts"]
        self.assertEqual(counts["left"], 25)

    def test_bad_input__is_told_in_words(self):
        manifest = self.plan(seeds=2)
        path = self.folder / manifest
        whole = path.read_text()
        path.write_text(whole.replace("train.seed=2", "train.seed=9"))
        for verb in ("run", "status", "collect"):
            self.fail_with(3, "was changed since it was written", "sweep", verb, manifest)
        path.write_text(whole)
        self.fail_with(2, "unknown key 'lora.rr' (sweep.yaml, line 1). Did you mean 'lora.r'?", "sweep", "plan",
                       self.write_input("sweep.yaml", base="base.yaml", output="s", grid={"lora.rr": [1]}))
        self.fail_with(2, "unknown key 'lora.alhpa'", "sweep", "plan", self.write_input(
            "sweep.yaml", base="base.yaml", output="s", seeds=2), "lora.alhpa=2")
        self.assertEqual(path.read_text(), whole)
        self.all_fail_with(2, "5 workers cannot share 2 ranks", "sweep", "run", manifest, "--workers", 5, ranks=2)
        self.fail_with(2, "exclude each other", "sweep", "run", manifest, "--workers", 1, "--index", 1)
        self.fail_with(2, "--index wants a number", "sweep", "run", manifest, "--index", "x")
        self.fail_with(2, "Did you mean 'status'?", "sweep", "staus", manifest)
        self.fail_with(3, "none.jsonl", "sweep", "status", "none.jsonl")


if __name__ == "__main__":
    unittest.main()
