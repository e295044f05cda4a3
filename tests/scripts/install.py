"""jobs/install.sh on a machine made of a few fake commands: what it installs, names, retries and refuses."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

JOBS = pathlib.Path(__file__).resolve().parents[2] / "jobs"
LIST = """
# a list
[build]
tool       command tool         # a program
library-2  pkg-config library   # a library

[test]
tool       command tool         # wanted twice
data       file {folder}/data*  # a file
"""
APT = """#!/bin/bash
echo "$@" >>{folder}/apt.log
[ ! -e {folder}/broken ] || {{ rm {folder}/broken; echo "no such mirror"; exit 100; }}
case "$*" in *install*) touch {folder}/bin/tool {folder}/data1; chmod +x {folder}/bin/tool; esac
"""


class Install(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        (self.folder / "bin").mkdir()
        (self.folder / "packages.txt").write_text(LIST.format(folder=self.folder), encoding="utf-8")
        for name in ("bash", "awk", "grep", "dirname", "touch", "chmod", "rm"):
            (self.folder / "bin" / name).symlink_to(shutil.which(name))
        self.command("sleep", "#!/bin/bash\n")
        self.command("pkg-config", "#!/bin/bash\n[ $2 = library ]\n")
        self.become(1000)

    def command(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def become(self, user):
        self.command("id", f"#!/bin/bash\necho {user}\n")

    def install(self, *groups):
        environment = {**os.environ, "PATH": str(self.folder / "bin"),
                       "RF_PACKAGES": str(self.folder / "packages.txt")}
        return subprocess.run(["bash", str(JOBS / "install.sh"), *groups], env=environment,
                              capture_output=True, text=True, check=False)

    def apt_calls(self):
        log = self.folder / "apt.log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def test_nothing_missing__says_nothing_even_without_apt(self):
        self.command("tool", "#!/bin/bash\n")
        done = self.install("build")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_nothing_missing_as_root__leaves_apt_alone(self):
        self.command("tool", "#!/bin/bash\n")
        self.become(0)
        self.command("apt-get", APT.format(folder=self.folder))
        self.assertEqual(self.install("build").returncode, 0)
        self.assertEqual(self.apt_calls(), [])

    def test_missing_without_root__names_exactly_what_is_missing(self):
        self.command("apt-get", APT.format(folder=self.folder))
        done = self.install("build", "test")
        self.assertEqual(done.returncode, 1)
        self.assertIn("install: missing: tool data\n", done.stderr)
        self.assertEqual(self.apt_calls(), [])

    def test_missing_without_apt__names_it(self):
        self.become(0)
        done = self.install("build")
        self.assertEqual(done.returncode, 1)
        self.assertIn("install: missing: tool\n", done.stderr)

    def test_missing_as_root__is_installed(self):
        self.become(0)
        self.command("apt-get", APT.format(folder=self.folder))
        done = self.install("build", "test")
        self.assertEqual(done.returncode, 0, done.stderr)
        update, install = self.apt_calls()
        self.assertTrue(update.endswith("update"))
        self.assertTrue(install.endswith("install --no-install-recommends tool data"))

    def test_mirror_fails_once__is_tried_again(self):
        self.become(0)
        self.command("apt-get", APT.format(folder=self.folder))
        (self.folder / "broken").touch()
        done = self.install("build")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("no such mirror", done.stderr)
        self.assertEqual(len(self.apt_calls()), 3)

    def test_installed_but_not_found__is_named(self):
        self.become(0)
        self.command("apt-get", "#!/bin/bash\n")
        done = self.install("test")
        self.assertEqual(done.returncode, 1)
        self.assertIn("install: missing: tool data\n", done.stderr)

    def test_unknown_group__is_refused(self):
        self.assertEqual(self.install("bulid").returncode, 2)

    def test_unknown_probe__is_refused(self):
        (self.folder / "packages.txt").write_text("[build]\ntool comand tool # why\n", encoding="utf-8")
        done = self.install("build")
        self.assertEqual(done.returncode, 2)
        self.assertIn("unknown probe 'comand'", done.stderr)


class List(unittest.TestCase):
    def test_every_line__has_package_probe_and_reason(self):
        lines = (JOBS / "packages.txt").read_text(encoding="utf-8").splitlines()
        for line in filter(lambda line: line and line[0] not in "#[", lines):
            self.assertRegex(line, r"^[a-z0-9.+-]+ +(command|pkg-config|header|file|python) \S+ +# .+")


if __name__ == "__main__":
    unittest.main()
