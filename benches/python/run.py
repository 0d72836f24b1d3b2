#!/usr/bin/env python3
"""Compares Chassis with the vector search libraries of PyPI: same data, same machine, one run, equal recall.

    python benches/python/run.py --data DIR --sets glove100,fashion784 --out DIR

Every engine runs in processes of its own, pinned to one core. Recall is counted here, against exact neighbors, from
the ids an engine returns. Indexes are built once and kept under --work. Chassis runs through its JavaScript API.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from harness import report, svg
from harness.adapters import CHASSIS, DEFAULT, PEERS
from harness.measure import Run, say

ROOT = Path(__file__).resolve().parents[2]


def arguments():
    """The command line."""

    def names(text):
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with NAME.base.f32bin, NAME.query.f32bin, NAME.gt.ivecs")
    add("--sets", type=names, required=True, help="names of sets, with commas")
    add("--engines", type=names, default=DEFAULT, help=f"of {', '.join([*CHASSIS, *PEERS])}; default: {','.join(DEFAULT)}")
    add("--out", type=Path, help="folder for NAME.json, NAME.md and NAME.svg; none are written without it")
    add("--work", type=Path, default=Path(tempfile.gettempdir(), "chassis-bench-python"), help="where indexes are kept")
    add("--rows", type=int, help="take only the first rows of each base")
    add("--rounds", type=int, default=3, help="timed rounds (default 3)")
    add("--seconds", type=float, default=0.3, help="CPU seconds of one timed pass at least (default 0.3)")
    add("--modes", type=names, default=["one", "batch"], help="one query a call, all in one call, or both (default)")
    add("--points", choices=["curve", "targets"], default="curve", help="time whole curves, or the recalls of the table")
    add("--threads", type=int, default=1, help="threads of a build (default 1, pinned)")
    add("--core", type=int, default=(os.cpu_count() or 1) - 1, help="core that workers are pinned to (default the last)")
    add("--rebuild", type=names, default=[], help='engines to build anew, or "all"')
    add("--build-only", action="store_true", help="build, do not search")
    add("--chassis", type=Path, default=ROOT, help="checkout whose built Chassis is measured (default this one)")
    options = parser.parse_args()
    unknown = set(options.engines) - {*CHASSIS, *PEERS}
    if unknown:
        parser.error(f"unknown engines: {', '.join(sorted(unknown))}")
    options.chassis, options.work = options.chassis.resolve(), options.work.resolve()
    return options


def command():
    """The command as typed, with folders reduced to their names."""
    return " ".join(["python", "benches/python/run.py", *(Path(w).name if os.path.isabs(w) else w for w in sys.argv[1:])])


def main():
    options = arguments()
    about = report.describe(options.chassis)
    complete = True
    for name in options.sets:
        say(name)
        run = Run(options.data.resolve(), name, options)
        entries = run.measure(options.engines)
        how = {"command": command(), **about, "rounds": options.rounds, "seconds": options.seconds}
        result = report.result(run.set, entries, {**how, "core": options.core})
        print(report.text(result), flush=True)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
            (options.out / f"{name}.md").write_text(report.markdown(result))
            if not options.build_only:
                (options.out / f"{name}.svg").write_text(svg.draw(result))
        complete = complete and not any(entry.failures for entry in entries)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
