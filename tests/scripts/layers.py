"""tests/layers.py finds each kind of fault, and nothing in a tree that has none."""
import importlib.util
import pathlib
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "layers.py"
SPEC = importlib.util.spec_from_file_location("layers", SCRIPT)
layers = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(layers)

TABLE = """
# rf_add_layer(commented out)
rf_add_layer(base LINK PkgConfig::YAML)
rf_add_layer(comm LAYERS base LINK MPI::MPI_C)
rf_add_layer(io
  LAYERS comm)
"""
SOUND = {
    "CMakeLists.txt": TABLE,
    "include/refract/base/status.h": "#include <stdio.h>\n",
    "include/refract/comm/grid.h": '#include "refract/base/status.h"\n',
    "include/refract/io/file.h": "",
    "src/base/status.c": '#include "refract/base/status.h"\n#include "rf_version.h"\n',
    "src/comm/grid.c": '#include "refract/comm/grid.h"\n#include "tree.h"\n',
    "src/comm/tree.h": '#include "refract/base/status.h"\n',
    "src/io/file.c": '#include "refract/base/status.h"\n',
    "src/main.c": '#include "refract/io/file.h"\n',
}


class Layers(unittest.TestCase):
    def faults(self, files):
        """Faults of the sound tree with these files added or replaced."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            for name, text in {**SOUND, **files}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            return layers.check(root)

    def assert_one(self, files, *words):
        faults = self.faults(files)
        self.assertEqual(len(faults), 1, faults)
        for word in words:
            self.assertIn(word, faults[0])

    def test_sound_tree__has_no_fault(self):
        self.assertEqual(self.faults({}), [])

    def test_include_upward__is_found_with_its_line(self):
        self.assert_one({"src/base/log.c": '#include <stdio.h>\n\n#include "refract/io/file.h"\n'},
                        "src/base/log.c:3", "layer base", "io does not stand below it")

    def test_include_upward_in_a_header__is_found(self):
        self.assert_one({"include/refract/base/log.h": '#  include "refract/comm/grid.h"\n'}, "base/log.h:1")

    def test_include_upward_in_angle_brackets__is_found(self):
        self.assert_one({"src/comm/agree.c": "#include <refract/io/file.h>\n"}, "layer comm")

    def test_private_header_of_another_layer__is_found(self):
        self.assert_one({"src/io/other.c": '#include "tree.h"\n'}, "not a private header of io")
        self.assert_one({"src/io/other.c": '#include "../comm/tree.h"\n'}, "not a private header of io")

    def test_private_header_in_a_public_one__is_found(self):
        self.assert_one({"include/refract/comm/agree.h": '#include "tree.h"\n'}, "agree.h:1")

    def test_header_that_is_not_there__is_found(self):
        self.assert_one({"src/io/other.c": '#include "refract/base/none.h"\n'}, "does not exist")

    def test_folder_outside_the_table__is_found(self):
        self.assert_one({"src/extra/new.c": ""}, "extra is not in the table")
        self.assert_one({"src/io/other.c": '#include "refract/extra/new.h"\n'}, "no layer of the table")

    def test_table_that_names_what_stands_above__is_found(self):
        self.assert_one({"CMakeLists.txt": TABLE + "rf_add_layer(low LAYERS high)\nrf_add_layer(high)\n"},
                        "layer low stands on high")

    def test_layer_named_twice__is_found(self):
        self.assert_one({"CMakeLists.txt": TABLE + "rf_add_layer(base)\n"}, "base stands twice")

    def test_no_table__is_found(self):
        self.assertIn("CMakeLists.txt: no rf_add_layer line", self.faults({"CMakeLists.txt": ""}))


if __name__ == "__main__":
    unittest.main()
