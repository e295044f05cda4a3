"""The command `refract-analysis`."""
from __future__ import annotations

import argparse
import sys
import warnings

from . import __version__, compare, export, page, pareto, report, series, style, sweep_page, watch
from .reader import RunError
from .runs import Runs, load
from .sweeps import load_sweep


def _load(paths: list[str]) -> Runs:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = load(*paths)
    for problem in runs.problems:
        print(f"refract-analysis: warning: {problem}", file=sys.stderr)
    return runs


def _report(options: argparse.Namespace) -> int:
    report.write(_load(options.runs), options.output, options.title)
    print(f"report: {options.output}")
    return 0


def _watch(options: argparse.Namespace) -> int:
    watch.watch(options.run, options.interval, wait=options.wait)
    return 0


def _export(options: argparse.Namespace) -> int:
    for path in export.write(_load(options.runs), options.csv):
        print(path)
    return 0


def _sweep(options: argparse.Namespace) -> int:
    sweep = load_sweep(options.sweep)
    score = compare.choose(sweep, options.score)
    print(sweep_page.text(sweep, score))
    if options.output:
        page.save(sweep_page.build(sweep, score), options.output)
        print(f"\npage: {options.output}")
    if options.png:
        style.save(pareto.figure(compare.settings(sweep), score), options.png, "png", "white")
        print(f"picture: {options.png}")
    if options.csv:
        for path in export.write_sweep(sweep, score, options.csv):
            print(path)
    return 0


def _series(options: argparse.Namespace) -> int:
    style.save(series.figure(series.read(options.table)), options.png, "png", "white")
    print(f"picture: {options.png}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="refract-analysis", description="Looks at runs of Refract: finished ones, "
                                   "running ones and killed ones. RUN is a run folder, a folder of run folders, or "
                                   "a run.h5.")
    made.add_argument("--version", action="version", version=f"refract-analysis {__version__}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("report", help="one self-contained HTML page on all these runs")
    one.add_argument("runs", nargs="+", metavar="RUN")
    one.add_argument("-o", "--output", default="report.html", metavar="FILE", help="default: %(default)s")
    one.add_argument("--title", default="Refract report", help="default: %(default)s")
    one.set_defaults(act=_report)
    one = commands.add_parser("sweep", help="settings of a sweep against each other: tables, Pareto plot, page")
    one.add_argument("sweep", metavar="SWEEP", help="sweep.h5 of refract sweep collect, or the sweep's folder")
    one.add_argument("--score", choices=compare.SCORES, help="what is compared; default: the held-out loss")
    one.add_argument("-o", "--output", metavar="FILE", help="also one self-contained HTML page")
    one.add_argument("--png", metavar="FILE", help="also the Pareto plot as a picture")
    one.add_argument("--csv", metavar="DIR", help="also every table as a CSV file")
    one.set_defaults(act=_sweep)
    one = commands.add_parser("watch", help="follows one run in the terminal until it ends")
    one.add_argument("run", metavar="RUN")
    one.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="default: %(default)s")
    one.add_argument("--wait", action="store_true", help="wait for a run that has not begun")
    one.set_defaults(act=_watch)
    one = commands.add_parser("series", help="a CSV table of numbers over iterations as curves")
    one.add_argument("table", metavar="FILE.csv", help="first column: the iteration; each other one: a curve")
    one.add_argument("--png", required=True, metavar="FILE", help="picture to write")
    one.set_defaults(act=_series)
    one = commands.add_parser("export", help="every table as a CSV file")
    one.add_argument("runs", nargs="+", metavar="RUN")
    one.add_argument("--csv", required=True, metavar="DIR", help="folder to write to; made if missing")
    one.set_defaults(act=_export)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, 3 for what cannot be read, 6 for what cannot be written."""
    options = parser().parse_args(arguments)
    try:
        return options.act(options)
    except RunError as error:
        print(f"refract-analysis: error: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"refract-analysis: error: cannot write '{error.filename}': {error.strerror}", file=sys.stderr)
        return 6
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
