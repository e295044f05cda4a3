"""A run's numbers do not depend on the layout: every bit of the state after training, on any number of ranks,
tensor-parallel ranks and threads, straight on or stopped half-way and resumed on another layout.

The slices of down_proj and o_proj are 608 and 640 columns wide: products' kernels change with the layout of
their operands from about K = 576 on.
"""
import unittest

from layouts import FOUR, GRID, LayoutTest
from support import needs_h5py


@needs_h5py
class SameBits(LayoutTest):
    def lora(self, output):
        """A LoRA run with dropout on the base model that `full` makes."""
        return self.write_input(
            f"{output}.yaml", output=output, method="lora", model={"path": "base/model"},
            lora={"r": 3, "alpha": 6, "dropout": 0.2, "rank_pattern": {"down_proj": 5}}, **self.keys())

    def test_lora__on_every_layout__is_the_same(self):
        self.train(self.full("base"), (1, 1, 1))
        self.run_and_resume(self.lora, "adapter/adapter_model.safetensors", GRID)

    def lora_in_bf16(self, output):
        return self.write_input(
            f"{output}.yaml", output=output, method="lora", model={"path": "base/model", "storage": "bf16"},
            lora={"r": 3, "alpha": 6}, compute={"precision": "bf16"}, **self.keys())

    def test_lora_in_bf16__on_four_layouts__is_the_same(self):
        self.train(self.full("base"), (1, 1, 1))
        told = self.refract("train", self.lora_in_bf16("told"), "--dry-run").stderr
        self.assertEqual("no fast products on this CPU" in told, "(none)" in self.succeed("--version"))
        self.run_and_resume(self.lora_in_bf16, "adapter/adapter_model.safetensors", FOUR)

    def test_full__on_four_layouts__is_the_same(self):
        self.run_and_resume(self.full, "model/model.safetensors", FOUR)


if __name__ == "__main__":
    unittest.main()
