#!/usr/bin/env python3
"""read_telemetry.py RUN.h5: reads a live or killed telemetry file as users do and prints what it says.

One line `rows N last L modules M phases P`, one line `undescribed PATH` per dataset without unit or description.
"""
import sys

import h5py


def main():
    with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as file:
        steps, loss = file["/steps/step"], file["/steps/loss"]
        last = loss[len(steps) - 1] if len(steps) else float("nan")
        modules = ",".join(name.decode() for name in file["/modules/name"][:])
        phases = ",".join(name.decode() for name in file["/timing/phases"][:])
        print(f"rows {len(steps)} last {last:g} modules {modules} phases {phases}")
        schema, config = (file.attrs[name].decode() for name in ("schema", "config"))
        print(f"schema {schema} {file.attrs['schema_version']} config {config}")

        def check(path, item):
            if isinstance(item, h5py.Dataset) and not (item.attrs.get("unit") and item.attrs.get("description")):
                print(f"undescribed {path}")

        file.visititems(check)


if __name__ == "__main__":
    main()
