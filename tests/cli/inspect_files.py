"""refract inspect: what files hold, codes for what is missing or damaged."""
import json
import struct
import unittest

from support import ProgramTest


class Inspect(ProgramTest):
    def make_tensor(self, name, size):
        header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
        (self.folder / name).write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))

    def test_safetensors__alone_and_on_two_ranks__are_printed_once(self):
        self.make_tensor("a.safetensors", 8)
        for ranks in (None, 2):
            text = self.succeed("inspect", "a.safetensors", "--verify", ranks=ranks)
            self.assertEqual(text.count("1 tensors, 2 numbers"), 1)

    def test_damaged_or_missing_files__are_code_3_on_all_ranks(self):
        self.make_tensor("short.safetensors", 4)
        self.fail_with(3, "short.safetensors", "inspect", "short.safetensors")
        self.fail_with(3, "No such file", "inspect", "none.h5")
        self.assertEqual(self.codes("inspect", "none.h5", ranks=2), [3, 3])

    def test_usage__wants_one_file(self):
        self.assertIn("--verify", self.succeed("inspect", "--help"))
        self.assertEqual(self.refract("inspect").returncode, 2)


if __name__ == "__main__":
    unittest.main()
