"""refract-analysis series: a CSV table of numbers over iterations as a picture."""
import pathlib
import tempfile
import unittest

from case import command, matplotlib


class Series(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def draw(self, text):
        table = self.folder / "table.csv"
        table.write_text(text)
        return command.main(["series", str(table), "--png", str(self.folder / "table.png")])

    def test_curves__of_which_one_goes_off__are_drawn(self):
        self.assertEqual(self.draw("iteration,gd 0.03,reflora 0.03\n0,10,10\n1,1e300,1\n2,inf,0.1\n"), 0)
        shape = matplotlib.image.imread(self.folder / "table.png").shape
        self.assertTrue(min(shape[:2]) > 200, shape)

    def test_what_is_no_table__is_refused(self):
        for text in ("", "iteration,a\n", "iteration,a\n0,many\n"):
            self.assertEqual(self.draw(text), 3, text)
        self.assertFalse((self.folder / "table.png").exists())


if __name__ == "__main__":
    unittest.main()
