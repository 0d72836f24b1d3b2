"""The order of a run: build what is missing, find each engine's recall at its settings, then time in alternating rounds."""

import hashlib
import json
import os
import shutil
import statistics
import sys
from dataclasses import dataclass, field

from . import sets
from .adapters import CHASSIS, PEERS
from .curve import worth_timing
from .engine import K
from .process import Worker, WorkerError

RECALLS = [0.9, 0.95, 0.99]
# A family of settings is left when it is this good, or when so many settings in turn have brought nothing.
ENOUGH = 0.9985
STALE = 4
LOWEST, HIGHEST = 0.8, 0.998
# CPU seconds that one pass of an exact scan may take: its cost does not depend on the query, so fewer will do.
LONGEST_SCAN, SCAN_PROBE = 5.0, 20


def say(*words):
    """Progress, beside the result on stdout."""
    print(*words, file=sys.stderr, flush=True)


@dataclass
class Entry:
    """One engine on one set."""

    name: str
    version: str = None
    folder: str = None
    build: dict = None
    worker: Worker = None
    opened: dict = None
    points: list = field(default_factory=list)
    memory: int = None
    failures: list = field(default_factory=list)

    def fail(self, error):
        """Notes why something is missing from the tables."""
        say(f"  {self.name}: {error}")
        self.failures.append(str(error))


