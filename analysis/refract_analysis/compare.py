"""Settings of a sweep against each other: means over seeds, and differences between runs of the same seed."""
from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from .reader import RunError
from .sweeps import SEED, Sweep

CONFIDENCE = 0.95
HIGHER_IS_BETTER = {"accuracy"}
MOST_PAIRED = 12  # settings of which all pairs are compared; of more, each with the first
SCORES = ("accuracy", "eval_loss", "loss")


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (Lentz), for x < (a + 1) / (a + b + 2)."""
    tiny, c, d = 1e-300, 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    whole = d
    for m in range(1, 300):
        for term in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                     -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 + term * d
            c = 1 + term / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            whole *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return whole


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def student(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Half the width of the central interval of Student's t, in standard errors; infinite without freedom."""
    if freedom < 1:
        return math.inf
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        inside = 1 - _beta(freedom / 2, 0.5, freedom / (freedom + middle ** 2))
        low, high = (middle, high) if inside < confidence else (low, middle)
    return (low + high) / 2


def spread(values: np.ndarray) -> tuple[float, float, float, float]:
    """(mean, standard error, low, high): the interval holds the mean of all seeds with 95 % confidence, were they
    drawn from a normal distribution. One value has no spread: NaN.
    """
    n, mean = len(values), float(np.mean(values)) if len(values) else math.nan
    if n < 2:
        return mean, math.nan, math.nan, math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    half = student(n - 1) * error if error > 0 else 0.0
    return mean, error, mean - half, mean + half


def choose(sweep: Sweep, score: str | None = None) -> str:
    """The column to compare by: as asked, else the held-out loss, else the training loss."""
    if score is not None:
        if score not in sweep.frame or not sweep.done[score].notna().any():
            raise RunError(f"no run of '{sweep.path}' has a score '{score}'. Choose one of {', '.join(SCORES)} that "
                           "the runs have; held-out scores want data.eval")
        return score
    for one in ("eval_loss", "loss"):
        if sweep.done[one].notna().any():
            return one
    raise RunError(f"no run of '{sweep.path}' is done so far. refract sweep status tells what became of them")


def settings(sweep: Sweep) -> pd.DataFrame:
    """A row per setting, in the order of the sweep: runs, and mean and standard error over them of each score, the
    trained parameters and the time.
    """
    rows = []
    names = sweep.settings
    for name in dict.fromkeys(names):
        mine = sweep.frame[names == name]
        done = mine[mine["state"] == "done"]
        row: dict[str, object] = {"setting": name, "runs": len(done), "of": len(mine)}
        for score in SCORES:
            values = done[score].dropna().to_numpy(float)
            row[score], row[f"{score} se"], row[f"{score} low"], row[f"{score} high"] = spread(values)
        row["trained parameters"] = float(done["trained_parameters"].mean()) if len(done) else math.nan
        row["seconds"], row["seconds se"], *_ = spread(done["step_seconds"].dropna().to_numpy(float))
        rows.append(row)
    return pd.DataFrame(rows)


def paired(sweep: Sweep, score: str) -> pd.DataFrame:
    """A row per pair of settings: the mean of (second - first) over the seeds that both have, its standard error and
    95 % interval, and in how many of these seeds the second is better. With more than MOST_PAIRED settings each is
    compared with the first one of the sweep.
    """
    names, rows = sweep.settings, []
    has = sweep.frame[(sweep.frame["state"] == "done") & sweep.frame[score].notna()]
    seeds = has[SEED] if SEED in has else pd.Series(0, index=has.index)
    sign = 1 if score in HIGHER_IS_BETTER else -1
    by_setting = {name: pd.Series(has.loc[names[has.index] == name, score].to_numpy(float),
                                  index=seeds[names[has.index] == name]) for name in dict.fromkeys(names)}
    pairs = list(itertools.combinations(by_setting, 2))
    if len(by_setting) > MOST_PAIRED:
        pairs = pairs[:len(by_setting) - 1]
    for first, second in pairs:
        shared = by_setting[first].index.intersection(by_setting[second].index)
        difference = (by_setting[second][shared] - by_setting[first][shared]).to_numpy(float)
        mean, error, low, high = spread(difference)
        rows.append({"first": first, "second": second, "seeds": len(shared), "difference": mean, "se": error,
                     "low": low, "high": high, "second better": int((sign * difference > 0).sum()),
                     "verdict": _verdict(second if sign * mean > 0 else first, low, high)})
    return pd.DataFrame(rows, columns=["first", "second", "seeds", "difference", "se", "low", "high", "second better",
                                       "verdict"])


def _verdict(better: str, low: float, high: float) -> str:
    """Who is better, where the interval leaves out zero."""
    if math.isnan(low):
        return "too few seeds"
    return f"{better} is better" if low > 0 or high < 0 else "not told apart"


def front(cost: np.ndarray, value: np.ndarray, higher: bool) -> np.ndarray:
    """Which points no other one beats: none costs at most as much and is at least as good, and better in one."""
    gain = value if higher else -value
    beaten = [np.any((cost <= cost[i]) & (gain >= gain[i]) & ((cost < cost[i]) | (gain > gain[i])))
              for i in range(len(cost))]
    return ~np.array(beaten, dtype=bool) & np.isfinite(cost) & np.isfinite(gain)
