"""Telemetry of Refract runs as tidy DataFrames, figures and a report.

    runs = refract_analysis.load("runs/my-run")     # or a folder of runs, or many paths
    runs.steps.groupby("run")["loss"].last()
    runs[0].ranks                                   # step, module, rank, importance, norm_a, norm_b

Works while a run goes on and after it was killed. Needs the files alone, nothing of the program.
"""
from .reader import RunError
from .runs import Run, Runs, load

__all__ = ["Run", "RunError", "Runs", "load"]
__version__ = "0.1.0"
