"""Jobs on a real SLURM that are signalled, preempted, cancelled, out of time or lose a rank: right states, no hang,
nothing lost, and the very bits of an undisturbed run in the end."""
import json
import os
import signal

import cluster
from cluster import SlurmTest

SCRIPT = "jobs/one-node.sh"


class Requeue(SlurmTest):
    def test_signals__requeue_the_job__and_the_bits_are_those_of_an_undisturbed_run(self):
        wanted = self.undisturbed()
        job = self.submit(SCRIPT, self.input("run"))
        self.wait_for_steps(job)
        self.slurm("scancel", "--signal=USR1", job)
        self.wait_for_steps(job, starts=2)
        self.slurm("scancel", "--signal=USR1", "--batch", job)
        state = self.ended(job)
        self.assertEqual((state["JobState"], state["ExitCode"], state["Restarts"]), ("COMPLETED", "0:0", "2"))
        self.assertEqual(self.said(job).count("stopped with all state saved: requeued"), 2)
        self.assertEqual(self.said(job).count("resuming after step "), 2)
        self.assertEqual(self.outcome("run"), wanted)

    def test_preemption_by_an_urgent_job__requeues_it_and_loses_nothing(self):
        wanted = self.undisturbed()
        job = self.submit(SCRIPT, self.input("run"))
        self.wait_for_steps(job)
        self.write("urgent.sh", "#!/bin/sh\nsleep 1\n")
        urgent = self.submit("--partition=urgent", "--ntasks=4", "urgent.sh")
        self.assertEqual(self.ended(urgent)["JobState"], "COMPLETED")
        state = self.ended(job)
        self.assertEqual((state["JobState"], state["ExitCode"]), ("COMPLETED", "0:0"))
        self.assertGreaterEqual(int(state["Restarts"]), 1)
        self.assertIn("refract: stopped by a signal ", self.said(job))
        self.assertEqual(self.outcome("run"), wanted)

    def test_stop_file__ends_the_job_for_good(self):
        job = self.submit(SCRIPT, self.input("run"))
        self.wait_for_steps(job)
        (self.folder / "run" / "STOP").touch()
        state = self.ended(job)
        self.assertEqual((state["JobState"], state["ExitCode"], state["Restarts"]), ("FAILED", "75:0", "0"))
        self.assertIn("run/STOP is there: not requeued", self.said(job))

    def test_any_other_failure__is_not_requeued(self):
        job = self.submit(SCRIPT, self.input("run"), "data.train=none.jsonl")
        state = self.ended(job)
        self.assertEqual((state["JobState"], state["ExitCode"], state["Restarts"]), ("FAILED", "3:0", "0"))
        self.assertEqual(self.said(job).count("refract: error: "), 1, self.said(job))

    def test_time_limit__saves_before_it_and_requeues(self):
        job = self.submit("--time=1", "--signal=USR1@30", SCRIPT, self.input("run"), "train.steps=1000000",
                          "train.eval_every=0", "checkpoint.every=100000", "train.log_every=1000")
        self.wait_for("requeue", lambda: "requeued as" in self.said(job), job)
        self.assertRegex(self.said(job), "refract: stopped by (a signal|the time limit) after step ")
        self.wait_for_state(job, "PENDING", "RUNNING")


class End(SlurmTest):
    def finish(self, wanted):
        """The same command again ends as the undisturbed run did."""
        again = self.submit(SCRIPT, "run.yaml")
        self.assertEqual(self.ended(again)["ExitCode"], "0:0", self.said(again))
        self.assertEqual(self.outcome("run"), wanted)

    def test_scancel__ends_the_job_and_loses_nothing(self):
        wanted = self.undisturbed()
        job = self.submit(SCRIPT, self.input("run"))
        self.wait_for_steps(job)
        self.slurm("scancel", job)
        state = self.ended(job)
        self.assertEqual((state["JobState"], state["Restarts"]), ("CANCELLED", "0"))
        self.assertNotIn("requeued", self.said(job))
        self.assertIn("refract: stopped by a signal ", self.said(job))
        self.finish(wanted)

    def test_killed_rank__ends_the_job__and_the_same_command_goes_on(self):
        wanted = self.undisturbed()
        job = self.submit(SCRIPT, self.input("run"))
        self.wait_for_steps(job)
        os.kill(max(self.ranks_of(job)), signal.SIGKILL)
        state = self.ended(job)
        self.assertEqual((state["JobState"], state["Restarts"]), ("FAILED", "0"))
        self.assertNotIn(state["ExitCode"], ("0:0", "75:0"))
        self.assertIn("Killed", self.said(job))
        self.assertEqual(self.ranks_of(job), [])
        self.finish(wanted)


class Planned(SlurmTest):
    def test_script_of_a_plan__runs__and_goes_on_by_itself(self):
        wanted = self.undisturbed()
        self.succeed("plan", self.input("run"), "--ranks", 2, "--time", "00:10:00", "--script", "job.sh")
        job = self.submit("job.sh")
        self.wait_for_steps(job)
        self.slurm("scancel", "--signal=USR1", job)
        state = self.ended(job)
        self.assertEqual((state["JobState"], state["ExitCode"], state["Restarts"]), ("COMPLETED", "0:0", "1"))
        self.assertEqual(state["NumTasks"], "2")
        self.assertEqual(self.outcome("run"), wanted)


class Launch(SlurmTest):
    def test_srun_without_pmix__fails_before_anything_is_written(self):
        """Open MPI itself refuses this start or, in other builds, makes lone ranks, which the program refuses."""
        script = self.write("bare.sh", "#!/bin/sh\nsrun --mpi=none -n 2 build/refract train run.yaml\n")
        self.input("run")
        job = self.submit("--ntasks=2", "--job-name=refract", "--output=refract-%j.out", script)
        self.assertEqual(self.ended(job)["JobState"], "FAILED")
        self.assertRegex(self.said(job), "built with SLURM's PMI support|2 tasks were started, but MPI knows only one")
        self.assertFalse((self.folder / "run").exists())


class Short(SlurmTest):
    steps = 10

    def test_script_for_several_nodes__with_a_profile_of_the_site__does_the_same(self):
        wanted = self.undisturbed()
        self.write("site.sh", 'refract=("$PWD/build/refract")\nexport SITE_WAS_READ=yes\n')
        job = self.slurm("env", "RF_SITE=site.sh", "sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=4",
                         "--cpus-per-task=1", "jobs/several-nodes.sh", self.input("run"), "parallel.tensor=2")
        self.assertEqual(self.ended(job)["ExitCode"], "0:0", self.said(job))
        self.assertIn("layout: 4 ranks x 1 thread, dp 2 x tp 2", self.said(job))
        self.assertEqual(self.outcome("run"), wanted)

    def test_many_runs__are_evaluated_once__and_a_failure_does_not_hide_the_rest(self):
        for name in ("one", "two"):
            self.succeed("train", self.input(name), ranks=2)
        (self.folder / "gone").mkdir()
        call = ("jobs/evaluate.sh", "test", "one", "gone", "two/", "--", "data.eval=train.jsonl")
        job = self.submit(*call)
        self.assertEqual(self.ended(job)["JobState"], "FAILED")
        self.assertIn("gone: failed with code 3", self.said(job, "refract-eval"))
        for name in ("one", "two"):
            result = json.loads((self.folder / name / "evaluations" / "test" / "eval.json").read_text())
            self.assertEqual((result["task"], result["samples"]), ("loss", 14))
        again = self.submit(*call)
        self.ended(again)
        self.assertEqual(self.said(again, "refract-eval").count("done before"), 2)


if __name__ == "__main__":
    cluster.main()
