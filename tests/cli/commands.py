"""The command line: help, version, subcommands, exit codes, one error line from root."""
import re
import unittest

from support import ProgramTest


class Commands(ProgramTest):
    def test_help__lists_commands_and_codes(self):
        for arguments in (["--help"], ["-h"]):
            text = self.succeed(*arguments)
            self.assertIn("  config ", text)
            self.assertIn("  methods ", text)
            self.assertIn("75 stopped", text)

    def test_help_of_a_command__tells_its_arguments(self):
        self.assertIn("INPUT [KEY=VALUE...]", self.succeed("config", "--help"))
        self.assertIn("--schema", self.succeed("config", "--help"))

    def test_version__names_what_it_was_built_from(self):
        text = self.succeed("--version")
        for word in ("refract ", "commit ", "compiler ", "build ", "numbers ", "OpenBLAS", "core ", "Open MPI",
                     "HDF5 "):
            self.assertIn(word, text)

    def test_version__on_two_ranks__is_printed_once(self):
        self.assertEqual(self.succeed("--version", ranks=2).count("commit "), 1)

    def test_no_command__is_usage(self):
        self.fail_with(2, "no command")

    def test_unknown_command__suggests_the_nearest(self):
        self.fail_with(2, "unknown command 'confg' (command line). Did you mean 'config'?", "confg")
        self.fail_with(2, "See refract --help", "zzzzzzzz", ranks=2)

    def test_unknown_option__is_named(self):
        self.fail_with(2, "unknown or incomplete option '--sceham' (refract config)", "config", "--sceham")

    def test_methods__lists_papers_keys_and_partners(self):
        text = self.succeed("methods")
        for word in ("lora: ", "arXiv:2106.09685", "lora.r: 16", "full: "):
            self.assertIn(word, text)
        partners = re.search(r"^lora: .*\n.*\n  combines with (.*)$", text, re.MULTILINE)
        self.assertIn("rslora", partners.group(1).split(", "))
        self.assertNotIn("full: ", self.succeed("methods", "lora"))
        self.fail_with(2, "unknown method 'lor'", "methods", "lor")


class Configuration(ProgramTest):
    def test_effective_configuration__fed_back__is_the_same(self):
        name = self.write("a.yaml", "lora: {r: 8, rank_pattern: {'layers\\.0': 4}}\ntrain: {steps: 5}\n")
        first = self.succeed("config", name, "lora.alpha=3", "data.train=[a,b c]")
        self.assertIn("  r: 8\n", first)
        self.assertIn("  alpha: 3.0\n", first)
        self.assertIn("  epochs: 0\n", first)
        self.assertIn('  train: [a, "b c"]\n', first)
        self.assertEqual(self.succeed("config", self.write("b.yaml", first)), first)

    def test_two_ranks__print_what_one_prints(self):
        name = self.write("a.yaml", "lora: {r: 8}\n")
        self.assertEqual(self.succeed("config", name, ranks=2), self.succeed("config", name))

    def test_schema__tells_default_and_range(self):
        self.assertIn("lora.r: 16\n    rank of every adapter\n    an integer in [1, 65536]\n",
                      self.succeed("config", "--schema"))

    def test_unknown_key__names_file_line_and_nearest(self):
        name = self.write("a.yaml", "method: lora\nlora:\n  alhpa: 8\n")
        for ranks in (None, 1, 2):
            self.fail_with(2, "unknown key 'lora.alhpa' (a.yaml, line 3). Did you mean 'lora.alpha'?",
                           "config", name, ranks=ranks)

    def test_missing_input__is_code_3(self):
        for ranks in (None, 2):
            self.fail_with(3, "no.yaml", "config", "no.yaml", ranks=ranks)
        self.fail_with(2, "no INPUT", "config")

    def test_malformed_input__is_code_2(self):
        self.fail_with(2, "malformed YAML", "config", self.write("a.yaml", "lora: {r: [1\n"), ranks=2)

    def test_bad_override__is_code_2(self):
        name = self.write("a.yaml", "method: lora\n")
        self.fail_with(2, "'lora.r' must be an integer", "config", name, "lora.r=x", ranks=2)
        self.fail_with(2, "unknown method 'lorra' (command line). Did you mean 'lora'?", "config", name,
                       "method=lorra")
        self.fail_with(2, "cannot be joined", "config", name, "method=lora+full")
        self.fail_with(2, "named twice", "config", name, "method=lora+lora")

    def test_keys_that_no_method_reads__are_a_warning(self):
        name = self.write("a.yaml", "method: full\nlora: {r: 8, alpha: 32}\n")
        done = self.refract("config", name, ranks=2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("does not read lora.r (a.yaml, line 2)"), 1)
        self.assertNotIn("lora.alpha", done.stderr)


class ExitCodes(ProgramTest):
    def test_every_rank__ends_with_the_same_code(self):
        name = self.write("a.yaml", "lora: {r: 0}\n")
        self.assertEqual(self.codes("config", name, ranks=3), [2, 2, 2])
        self.assertEqual(self.codes("config", "no.yaml", ranks=2), [3, 3])
        self.assertEqual(self.codes("methods", ranks=2), [0, 0])


class Start(ProgramTest):
    def test_tasks_that_mpi_does_not_see__are_refused(self):
        step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}
        self.fail_with(4, "srun --mpi=pmix", "methods", **step)
        self.fail_with(4, "4 tasks were started", "methods", OMPI_COMM_WORLD_SIZE="4")
        self.fail_with(4, "2 tasks were started", "methods", PMI_SIZE="2")

    def test_other_tasks_of_such_a_launch__are_silent(self):
        done = self.refract("methods", SLURM_STEP_ID="0", SLURM_PROCID="3", SLURM_STEP_NUM_TASKS="4")
        self.assertEqual((done.returncode, done.stderr), (4, ""))

    def test_a_batch_shell__is_no_launch(self):
        self.succeed("methods", SLURM_NTASKS="4", SLURM_PROCID="0", SLURM_JOB_ID="7")
        self.succeed("methods", SLURM_NTASKS="4", SLURM_PROCID="0", SLURM_STEP_ID="0", SLURM_STEP_NUM_TASKS="1")

    def test_ranks_with_other_kernels_or_programs__are_refused(self):
        self.fail_with(4, "has other BLAS kernels than rank 0", "methods", ranks=2, RF_FAULT="start.blas:1")
        self.fail_with(4, "rank 2 on ", "methods", ranks=3, RF_FAULT="start.program:2")


if __name__ == "__main__":
    unittest.main()
