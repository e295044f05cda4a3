"""Sweeps on a real SLURM: a job array, and a farm whose runs fail and whose job is killed, then continued."""
import json
import os
import signal

import cluster
from cluster import SlurmTest


class Sweep(SlurmTest):
    steps = 20

    def plan(self, **sweep):
        """Plans a sweep over run.yaml; returns the manifest's path."""
        self.input("run")
        self.write("sweep.yaml", json.dumps({"base": "run.yaml", "output": "sweep", **sweep}))
        self.succeed("sweep", "plan", "sweep.yaml")
        return "sweep/manifest.jsonl"

    def status(self, manifest):
        """How many runs are in each state."""
        return json.loads(self.succeed("sweep", "status", manifest, "--json"))["counts"]

    def adapters(self):
        """{run: (bytes, time of its making)} of all runs that have ended."""
        paths = (self.folder / "sweep" / "runs").glob("*/adapter/adapter_model.safetensors")
        return {path.parts[-3]: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


class Array(Sweep):
    def test_array_of_six__does_each_run_once__and_again_nothing(self):
        manifest = self.plan(grid={"lora.r": [2, 3], "train.seed": [1, 2, 3]})
        job = self.submit("--array=0-5", "jobs/sweep-array.sh", manifest)
        tasks = [f"{job}_{task}" for task in range(6)]
        self.assertEqual([self.ended(task)["ExitCode"] for task in tasks], ["0:0"] * 6)
        self.assertEqual(self.status(manifest)["done"], 6)
        before = self.adapters()
        self.assertEqual(len(before), 6)
        again = self.submit("--array=0-5", "jobs/sweep-array.sh", manifest)
        self.assertEqual([self.ended(f"{again}_{task}")["ExitCode"] for task in range(6)], ["0:0"] * 6)
        self.assertEqual(self.adapters(), before)

    def test_array_task__that_is_signalled__comes_back_by_itself(self):
        type(self).steps = 1500
        self.addCleanup(setattr, type(self), "steps", 20)
        manifest = self.plan(grid={"train.seed": [1, 2]})
        job = self.submit("--array=0-1", "jobs/sweep-array.sh", manifest)
        logs = self.folder / "sweep" / "runs"
        running = lambda: all("  loss " in path.read_text() for path in logs.glob("*/run.log")) and \
            len(list(logs.glob("*/run.log"))) == 2
        self.wait_for("steps of both tasks", running, f"{job}_1")
        self.slurm("scancel", "--signal=USR1", f"{job}_1")
        states = [self.ended(f"{job}_{task}") for task in range(2)]
        self.assertEqual([(one["ExitCode"], one["Restarts"]) for one in states], [("0:0", "0"), ("0:0", "1")])
        self.assertEqual(self.status(manifest)["done"], 2)


class Farm(Sweep):
    def farm(self, manifest):
        """Submits the farm with three groups."""
        return self.submit("jobs/sweep-farm.sh", manifest, 3)

    def test_farm_of_twelve__one_failing_one_killed__goes_on_where_it_was(self):
        type(self).steps = 300
        self.addCleanup(setattr, type(self), "steps", 20)
        runs = [{"train.seed": seed} for seed in range(11)] + [{"data.train": "none.jsonl"}]
        manifest = self.plan(list=runs)
        job = self.farm(manifest)
        self.wait_for("finished run", lambda: len(self.adapters()) >= 2, job)
        os.kill(max(self.ranks_of(job)), signal.SIGKILL)
        self.assertEqual(self.ended(job)["JobState"], "FAILED")
        self.assertNotIn("requeued", self.said(job, "refract-farm"))
        before, done = self.adapters(), self.status(manifest)["done"]
        self.assertLess(done, 11)
        again = self.farm(manifest)
        self.assertEqual(self.ended(again)["ExitCode"], "3:0", self.said(again, "refract-farm"))
        status, after = self.status(manifest), self.adapters()
        self.assertEqual((status["done"], status["failed"]), (11, 1), status)
        same = [name for name in before if after[name] == before[name]]  # files and their times
        self.assertGreaterEqual(len(same), done)  # none was done twice; one was killed before it was told
        self.assertEqual({name: after[name][0] for name in before}, {name: before[name][0] for name in before})
        self.assertIn("none.jsonl", self.succeed("sweep", "status", manifest))


if __name__ == "__main__":
    cluster.main()