class Run:
    """Measures engines on one set. `options` are those of the command line."""

    def __init__(self, directory, name, options):
        self.options = options
        self.set = sets.describe(directory, name, options.rows)
        self.log = options.work / "logs" / name
        self.truth = sets.truth(self.set, K, options.work / "truth")

    def start(self, name, purpose, threads=1):
        """A worker; with one thread it is pinned, so that engines that take every core they see get one."""
        core = self.options.core if threads == 1 else None
        return Worker(name, self.options.chassis, self.log / f"{name}.{purpose}.log", threads, core)

    def measure(self, names):
        """All of it; gives the entries."""
        entries = [Entry(name) for name in names]
        for entry in entries:
            try:
                self.build(entry)
            except WorkerError as error:
                entry.fail(error)
        if self.options.build_only:
            return entries
        try:
            for entry in entries:
                if entry.build:
                    self.sweep(entry)
            self.rounds([entry for entry in entries if entry.points])
        finally:
            for entry in entries:
                if entry.worker:
                    entry.worker.stop()
        return entries

    def build(self, entry):
        """Builds the index unless it is there; the note beside it is written last, so half a build is redone."""
        threads = self.options.threads
        with self.start(entry.name, "build", threads) as worker:
            entry.version = worker.ask("version", set=self.set)
            entry.folder, note = self.places(entry)
            wanted = {"all", entry.name} & set(self.options.rebuild)
            if note.exists() and not wanted:
                entry.build = json.loads(note.read_text())
                return
            note.unlink(missing_ok=True)
            shutil.rmtree(entry.folder, ignore_errors=True)
            entry.folder.mkdir(parents=True)
            say(f"  building {entry.name} {entry.version}")
            load = os.getloadavg()[0]
            figures = worker.ask("build", set=self.set, folder=str(entry.folder), threads=threads, timeout=4 * 3600)
            entry.build = {**figures, "threads": threads, "loadAverage": round(load, 2)}
            note.write_text(json.dumps(entry.build) + "\n")
            say(f"  built {entry.name}: {figures['cpuSeconds']:.1f} CPU s")

    def places(self, entry):
        """Where an index and its note live: one place for each set, engine, version, options and thread count."""
        about = self.set
        kind = f"{about['name']}-{(about['sha256'] or 'nohash')[:8]}-{about['rows']}"
        name = CHASSIS.get(entry.name, {}).get("index", entry.name)
        options = json.dumps(CHASSIS.get(name) or PEERS[name], sort_keys=True)
        tag = hashlib.sha256(options.encode()).hexdigest()[:6]
        folder = self.options.work / kind / f"{name}-{entry.version}-t{self.options.threads}-{tag}"
        return folder, folder.with_name(folder.name + ".json")

    def sweep(self, entry):
        """Opens the index and finds recall and a rough cost at each setting, family by family."""
        try:
            entry.worker = self.start(entry.name, "search")
            entry.opened = entry.worker.ask("open", set=self.set, folder=str(entry.folder))
        except WorkerError as error:
            return entry.fail(error)
        mode = "batch" if entry.opened["exact"] and "batch" in entry.opened["modes"] else "one"
        # The first pass compiles and reads in: its cost would count against its setting.
        first, found = entry.opened["families"][0][0], []
        try:
            entry.worker.ask("answers", setting=first, mode=mode)
        except WorkerError as error:
            return entry.fail(error)
        for number, family in enumerate(entry.opened["families"]):
            best, stale = 0, 0
            for setting in family:
                try:
                    answer = entry.worker.ask("answers", setting=setting, mode=mode)
                except WorkerError as error:
                    entry.fail(f"{json.dumps(setting)}: {error}")
                    break
                recall = sets.recall(answer["ids"], self.truth)
                found.append(
                    {"family": number, "setting": setting, "recall": recall, "cpuSeconds": answer["cpuSeconds"]}
                )
                stale = stale + 1 if recall < best + 0.0004 else 0
                best = max(best, recall)
                if best >= ENOUGH or stale >= STALE:
                    break
        entry.points = worth_timing(found, RECALLS, LOWEST, HIGHEST, self.options.points == "targets")
        # What was promised by `recall: x` is always timed, however it compares.
        entry.points += [p for p in found if "recall" in p["setting"] and p not in entry.points]
        top = max((point["recall"] for point in found), default=0)
        say(f"  {entry.name}: {len(found)} settings, recall up to {top:.4f}, {len(entry.points)} to time")

    def rounds(self, entries):
        """Engines take turns, round by round, so that a change of the machine's speed meets all of them."""
        for number in range(self.options.rounds):
            say(f"  round {number + 1} of {self.options.rounds}")
            for entry in list(entries):
                try:
                    self.turn(entry, number)
                except WorkerError as error:
                    entry.fail(error)
                    entries.remove(entry)
        for entry in entries:
            try:
                entry.memory = entry.worker.ask("memory")
            except WorkerError as error:
                entry.fail(error)
        for point in (point for entry in entries for point in entry.points):
            for mode, passes in point.pop("passes", {}).items():
                qps = [p["queries"] / p["cpuSeconds"] for p in passes]
                point[mode] = {
                    "qps": statistics.median(qps),
                    "wallQps": statistics.median(p["queries"] / p["wallSeconds"] for p in passes),
                    "spread": max(qps) / min(qps) - 1,
                }

    def turn(self, entry, number):
        """One engine's part of a round: a timed pass at each setting and mode, and once the latency of calls."""
        for point in entry.points:
            for mode in entry.opened["modes"]:
                if mode in self.options.modes:
                    figures = self.timed(entry, point["setting"], mode, self.options.seconds)
                    point.setdefault("passes", {}).setdefault(mode, []).append(figures)
            if number == 0:
                queries = SCAN_PROBE if entry.opened["exact"] else self.set["queries"]
                point |= entry.worker.ask("latency", setting=point["setting"], queries=queries)

    def timed(self, entry, setting, mode, seconds):
        """A pass over all queries; over fewer where a scan would take too long."""
        ask, queries = entry.worker.ask, self.set["queries"]
        if entry.opened["exact"]:
            probe = ask("pass", setting=setting, mode=mode, seconds=0, queries=min(SCAN_PROBE, queries))
            queries = min(queries, max(SCAN_PROBE, int(LONGEST_SCAN * probe["queries"] / probe["cpuSeconds"])))
        return ask("pass", setting=setting, mode=mode, seconds=seconds, queries=queries)
