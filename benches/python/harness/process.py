"""Worker processes that answer one line of JSON at a time."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from .adapters import CHASSIS, PEERS

HERE = Path(__file__).parents[1]
THREAD_SETTINGS = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]
# Kernels chosen by hand for another processor would slow a peer down.
UNSET = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]


class WorkerError(Exception):
    """What went wrong in a worker, in its own words."""


def _command(name, checkout):
    if name in CHASSIS:
        return ["node", str(checkout / "benches/python/chassis_worker.mjs"), json.dumps(CHASSIS[name])]
    if name in PEERS:
        return [sys.executable, "-m", "harness.worker", name]
    raise WorkerError(f"unknown engine; known: {', '.join([*CHASSIS, *PEERS])}")


class Worker:
    """The process of one engine. With `core` it runs on that core only, where the system can pin."""

    def __init__(self, name, checkout, log, threads=1, core=None):
        environment = {key: value for key, value in os.environ.items() if key not in UNSET}
        environment |= {key: str(threads) for key in THREAD_SETTINGS}
        pinned = core is not None and hasattr(os, "sched_setaffinity")
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                _command(name, checkout),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=HERE,
                env=environment,
                preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if pinned else None,
            )

    def ask(self, op, timeout=3600, **request):
        """Sends one request and waits for its answer; a worker that takes longer than `timeout` seconds is ended."""
        watch = threading.Timer(timeout, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write(json.dumps({"op": op, **request}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            raise WorkerError(f"{op}: the worker ended ({self.process.wait()}); {lines[-1] if lines else 'no output'}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{op}: {answer['error']}")
        return answer["value"]

    def stop(self):
        """Ends the worker."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
