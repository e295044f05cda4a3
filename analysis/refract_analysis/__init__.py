"""Telemetry of Refract runs as tidy DataFrames, figures and a report.

    runs = refract_analysis.load("runs/my-run")     # or a folder of runs, or many paths
    runs.steps.groupby("run")["loss"].last()
    sweep = refract_analysis.load_sweep("runs/sweep/sweep.h5")
    sweep.frame.groupby("method")["eval_loss"].mean()
    runs[0].ranks                                   # step, module, rank, importance, norm_a, norm_b

Works while a run goes on and after it was killed. Needs the files alone, nothing of the program.
"""
from .reader import RunError
from .runs import Run, Runs, load
from .sweeps import Sweep, load_sweep

__all__ = ["Run", "RunError", "Runs", "Sweep", "load", "load_sweep"]
__version__ = "0.1.0"
