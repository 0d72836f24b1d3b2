"""Runs one Python peer in a process of its own: `python -m harness.worker NAME`, requests and answers a line of JSON.

Only the search calls are inside the clock. The clock is the CPU time of the process, all its threads.
"""

import json
import os
import sys
import time

import numpy as np

from . import sets
from .adapters import make

WARM_UP = 100


def bytes_under(folder):
    """Bytes in all files of a folder."""
    return sum(os.path.getsize(os.path.join(where, file)) for where, _, files in os.walk(folder) for file in files)


def resident():
    """Bytes of memory that this process holds now; None where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


class Session:
    """Answers requests about one engine."""

    def __init__(self, name):
        self.name = name

    def version(self, set):
        return make(self.name, set).version()

    def build(self, set, folder, threads):
        engine, vectors = make(self.name, set), sets.base(set)
        cpu, wall = time.process_time(), time.perf_counter()
        engine.build(vectors, folder, threads)
        return {
            "cpuSeconds": time.process_time() - cpu,
            "wallSeconds": time.perf_counter() - wall,
            "fileBytes": bytes_under(folder),
            "extraBytes": engine.extra_bytes(),
        }

    def open(self, set, folder):
        self.engine = make(self.name, set)
        self.queries = np.ascontiguousarray(sets.queries(set))
        self.before = resident()
        wall = time.perf_counter()
        self.engine.open(folder, lambda: sets.base(set))
        return {
            "families": self.engine.families(),
            "modes": self.engine.modes,
            "exact": self.engine.exact,
            "openSeconds": time.perf_counter() - wall,
        }

    def _run(self, mode, queries):
        return self.engine.batch(queries) if mode == "batch" else [self.engine.one(query) for query in queries]

    def answers(self, setting, mode):
        """Ids for all queries, and the CPU time of the pass."""
        self.engine.use(setting)
        self._run(mode, self.queries[:WARM_UP])
        cpu = time.process_time()
        found = self._run(mode, self.queries)
        cpu = time.process_time() - cpu
        return {"cpuSeconds": cpu, "ids": [self.engine.ids(one) for one in found]}

    def pass_(self, setting, mode, seconds, queries):
        """Passes over the first `queries` queries until `seconds` of CPU time have gone by."""
        self.engine.use(setting)
        rows = self.queries[:queries]
        self._run(mode, rows[:WARM_UP])
        count, cpu, wall = 0, time.process_time(), time.perf_counter()
        while count == 0 or time.process_time() - cpu < seconds:
            self._run(mode, rows)
            count += len(rows)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"queries": count, "cpuSeconds": cpu, "wallSeconds": wall}

    def latency(self, setting, queries):
        """Microseconds of single calls by the clock on the wall."""
        self.engine.use(setting)
        rows, times = self.queries[:queries], []
        self._run("one", rows[:WARM_UP])
        for query in rows:
            start = time.perf_counter()
            self.engine.one(query)
            times.append((time.perf_counter() - start) * 1e6)
        return {"p50Us": float(np.percentile(times, 50)), "p99Us": float(np.percentile(times, 99))}

    def memory(self):
        """Resident bytes that opening and searching have added; pages of maps count as far as they were touched."""
        return None if self.before is None else resident() - self.before


def main():
    # Engines print what they like: their lines go to the log, answers keep the pipe for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = Session(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        operation = request.pop("op")
        try:
            answer = {"value": getattr(session, {"pass": "pass_"}.get(operation, operation))(**request)}
        except Exception as error:  # whatever a library raises is a result to be reported
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
